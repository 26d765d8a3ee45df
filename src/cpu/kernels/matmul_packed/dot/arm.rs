//! 64-bit Arm: `sdot` adds four products of signed bytes to each 32-bit lane; codes of four to six bits are signed bytes as
//! well. Without it, products of two bytes are added in 16 bits, of which eight pairs still fit: 15 · 127 · 2 · 8 = 30 480; of
//! 31 four, of 63 two, and of 128 one. Where that is full, neighbours are added to 32 bits.

use std::arch::aarch64::*;

use super::super::super::simd::{Neon, Simd};
use super::super::panel::Word;
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

/// Sums without `sdot`.
#[derive(Clone, Copy)]
pub(in super::super) struct Widening {
    /// Of 16 bits, two in each lane.
    narrow: [int16x8_t; 4],
    /// What there was no room for any more.
    wide: [int32x4_t; 4],
}

#[inline(always)]
fn load<T>(word: &Word<T>) -> Bytes {
    const { assert!(size_of::<T>() == 1) }
    let from = word.as_ptr().cast::<i8>();
    // SAFETY: the target has NEON, and a word has 64 bytes to be read.
    Bytes(std::array::from_fn(|i| unsafe { vld1q_s8(from.add(16 * i)) }))
}

#[inline(always)]
fn unpack(line: &Word<u8>) -> [Bytes; 2] {
    let from = line.as_ptr().cast::<u8>();
    // SAFETY: the target has NEON, and a line has 64 bytes to be read.
    unsafe {
        let low = |i| vreinterpretq_s8_u8(vandq_u8(vld1q_u8(from.add(16 * i)), vdupq_n_u8(15)));
        let high = |i| vreinterpretq_s8_u8(vshrq_n_u8::<4>(vld1q_u8(from.add(16 * i))));
        [Bytes(std::array::from_fn(low)), Bytes(std::array::from_fn(high))]
    }
}

#[inline(always)]
fn with_high_bits(codes: Bytes, bits: Bytes, at: u32, mask: u8) -> Bytes {
    // SAFETY: the target has NEON. Shifts to the left by less than nothing are shifts to the right.
    unsafe {
        let (by, mask) = (vdupq_n_s8(4 - at as i8), vdupq_n_u8(mask << 4));
        Bytes(std::array::from_fn(|i| {
            let bits = vandq_u8(vshlq_u8(vreinterpretq_u8_s8(bits.0[i]), by), mask);
            vorrq_s8(codes.0[i], vreinterpretq_s8_u8(bits))
        }))
    }
}

/// The products of pairs, added.
#[inline(always)]
fn pairs(codes: Bytes, x: [i8; 4]) -> [int16x8_t; 4] {
    // SAFETY: the target has NEON.
    unsafe {
        let x = vreinterpretq_s8_s32(vdupq_n_s32(bytemuck::cast(x)));
        std::array::from_fn(|i| {
            let low = vmull_s8(vget_low_s8(codes.0[i]), vget_low_s8(x));
            vpaddq_s16(low, vmull_high_s8(codes.0[i], x))
        })
    }
}

/// Neighbours added to sums of 32 bits.
#[inline(always)]
fn widened(wide: [int32x4_t; 4], narrow: [int16x8_t; 4]) -> [int32x4_t; 4] {
    // SAFETY: the target has NEON.
    std::array::from_fn(|i| unsafe { vpadalq_s16(wide[i], narrow[i]) })
}

/// What both have in common.
macro_rules! bytes {
    () => {
        type Simd = Neon;
        type Codes = Bytes;
        type Signed = Bytes;

        const SIGNED_OFFSET: i32 = 0;

        #[inline(always)]
        fn simd(self) -> Neon {
            Neon
        }

        #[inline(always)]
        fn load(self, word: &Word<u8>) -> Bytes {
            load(word)
        }

        #[inline(always)]
        fn unpack(self, line: &Word<u8>) -> [Bytes; 2] {
            unpack(line)
        }

        #[inline(always)]
        fn with_high_bits(self, codes: Bytes, bits: Bytes, at: u32, mask: u8) -> Bytes {
            with_high_bits(codes, bits, at, mask)
        }

        #[inline(always)]
        fn signed(self, word: &Word<i8>) -> Bytes {
            load(word)
        }
    };
}

impl Dot for Plain {
    bytes!();

    type Sums = Widening;

    const LARGEST_TILE: usize = 2;

    #[inline(always)]
    fn start(self, sum: i32) -> Widening {
        // SAFETY: the target has NEON.
        unsafe { Widening { narrow: [vdupq_n_s16(0); 4], wide: [vdupq_n_s32(sum); 4] } }
    }

    #[inline(always)]
    fn add_products(self, sums: Widening, codes: Bytes, x: [i8; 4]) -> Widening {
        let pairs = pairs(codes, x);
        // SAFETY: the target has NEON.
        let narrow = std::array::from_fn(|i| unsafe { vaddq_s16(sums.narrow[i], pairs[i]) });
        Widening { narrow, ..sums }
    }

    #[inline(always)]
    fn make_room(self, sums: Widening) -> Widening {
        // SAFETY: the target has NEON.
        Widening { narrow: [unsafe { vdupq_n_s16(0) }; 4], wide: widened(sums.wide, sums.narrow) }
    }

    #[inline(always)]
    fn add_signed_products(self, sums: Widening, codes: Bytes, x: [i8; 4]) -> Widening {
        Widening { wide: widened(sums.wide, pairs(codes, x)), ..sums }
    }

    #[inline(always)]
    fn to_f32(self, sums: Widening) -> <Neon as Simd>::V {
        let sums = widened(sums.wide, sums.narrow);
        // SAFETY: the target has NEON.
        Neon.quarters(sums.map(|sums| unsafe { vcvtq_f32_s32(sums) }))
    }
}

impl Dot for Dotprod {
    bytes!();

    type Sums = [int32x4_t; 4];

    const LARGEST_TILE: usize = 4;

    #[inline(always)]
    fn start(self, sum: i32) -> Self::Sums {
        // SAFETY: the target has NEON.
        [unsafe { vdupq_n_s32(sum) }; 4]
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
    fn make_room(self, sums: Self::Sums) -> Self::Sums {
        sums
    }

    #[inline(always)]
    fn add_signed_products(self, sums: Self::Sums, codes: Bytes, x: [i8; 4]) -> Self::Sums {
        self.add_products(sums, codes, x)
    }

    #[inline(always)]
    fn to_f32(self, sums: Self::Sums) -> <Neon as Simd>::V {
        // SAFETY: the target has NEON.
        Neon.quarters(sums.map(|sums| unsafe { vcvtq_f32_s32(sums) }))
    }
}
