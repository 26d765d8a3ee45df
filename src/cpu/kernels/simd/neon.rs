//! The vectors of 64-bit Arm: four NEON registers.

use std::arch::aarch64::*;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::{LANES, Simd};

/// NEON is part of every 64-bit Arm, so this proves nothing that the target does not.
#[derive(Clone, Copy)]
pub(in super::super) struct Neon;

/// Lanes 0 to 3, 4 to 7, 8 to 11 and 12 to 15.
#[derive(Clone, Copy)]
pub(in super::super) struct Four([float32x4_t; 4]);

impl Neon {
    /// A vector of four registers.
    #[inline(always)]
    pub(in super::super) fn quarters(self, quarters: [float32x4_t; 4]) -> Four {
        Four(quarters)
    }
}

impl Simd for Neon {
    type V = Four;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Four {
        // SAFETY: the target has NEON.
        Four([unsafe { vdupq_n_f32(x) }; 4])
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Four {
        let from = from.as_ptr();
        // SAFETY: the target has NEON, and the array has sixteen floats to be read.
        Four(std::array::from_fn(|i| unsafe { vld1q_f32(from.add(4 * i)) }))
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Four {
        let from = from.as_ptr().cast::<u16>();
        // SAFETY: the target has NEON, and the array has sixteen numbers of two bytes.
        Four(std::array::from_fn(|i| unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.add(4 * i)))) }))
    }

    /// Rust has no stable intrinsic for this; `half` uses the instruction where the machine has it.
    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Four {
        let mut wide = [0.0; LANES];
        from.convert_to_f32_slice(&mut wide);
        self.load(&wide)
    }

    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Four {
        self.load(&from.map(f32::from))
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> Four {
        self.load(&from.map(f32::from))
    }

    #[inline(always)]
    fn store(self, v: Four, to: &mut [f32; LANES]) {
        let to = to.as_mut_ptr();
        for (i, v) in v.0.into_iter().enumerate() {
            // SAFETY: the target has NEON, and the array has room for sixteen floats.
            unsafe { vst1q_f32(to.add(4 * i), v) }
        }
    }

    #[inline(always)]
    fn add(self, a: Four, b: Four) -> Four {
        // SAFETY: the target has NEON.
        Four(std::array::from_fn(|i| unsafe { vaddq_f32(a.0[i], b.0[i]) }))
    }

    #[inline(always)]
    fn mul(self, a: Four, b: Four) -> Four {
        // SAFETY: the target has NEON.
        Four(std::array::from_fn(|i| unsafe { vmulq_f32(a.0[i], b.0[i]) }))
    }

    #[inline(always)]
    fn fma(self, a: Four, b: Four, c: Four) -> Four {
        // SAFETY: the target has NEON.
        Four(std::array::from_fn(|i| unsafe { vfmaq_f32(c.0[i], a.0[i], b.0[i]) }))
    }

    #[inline(always)]
    fn max(self, a: Four, b: Four) -> Four {
        // SAFETY: the target has NEON.
        Four(std::array::from_fn(|i| unsafe { vmaxq_f32(a.0[i], b.0[i]) }))
    }

    #[inline(always)]
    fn sum(self, v: Four) -> f32 {
        // SAFETY: the target has NEON.
        unsafe {
            let four = vaddq_f32(vaddq_f32(v.0[0], v.0[2]), vaddq_f32(v.0[1], v.0[3]));
            let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
            vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
        }
    }
}
