//! 64-bit Arm: `sdot` adds four products of signed bytes to each 32-bit lane; codes of four bits are signed bytes as well.
//! Without it, products of two bytes are added in 16 bits, of which eight pairs still fit: 15 · 127 · 2 · 8 = 30 480.

use std::arch::aarch64::*;

use super::super::super::simd::{LANES, Neon, Simd};
use super::Dot;

/// NEON alone.
#[derive(Clone, Copy)]
pub(in super::super) struct Plain;

/// With the dot products of Armv8.4, optional from 8.2 on.
#[derive(Clone, Copy)]
pub(in super::super) struct Dotprod(());

impl Dotprod {
    /// # Safety
    ///
    /// This machine has the `dotprod` feature.
    #[inline(always)]
    pub(in super::super) const unsafe fn assume() -> Self {
        Self(())
    }
}

/// Lanes 0 to 3, 4 to 7, 8 to 11 and 12 to 15, four bytes each.
#[derive(Clone, Copy)]
pub(in super::super) struct Bytes([int8x16_t; 4]);

#[inline(always)]
fn unpack(line: &[[u8; 4]; LANES]) -> [Bytes; 2] {
    let from = line.as_ptr().cast::<u8>();
    // SAFETY: the target has NEON, and a line has 64 bytes to be read.
    unsafe {
        let low = |i| vreinterpretq_s8_u8(vandq_u8(vld1q_u8(from.add(16 * i)), vdupq_n_u8(15)));
        let high = |i| vreinterpretq_s8_u8(vshrq_n_u8::<4>(vld1q_u8(from.add(16 * i))));
        [Bytes(std::array::from_fn(low)), Bytes(std::array::from_fn(high))]
    }
}

impl Dot for Plain {
    type Simd = Neon;
    type Codes = Bytes;
    /// Two sums of pairs in each lane.
    type Sums = [int16x8_t; 4];

    const LARGEST_TILE: usize = 2;

    #[inline(always)]
    fn simd(self) -> Neon {
        Neon
    }

    #[inline(always)]
    fn no_sum(self) -> Self::Sums {
        // SAFETY: the target has NEON.
        [unsafe { vdupq_n_s16(0) }; 4]
    }

    #[inline(always)]
    fn unpack(self, line: &[[u8; 4]; LANES]) -> [Bytes; 2] {
        unpack(line)
    }

    #[inline(always)]
    fn add_products(self, sums: Self::Sums, codes: Bytes, x: [i8; 4]) -> Self::Sums {
        // SAFETY: the target has NEON.
        unsafe {
            let x = vreinterpretq_s8_s32(vdupq_n_s32(bytemuck::cast(x)));
            std::array::from_fn(|i| {
                let low = vmull_s8(vget_low_s8(codes.0[i]), vget_low_s8(x));
                vaddq_s16(sums[i], vpaddq_s16(low, vmull_high_s8(codes.0[i], x)))
            })
        }
    }

    #[inline(always)]
    fn to_f32(self, sums: Self::Sums) -> <Neon as Simd>::V {
        // SAFETY: the target has NEON.
        Neon.quarters(sums.map(|sums| unsafe { vcvtq_f32_s32(vpaddlq_s16(sums)) }))
    }
}

impl Dot for Dotprod {
    type Simd = Neon;
    type Codes = Bytes;
    type Sums = [int32x4_t; 4];

    const LARGEST_TILE: usize = 4;

    #[inline(always)]
    fn simd(self) -> Neon {
        Neon
    }

    #[inline(always)]
    fn no_sum(self) -> Self::Sums {
        // SAFETY: the target has NEON.
        [unsafe { vdupq_n_s32(0) }; 4]
    }

    #[inline(always)]
    fn unpack(self, line: &[[u8; 4]; LANES]) -> [Bytes; 2] {
        unpack(line)
    }

    #[inline(always)]
    fn add_products(self, mut sums: Self::Sums, codes: Bytes, x: [i8; 4]) -> Self::Sums {
        // SAFETY: the target has NEON.
        let x = unsafe { vreinterpretq_s8_s32(vdupq_n_s32(bytemuck::cast(x))) };
        for (sums, codes) in sums.iter_mut().zip(codes.0) {
            // Rust has no stable intrinsic for this instruction.
            // SAFETY: `self` proves the feature; registers in, a register out, no memory.
            unsafe {
                std::arch::asm!(
                    "sdot {sums:v}.4s, {codes:v}.16b, {x:v}.16b",
                    sums = inout(vreg) *sums, codes = in(vreg) codes, x = in(vreg) x,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
        sums
    }

    #[inline(always)]
    fn to_f32(self, sums: Self::Sums) -> <Neon as Simd>::V {
        // SAFETY: the target has NEON.
        Neon.quarters(sums.map(|sums| unsafe { vcvtq_f32_s32(sums) }))
    }
}
