//! What weights may be stored as before they are encoded.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// A number that weights are stored as. Encoding is done in single precision, to which `f64` is rounded first.
pub trait Weight: Copy + Send + Sync + sealed::Sealed {
    /// The number in single precision, ties to even.
    fn to_f32(self) -> f32;

    /// `weights` in single precision, at the beginning of `out`.
    #[doc(hidden)]
    #[inline]
    fn widen(weights: &[Self], out: &mut [f32]) {
        for (to, from) in out.iter_mut().zip(weights) {
            *to = from.to_f32();
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
    impl Sealed for half::f16 {}
    impl Sealed for half::bf16 {}
}

impl Weight for f32 {
    #[inline]
    fn to_f32(self) -> f32 {
        self
    }
}

impl Weight for f64 {
    #[inline]
    fn to_f32(self) -> f32 {
        self as f32
    }
}

impl Weight for f16 {
    #[inline]
    fn to_f32(self) -> f32 {
        f16::to_f32(self)
    }

    #[inline]
    fn widen(weights: &[Self], out: &mut [f32]) {
        // Where the machine has instructions for it, this asks for them once, not for each weight.
        weights.convert_to_f32_slice(&mut out[..weights.len()]);
    }
}

impl Weight for bf16 {
    #[inline]
    fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}
