//! Single precision → half precision, without infinities.
//!
//! 1. Each number is rounded to the nearest half, of two equally near ones to the even one.
//! 2. Beyond ±65504, the largest half, it becomes that.
//! 3. What is not a number stays none.

use half::f16;
use half::slice::HalfFloatSliceExt;

/// Rounds `numbers` into `halves`.
///
/// # Panics
/// If they are not as many.
pub fn round_to_half(numbers: &[f32], halves: &mut [f16]) {
    halves.convert_from_f32_slice(numbers);
    for half in halves.iter_mut().filter(|half| half.is_infinite()) {
        // A number that is large stays one: infinity would spoil all that it is added to.
        *half = f16::MAX.copysign(*half);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_even_and_never_to_infinity() {
        let numbers = [1.0, -0.0, 2049.0, 2051.0, 65519.0, 65520.0, -1e9, f32::INFINITY, f32::NEG_INFINITY, 1e-9];
        let rounded = [1.0, -0.0, 2048.0, 2052.0, 65504.0, 65504.0, -65504.0, 65504.0, -65504.0, 0.0];
        let mut halves = [f16::ONE; 10];
        round_to_half(&numbers, &mut halves);
        assert_eq!(halves.map(|half| half.to_f32().to_bits()), rounded.map(f32::to_bits));
        let mut none = [f16::ONE];
        round_to_half(&[f32::NAN], &mut none);
        assert!(none[0].is_nan());
    }
}
