//! x86-64: `vpdpbusd` multiplies unsigned by signed bytes and adds four products to each 32-bit lane. Before it there was
//! `vpmaddubsw`, which adds two products to 16 bits: 15 · 127 · 2 = 3810, so that eight of them still fit.

use std::arch::x86_64::*;

use super::super::super::simd::{Avx2, Avx512, LANES, Simd};
use super::Dot;

/// AVX2.
#[derive(Clone, Copy)]
pub(in super::super) struct Maddubs256(Avx2);

/// AVX-VNNI, the form without AVX-512.
#[derive(Clone, Copy)]
pub(in super::super) struct Vnni256(Avx2);

/// AVX-512 BW.
#[derive(Clone, Copy)]
pub(in super::super) struct Maddubs512(Avx512);

/// AVX-512 VNNI.
#[derive(Clone, Copy)]
pub(in super::super) struct Vnni512(Avx512);

/// Two registers of bytes or integers, lanes 0 to 7 and 8 to 15.
#[derive(Clone, Copy)]
pub(in super::super) struct Pair(__m256i, __m256i);

/// One register of bytes or integers.
#[derive(Clone, Copy)]
pub(in super::super) struct Single(__m512i);

macro_rules! assume {
    ($($token:ident($simd:ident) has $features:literal;)*) => {
        $(impl $token {
            /// # Safety
            ///
            #[doc = concat!("This machine has ", $features, ".")]
            #[inline(always)]
            pub(in super::super) const unsafe fn assume() -> Self {
                // SAFETY: the caller promises more.
                Self(unsafe { $simd::assume() })
            }
        })*
    };
}

assume! {
    Maddubs256(Avx2) has "AVX2, FMA and F16C";
    Vnni256(Avx2) has "AVX-VNNI, AVX2, FMA and F16C";
    Maddubs512(Avx512) has "AVX-512 F, BW, DQ and VL";
    Vnni512(Avx512) has "AVX-512 F, BW, DQ, VL and VNNI";
}

impl Avx2 {
    #[inline(always)]
    fn zero(self) -> Pair {
        // SAFETY: `self` proves AVX2.
        let zero = unsafe { _mm256_setzero_si256() };
        Pair(zero, zero)
    }

    #[inline(always)]
    fn unpack(self, line: &[[u8; 4]; LANES]) -> [Pair; 2] {
        let from = line.as_ptr().cast::<__m256i>();
        // SAFETY: `self` proves AVX2, and a line has 64 bytes to be read.
        unsafe {
            let (a, b) = (_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1)));
            let half = _mm256_set1_epi8(15);
            let low = Pair(_mm256_and_si256(a, half), _mm256_and_si256(b, half));
            let (a, b) = (_mm256_srli_epi16::<4>(a), _mm256_srli_epi16::<4>(b));
            [low, Pair(_mm256_and_si256(a, half), _mm256_and_si256(b, half))]
        }
    }

    #[inline(always)]
    fn floats(self, sums: Pair) -> <Self as Simd>::V {
        // SAFETY: `self` proves AVX2.
        unsafe { self.halves(_mm256_cvtepi32_ps(sums.0), _mm256_cvtepi32_ps(sums.1)) }
    }
}

impl Avx512 {
    #[inline(always)]
    fn zero(self) -> Single {
        // SAFETY: `self` proves AVX-512.
        Single(unsafe { _mm512_setzero_si512() })
    }

    #[inline(always)]
    fn unpack(self, line: &[[u8; 4]; LANES]) -> [Single; 2] {
        // SAFETY: `self` proves AVX-512, and a line has 64 bytes to be read.
        unsafe {
            let bytes = _mm512_loadu_si512(line.as_ptr().cast());
            let half = _mm512_set1_epi8(15);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), half);
            [Single(_mm512_and_si512(bytes, half)), Single(high)]
        }
    }

    #[inline(always)]
    fn floats(self, sums: Single) -> <Self as Simd>::V {
        // SAFETY: `self` proves AVX-512.
        unsafe { self.whole(_mm512_cvtepi32_ps(sums.0)) }
    }
}

/// What the four have in common: the registers, and how they are filled.
macro_rules! registers {
    ($simd:ident, $vector:ident, $tile:literal) => {
        type Simd = $simd;
        type Codes = $vector;
        type Sums = $vector;

        const LARGEST_TILE: usize = $tile;

        #[inline(always)]
        fn simd(self) -> $simd {
            self.0
        }

        #[inline(always)]
        fn no_sum(self) -> $vector {
            self.0.zero()
        }

        #[inline(always)]
        fn unpack(self, line: &[[u8; 4]; LANES]) -> [$vector; 2] {
            self.0.unpack(line)
        }
    };
}

impl Dot for Maddubs256 {
    registers!(Avx2, Pair, 4);

    #[inline(always)]
    fn add_products(self, sums: Pair, codes: Pair, x: [i8; 4]) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let x = _mm256_set1_epi32(bytemuck::cast(x));
            let (a, b) = (_mm256_maddubs_epi16(codes.0, x), _mm256_maddubs_epi16(codes.1, x));
            Pair(_mm256_add_epi16(sums.0, a), _mm256_add_epi16(sums.1, b))
        }
    }

    #[inline(always)]
    fn to_f32(self, sums: Pair) -> <Avx2 as Simd>::V {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let one = _mm256_set1_epi16(1);
            self.0.floats(Pair(_mm256_madd_epi16(sums.0, one), _mm256_madd_epi16(sums.1, one)))
        }
    }
}

impl Dot for Vnni256 {
    registers!(Avx2, Pair, 4);

    #[inline(always)]
    fn add_products(self, sums: Pair, codes: Pair, x: [i8; 4]) -> Pair {
        // SAFETY: `self` proves AVX-VNNI.
        unsafe {
            let x = _mm256_set1_epi32(bytemuck::cast(x));
            Pair(_mm256_dpbusd_avx_epi32(sums.0, codes.0, x), _mm256_dpbusd_avx_epi32(sums.1, codes.1, x))
        }
    }

    #[inline(always)]
    fn to_f32(self, sums: Pair) -> <Avx2 as Simd>::V {
        self.0.floats(sums)
    }
}

impl Dot for Maddubs512 {
    registers!(Avx512, Single, 16);

    #[inline(always)]
    fn add_products(self, sums: Single, codes: Single, x: [i8; 4]) -> Single {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe {
            let x = _mm512_set1_epi32(bytemuck::cast(x));
            Single(_mm512_add_epi16(sums.0, _mm512_maddubs_epi16(codes.0, x)))
        }
    }

    #[inline(always)]
    fn to_f32(self, sums: Single) -> <Avx512 as Simd>::V {
        // SAFETY: `self` proves AVX-512 BW.
        self.0.floats(Single(unsafe { _mm512_madd_epi16(sums.0, _mm512_set1_epi16(1)) }))
    }
}

impl Dot for Vnni512 {
    registers!(Avx512, Single, 16);

    #[inline(always)]
    fn add_products(self, sums: Single, codes: Single, x: [i8; 4]) -> Single {
        // SAFETY: `self` proves AVX-512 VNNI.
        Single(unsafe { _mm512_dpbusd_epi32(sums.0, codes.0, _mm512_set1_epi32(bytemuck::cast(x))) })
    }

    #[inline(always)]
    fn to_f32(self, sums: Single) -> <Avx512 as Simd>::V {
        self.0.floats(sums)
    }
}
