//! Integer products of codes of weights and of eight-bit codes of activations, on each instruction set that has a good one.
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
use super::panel::Word;

/// Sixteen lanes, each with four codes at a time and a sum.
pub(super) trait Dot: Copy {
    /// The same machine's arithmetic in single precision.
    type Simd: Simd;
    /// Four unpacked codes in each lane, one a byte.
    type Codes: Copy;
    /// As many with signs, of all eight bits, and what their products need.
    type Signed: Copy;
    /// A sum in each lane.
    type Sums: Copy;

    /// The most rows of `x` that are worth a tile.
    const LARGEST_TILE: usize;

    /// What codes with signs count from here: sums of their products must begin at as many times the sum of `x`.
    const SIGNED_OFFSET: i32;

    fn simd(self) -> Self::Simd;
    /// This number in each lane, and room for products: eight of codes of four bits, four of codes of five, two of six.
    fn start(self, sum: i32) -> Self::Sums;
    /// The bytes as they are.
    fn load(self, word: &Word<u8>) -> Self::Codes;
    /// The codes in the low halves of the bytes, and those in the high halves.
    fn unpack(self, line: &Word<u8>) -> [Self::Codes; 2];
    /// The codes, with bits from the fifth on: those of `bits` from bit `at` on, as many as `mask` has.
    fn with_high_bits(self, codes: Self::Codes, bits: Self::Codes, at: u32, mask: u8) -> Self::Codes;
    fn signed(self, word: &Word<i8>) -> Self::Signed;
    /// Adds to each lane the four products of its codes with `x`, for which there must be room.
    fn add_products(self, sums: Self::Sums, codes: Self::Codes, x: [i8; 4]) -> Self::Sums;
    /// The same sums, with all the room they began with.
    fn make_room(self, sums: Self::Sums) -> Self::Sums;
    /// As [`Dot::add_products`], and takes no room.
    fn add_signed_products(self, sums: Self::Sums, codes: Self::Signed, x: [i8; 4]) -> Self::Sums;
    fn to_f32(self, sums: Self::Sums) -> <Self::Simd as Simd>::V;
}

impl Dot for Portable {
    type Simd = Self;
    type Codes = Word<u8>;
    type Signed = Word<i8>;
    type Sums = [i32; LANES];

    const LARGEST_TILE: usize = 4;
    const SIGNED_OFFSET: i32 = 0;

    #[inline(always)]
    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
    fn start(self, sum: i32) -> Self::Sums {
        [sum; LANES]
    }

    #[inline(always)]
    fn load(self, word: &Word<u8>) -> Word<u8> {
        *word
    }

    #[inline(always)]
    fn unpack(self, line: &Word<u8>) -> [Word<u8>; 2] {
        [line.map(|bytes| bytes.map(|byte| byte & 15)), line.map(|bytes| bytes.map(|byte| byte >> 4))]
    }

    #[inline(always)]
    fn with_high_bits(self, mut codes: Word<u8>, bits: Word<u8>, at: u32, mask: u8) -> Word<u8> {
        for (code, bits) in codes.as_flattened_mut().iter_mut().zip(bits.as_flattened()) {
            *code |= (bits >> at & mask) << 4;
        }
        codes
    }

    #[inline(always)]
    fn signed(self, word: &Word<i8>) -> Word<i8> {
        *word
    }

    #[inline(always)]
    fn add_products(self, mut sums: Self::Sums, codes: Word<u8>, x: [i8; 4]) -> Self::Sums {
        for (sum, codes) in sums.iter_mut().zip(codes) {
            for (code, x) in codes.into_iter().zip(x) {
                *sum += i32::from(code) * i32::from(x);
            }
        }
        sums
    }

    #[inline(always)]
    fn make_room(self, sums: Self::Sums) -> Self::Sums {
        sums
    }

    #[inline(always)]
    fn add_signed_products(self, mut sums: Self::Sums, codes: Word<i8>, x: [i8; 4]) -> Self::Sums {
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
        Level::Avx512Vnni | Level::Avx512Bf16 => Vnni512::LARGEST_TILE,
        #[cfg(target_arch = "aarch64")]
        Level::Neon => Plain::LARGEST_TILE,
        #[cfg(target_arch = "aarch64")]
        Level::NeonDotprod => Dotprod::LARGEST_TILE,
    }
}

/// As [`per_isa!`](super::super::simd::per_isa), with a [`Dot`] token, for functions with one type parameter.
macro_rules! per_dot_isa {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident<$generic:ident: $bound:ident>($dot:ident $(, $argument:ident: $type:ty)* $(,)?) $body:block
    ) => {
        $(#[$attribute])*
        $visibility fn $name<$generic: $bound>(isa: $crate::cpu::kernels::isa::Isa $(, $argument: $type)*) {
            use $crate::cpu::kernels::{isa::Level, matmul_packed::dot, simd};

            #[inline(always)]
            fn body<D: dot::Dot, $generic: $bound>($dot: D $(, $argument: $type)*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            fn avx2<$generic: $bound>(token: dot::Maddubs256 $(, $argument: $type)*) {
                body::<_, $generic>(token $(, $argument)*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avxvnni,avx2,fma,f16c")]
            fn avx_vnni<$generic: $bound>(token: dot::Vnni256 $(, $argument: $type)*) {
                body::<_, $generic>(token $(, $argument)*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            fn avx512<$generic: $bound>(token: dot::Maddubs512 $(, $argument: $type)*) {
                body::<_, $generic>(token $(, $argument)*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512vnni,avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            fn avx512_vnni<$generic: $bound>(token: dot::Vnni512 $(, $argument: $type)*) {
                body::<_, $generic>(token $(, $argument)*);
            }

            #[cfg(target_arch = "aarch64")]
            #[target_feature(enable = "dotprod")]
            fn neon_dotprod<$generic: $bound>(token: dot::Dotprod $(, $argument: $type)*) {
                body::<_, $generic>(token $(, $argument)*);
            }

            match isa.0 {
                Level::Scalar => body::<_, $generic>(simd::Portable $(, $argument)*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this level is only made where all of these features were detected.
                Level::Avx2 => unsafe { avx2::<$generic>(dot::Maddubs256::assume() $(, $argument)*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Level::AvxVnni => unsafe { avx_vnni::<$generic>(dot::Vnni256::assume() $(, $argument)*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Level::Avx512 => unsafe { avx512::<$generic>(dot::Maddubs512::assume() $(, $argument)*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Level::Avx512Vnni | Level::Avx512Bf16 => unsafe {
                    avx512_vnni::<$generic>(dot::Vnni512::assume() $(, $argument)*)
                },
                #[cfg(target_arch = "aarch64")]
                Level::Neon => body::<_, $generic>(dot::Plain $(, $argument)*),
                #[cfg(target_arch = "aarch64")]
                // SAFETY: as above.
                Level::NeonDotprod => unsafe { neon_dotprod::<$generic>(dot::Dotprod::assume() $(, $argument)*) },
            }
        }
    };
}

pub(super) use per_dot_isa;
