//! Integer products of four-bit and eight-bit codes on each instruction set that has a good one.
//!
//! The integers are exact, so that every instruction set gives the same.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(super) use arm::{Dotprod, Plain};
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Maddubs256, Maddubs512, Vnni256, Vnni512};

use super::super::isa::{Isa, Level};
use super::super::simd::{LANES, Portable, Simd};

/// Sixteen lanes, each with four codes of four bits at a time and a sum.
pub(super) trait Dot: Copy {
    /// The same machine's arithmetic in single precision.
    type Simd: Simd;
    /// Four unpacked codes in each lane, one a byte.
    type Codes: Copy;
    /// A sum in each lane, large enough for the 32 products of a block.
    type Sums: Copy;

    /// The most rows of `x` that are worth a tile.
    const LARGEST_TILE: usize;

    fn simd(self) -> Self::Simd;
    fn no_sum(self) -> Self::Sums;
    /// The codes in the low halves of the bytes, and those in the high halves.
    fn unpack(self, line: &[[u8; 4]; LANES]) -> [Self::Codes; 2];
    /// Adds to each lane the four products of its codes with `x`. At most eight times from [`Dot::no_sum`] on.
    fn add_products(self, sums: Self::Sums, codes: Self::Codes, x: [i8; 4]) -> Self::Sums;
    fn to_f32(self, sums: Self::Sums) -> <Self::Simd as Simd>::V;
}

impl Dot for Portable {
    type Simd = Self;
    type Codes = [[u8; 4]; LANES];
    type Sums = [i32; LANES];

    const LARGEST_TILE: usize = 4;

    #[inline(always)]
    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
    fn no_sum(self) -> Self::Sums {
        [0; LANES]
    }

    #[inline(always)]
    fn unpack(self, line: &[[u8; 4]; LANES]) -> [Self::Codes; 2] {
        [line.map(|bytes| bytes.map(|byte| byte & 15)), line.map(|bytes| bytes.map(|byte| byte >> 4))]
    }

    #[inline(always)]
    fn add_products(self, mut sums: Self::Sums, codes: Self::Codes, x: [i8; 4]) -> Self::Sums {
        for (sum, codes) in sums.iter_mut().zip(codes) {
            for (code, x) in codes.into_iter().zip(x) {
                *sum += i32::from(code) * i32::from(x);
            }
        }
        sums
    }

    #[inline(always)]
    fn to_f32(self, sums: Self::Sums) -> [f32; LANES] {
        sums.map(|sum| sum as f32)
    }
}

/// The most rows of `x` in a tile of this instruction set.
pub(super) fn largest_tile(isa: Isa) -> usize {
    match isa.0 {
        Level::Scalar => Portable::LARGEST_TILE,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => Maddubs256::LARGEST_TILE,
        #[cfg(target_arch = "x86_64")]
        Level::AvxVnni => Vnni256::LARGEST_TILE,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => Maddubs512::LARGEST_TILE,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Vnni => Vnni512::LARGEST_TILE,
        #[cfg(target_arch = "aarch64")]
        Level::Neon => Plain::LARGEST_TILE,
        #[cfg(target_arch = "aarch64")]
        Level::NeonDotprod => Dotprod::LARGEST_TILE,
    }
}

/// As [`per_isa!`](super::super::simd::per_isa), with a [`Dot`] token.
macro_rules! per_dot_isa {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($dot:ident $(, $argument:ident: $type:ty)* $(,)?) $body:block
    ) => {
        $(#[$attribute])*
        $visibility fn $name(isa: $crate::cpu::kernels::isa::Isa $(, $argument: $type)*) {
            use $crate::cpu::kernels::{isa::Level, matmul_q4::dot, simd};

            #[inline(always)]
            fn body<D: dot::Dot>($dot: D $(, $argument: $type)*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2(token: dot::Maddubs256 $(, $argument: $type)*) {
                body(token $(, $argument)*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avxvnni,avx2,fma,f16c")]
            fn avx_vnni(token: dot::Vnni256 $(, $argument: $type)*) {
                body(token $(, $argument)*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            fn avx512(token: dot::Maddubs512 $(, $argument: $type)*) {
                body(token $(, $argument)*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            fn avx512_vnni(token: dot::Vnni512 $(, $argument: $type)*) {
                body(token $(, $argument)*);
            }

            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "dotprod")]
            fn neon_dotprod(token: dot::Dotprod $(, $argument: $type)*) {
                body(token $(, $argument)*);
            }

            match isa.0 {
                Level::Scalar => body(simd::Portable $(, $argument)*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this level is only made where all of these features were detected.
                Level::Avx2 => unsafe { avx2(dot::Maddubs256::assume() $(, $argument)*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Level::AvxVnni => unsafe { avx_vnni(dot::Vnni256::assume() $(, $argument)*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Level::Avx512 => unsafe { avx512(dot::Maddubs512::assume() $(, $argument)*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Level::Avx512Vnni => unsafe { avx512_vnni(dot::Vnni512::assume() $(, $argument)*) },
                #[cfg(target_arch = "aarch64")]
                Level::Neon => body(dot::Plain $(, $argument)*),
                #[cfg(target_arch = "aarch64")]
                // SAFETY: as above.
                Level::NeonDotprod => unsafe { neon_dotprod(dot::Dotprod::assume() $(, $argument)*) },
            }
        }
    };
}

pub(super) use per_dot_isa;
