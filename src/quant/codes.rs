//! Codes and the arithmetic they come from, in forms that the compiler turns into vector instructions on every machine.

use super::block::BLOCK_LEN;

/// How a block's codes are laid over the range of its weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Code 0 is the smallest weight of the block and code 15 the largest.
    #[default]
    Asymmetric,
    /// Code 8 is zero, and 1 or 15 is the weight of the largest size. For rotated weights, which lie around zero.
    Symmetric,
}

/// As many as fit two of the vector registers that every x86-64 has.
const LANES: usize = 8;

/// The index of the first weight that is infinite or not a number.
#[inline]
pub(super) fn first_non_finite(weights: &[f32; BLOCK_LEN]) -> Option<usize> {
    let mut sizes = [0.0; LANES];
    for weights in weights.as_chunks::<LANES>().0 {
        for (size, weight) in sizes.iter_mut().zip(weights) {
            *size += weight.abs();
        }
    }
    // One test for all, since a sum of sizes is finite only if each is; a sum that overflows is looked into.
    if across(sizes, |a, b| a + b).is_finite() {
        return None;
    }
    weights.iter().position(|weight| !weight.is_finite())
}

/// The smallest and the largest weight; of zeros of both signs, the first one met.
#[inline]
pub(super) fn extremes(weights: &[f32]) -> (f32, f32) {
    let lesser = |a: f32, b: f32| if a < b { a } else { b };
    let greater = |a: f32, b: f32| if a > b { a } else { b };
    let (mut least, mut most) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
    let (whole, rest) = weights.as_chunks::<LANES>();
    for weights in whole {
        for lane in 0..LANES {
            least[lane] = lesser(weights[lane], least[lane]);
            most[lane] = greater(weights[lane], most[lane]);
        }
    }
    let minimum = rest.iter().copied().fold(across(least, lesser), lesser);
    let maximum = rest.iter().copied().fold(across(most, greater), greater);
    // Lanes have lost which zero came first.
    let zero = || weights.iter().copied().find(|weight| *weight == 0.0);
    let minimum = if minimum == 0.0 { zero().unwrap_or(minimum) } else { minimum };
    (minimum, maximum)
}

/// What is left of all lanes, two by two: half as many steps wait for one another as from the first to the last.
fn across(mut lanes: [f32; LANES], one_of: impl Fn(f32, f32) -> f32) -> f32 {
    for half in [4, 2, 1] {
        for lane in 0..half {
            lanes[lane] = one_of(lanes[lane], lanes[lane + half]);
        }
    }
    lanes[0]
}

/// The size of the largest weight.
#[inline]
pub(super) fn largest(weights: &[f32; BLOCK_LEN]) -> f32 {
    let mut sizes = [0.0; LANES];
    for weights in weights.as_chunks::<LANES>().0 {
        for (size, weight) in sizes.iter_mut().zip(weights) {
            let other = weight.abs();
            *size = if other > *size { other } else { *size };
        }
    }
    across(sizes, f32::max)
}

/// Singles from here on up to twice this are the integers; adding it rounds to an integer, ties to even, and leaves that
/// integer in the lowest bits. Conversions between floats and integers would do the same, but Rust's also say what
/// becomes of numbers that do not fit, which costs three times as much.
const INTEGERS: f32 = (1 << 23) as f32;

/// The nearest integer to a size below [`INTEGERS`], halves up.
fn round_size(size: f32) -> f32 {
    let even = (size + INTEGERS) - INTEGERS;
    even + if size - even >= 0.5 { 1.0 } else { 0.0 }
}

/// The nearest integer, halves away from zero, as `f32::round`; but this the compiler turns into vector instructions on
/// every machine.
#[inline]
pub(super) fn round(x: f32) -> f32 {
    round_size(x.abs()).copysign(x)
}

#[inline]
pub(super) fn clamp_to_codes(x: f32) -> f32 {
    let x = if x > 0.0 { x } else { 0.0 };
    if x < 15.0 { x } else { 15.0 }
}

/// The code that is nearest to `x`, halves up. Cutting off first comes to the same, and leaves no sign to look after.
#[inline]
pub(super) fn nearest_code(x: f32) -> f32 {
    round_size(clamp_to_codes(x))
}

/// The code that is nearest to `x`, halves to even.
#[inline]
pub(super) fn nearest_even_code(x: f32) -> f32 {
    (clamp_to_codes(x) + INTEGERS) - INTEGERS
}

/// A code as an integer.
#[inline]
pub(super) fn integer(code: f32) -> u8 {
    (code + INTEGERS).to_bits() as u8
}
