//! x86-64: `vpdpbusd` multiplies unsigned by signed bytes and adds four products to each 32-bit lane. Before it there was
//! `vpmaddubsw`, which adds two products to 16 bits: 15 · 127 · 2 = 3810, so that eight of them still fit, of 31 four, and
//! of 63 two. Where that is full, neighbours are added to 32 bits.
//!
//! Codes with signs become unsigned: for `vpdpbusd` by counting from −128 on, before it by taking their signs over to `x`,
//! since 255 · 127 · 2 would not fit: 128 · 127 · 2 does.

use std::arch::x86_64::*;

use super::super::super::simd::{Avx2, Avx512, Simd};
use super::super::panel::Word;
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

/// Sums before there was `vpdpbusd`.
#[derive(Clone, Copy)]
pub(in super::super) struct Widening<V> {
    /// Of 16 bits, two in each lane.
    narrow: V,
    /// What there was no room for any more, of 32 bits.
    wide: V,
}

/// Codes for [`Widening`] sums: their sizes, and what their signs are taken from.
#[derive(Clone, Copy)]
pub(in super::super) struct Signs<V, S> {
    sizes: V,
    signs: S,
}

impl Avx2 {
    #[inline(always)]
    fn splat_integer(self, integer: i32) -> Pair {
        // SAFETY: `self` proves AVX2.
        let integers = unsafe { _mm256_set1_epi32(integer) };
        Pair(integers, integers)
    }

    #[inline(always)]
    fn load_bytes<T>(self, word: &Word<T>) -> Pair {
        const { assert!(size_of::<T>() == 1) }
        let from = word.as_ptr().cast::<__m256i>();
        // SAFETY: `self` proves AVX2, and a word has 64 bytes to be read.
        unsafe { Pair(_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1))) }
    }

    #[inline(always)]
    fn unpack(self, line: &Word<u8>) -> [Pair; 2] {
        let Pair(a, b) = self.load_bytes(line);
        // SAFETY: `self` proves AVX2.
        unsafe {
            let half = _mm256_set1_epi8(15);
            let low = Pair(_mm256_and_si256(a, half), _mm256_and_si256(b, half));
            let (a, b) = (_mm256_srli_epi16::<4>(a), _mm256_srli_epi16::<4>(b));
            [low, Pair(_mm256_and_si256(a, half), _mm256_and_si256(b, half))]
        }
    }

    #[inline(always)]
    fn with_high_bits(self, codes: Pair, bits: Pair, at: u32, mask: u8) -> Pair {
        // SAFETY: `self` proves AVX2. Both counts are constants where this is inlined, and one of them is zero.
        unsafe {
            let mask = _mm256_set1_epi8((mask << 4) as i8);
            let (left, right) = shifts(at);
            let a = _mm256_srl_epi16(_mm256_sll_epi16(bits.0, left), right);
            let b = _mm256_srl_epi16(_mm256_sll_epi16(bits.1, left), right);
            let (a, b) = (_mm256_and_si256(a, mask), _mm256_and_si256(b, mask));
            Pair(_mm256_or_si256(codes.0, a), _mm256_or_si256(codes.1, b))
        }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_add_epi32(a.0, b.0), _mm256_add_epi32(a.1, b.1)) }
    }

    /// Neighbours of 16 bits added.
    #[inline(always)]
    fn neighbours(self, narrow: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let one = _mm256_set1_epi16(1);
            Pair(_mm256_madd_epi16(narrow.0, one), _mm256_madd_epi16(narrow.1, one))
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
    fn splat_integer(self, integer: i32) -> Single {
        // SAFETY: `self` proves AVX-512.
        Single(unsafe { _mm512_set1_epi32(integer) })
    }

    #[inline(always)]
    fn load_bytes<T>(self, word: &Word<T>) -> Single {
        const { assert!(size_of::<T>() == 1) }
        // SAFETY: `self` proves AVX-512, and a word has 64 bytes to be read.
        Single(unsafe { _mm512_loadu_si512(word.as_ptr().cast()) })
    }

    #[inline(always)]
    fn unpack(self, line: &Word<u8>) -> [Single; 2] {
        let Single(bytes) = self.load_bytes(line);
        // SAFETY: `self` proves AVX-512.
        unsafe {
            let half = _mm512_set1_epi8(15);
            let high = _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), half);
            [Single(_mm512_and_si512(bytes, half)), Single(high)]
        }
    }

    #[inline(always)]
    fn with_high_bits(self, codes: Single, bits: Single, at: u32, mask: u8) -> Single {
        // SAFETY: `self` proves AVX-512 BW. Both counts are constants where this is inlined, and one of them is zero.
        unsafe {
            let (left, right) = shifts(at);
            let bits = _mm512_srl_epi16(_mm512_sll_epi16(bits.0, left), right);
            Single(_mm512_or_si512(codes.0, _mm512_and_si512(bits, _mm512_set1_epi8((mask << 4) as i8))))
        }
    }

    #[inline(always)]
    fn add(self, a: Single, b: Single) -> Single {
        // SAFETY: `self` proves AVX-512.
        Single(unsafe { _mm512_add_epi32(a.0, b.0) })
    }

    /// Neighbours of 16 bits added.
    #[inline(always)]
    fn neighbours(self, narrow: Single) -> Single {
        // SAFETY: `self` proves AVX-512 BW.
        Single(unsafe { _mm512_madd_epi16(narrow.0, _mm512_set1_epi16(1)) })
    }

    #[inline(always)]
    fn floats(self, sums: Single) -> <Self as Simd>::V {
        // SAFETY: `self` proves AVX-512.
        unsafe { self.whole(_mm512_cvtepi32_ps(sums.0)) }
    }
}

/// How far to the left, and then to the right, bit `at` of a byte goes to become bit 4.
///
/// # Safety
///
/// This machine has SSE2, as all x86-64 have.
#[inline(always)]
unsafe fn shifts(at: u32) -> (__m128i, __m128i) {
    let (left, right) = (4_u32.saturating_sub(at), at.saturating_sub(4));
    // SAFETY: the caller promises SSE2.
    unsafe { (_mm_cvtsi32_si128(left as i32), _mm_cvtsi32_si128(right as i32)) }
}

/// What the four have in common: the registers, and how they are filled.
macro_rules! registers {
    ($simd:ident, $vector:ident, $tile:literal) => {
        type Simd = $simd;
        type Codes = $vector;

        const LARGEST_TILE: usize = $tile;

        #[inline(always)]
        fn simd(self) -> $simd {
            self.0
        }

        #[inline(always)]
        fn load(self, word: &Word<u8>) -> $vector {
            self.0.load_bytes(word)
        }

        #[inline(always)]
        fn unpack(self, line: &Word<u8>) -> [$vector; 2] {
            self.0.unpack(line)
        }

        #[inline(always)]
        fn with_high_bits(self, codes: $vector, bits: $vector, at: u32, mask: u8) -> $vector {
            self.0.with_high_bits(codes, bits, at, mask)
        }
    };
}

/// Sums of 32 bits, to which products are added as they are.
macro_rules! sums_of_32_bits {
    ($simd:ident, $vector:ident) => {
        type Signed = $vector;
        type Sums = $vector;

        const SIGNED_OFFSET: i32 = -128;

        #[inline(always)]
        fn start(self, sum: i32) -> $vector {
            self.0.splat_integer(sum)
        }

        #[inline(always)]
        fn make_room(self, sums: $vector) -> $vector {
            sums
        }

        #[inline(always)]
        fn add_signed_products(self, sums: $vector, codes: $vector, x: [i8; 4]) -> $vector {
            self.add_products(sums, codes, x)
        }

        #[inline(always)]
        fn to_f32(self, sums: $vector) -> <$simd as Simd>::V {
            self.0.floats(sums)
        }
    };
}

/// Sums of 16 bits, which are added to ones of 32 where they are full.
macro_rules! widening_sums {
    ($simd:ident, $vector:ident) => {
        type Sums = Widening<$vector>;

        const SIGNED_OFFSET: i32 = 0;

        #[inline(always)]
        fn start(self, sum: i32) -> Self::Sums {
            Widening { narrow: self.0.splat_integer(0), wide: self.0.splat_integer(sum) }
        }

        #[inline(always)]
        fn make_room(self, sums: Self::Sums) -> Self::Sums {
            let wide = self.0.add(sums.wide, self.0.neighbours(sums.narrow));
            Widening { narrow: self.0.splat_integer(0), wide }
        }

        #[inline(always)]
        fn to_f32(self, sums: Self::Sums) -> <$simd as Simd>::V {
            self.0.floats(self.0.add(sums.wide, self.0.neighbours(sums.narrow)))
        }
    };
}

impl Dot for Maddubs256 {
    registers!(Avx2, Pair, 4);
    widening_sums!(Avx2, Pair);

    type Signed = Signs<Pair, Pair>;

    #[inline(always)]
    fn signed(self, word: &Word<i8>) -> Self::Signed {
        let signs = self.0.load_bytes(word);
        // SAFETY: `self` proves AVX2.
        let sizes = unsafe { Pair(_mm256_abs_epi8(signs.0), _mm256_abs_epi8(signs.1)) };
        Signs { sizes, signs }
    }

    #[inline(always)]
    fn add_products(self, sums: Self::Sums, codes: Pair, x: [i8; 4]) -> Self::Sums {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let x = _mm256_set1_epi32(bytemuck::cast(x));
            let (a, b) = (_mm256_maddubs_epi16(codes.0, x), _mm256_maddubs_epi16(codes.1, x));
            let narrow = Pair(_mm256_add_epi16(sums.narrow.0, a), _mm256_add_epi16(sums.narrow.1, b));
            Widening { narrow, ..sums }
        }
    }

    #[inline(always)]
    fn add_signed_products(self, sums: Self::Sums, codes: Self::Signed, x: [i8; 4]) -> Self::Sums {
        let Signs { sizes, signs } = codes;
        // SAFETY: `self` proves AVX2.
        let products = unsafe {
            let x = _mm256_set1_epi32(bytemuck::cast(x));
            let a = _mm256_maddubs_epi16(sizes.0, _mm256_sign_epi8(x, signs.0));
            Pair(a, _mm256_maddubs_epi16(sizes.1, _mm256_sign_epi8(x, signs.1)))
        };
        Widening { wide: self.0.add(sums.wide, self.0.neighbours(products)), ..sums }
    }
}

impl Dot for Vnni256 {
    registers!(Avx2, Pair, 4);
    sums_of_32_bits!(Avx2, Pair);

    #[inline(always)]
    fn signed(self, word: &Word<i8>) -> Pair {
        let Pair(a, b) = self.0.load_bytes(word);
        // SAFETY: `self` proves AVX2.
        unsafe {
            let lowest = _mm256_set1_epi8(-128);
            Pair(_mm256_xor_si256(a, lowest), _mm256_xor_si256(b, lowest))
        }
    }

    #[inline(always)]
    fn add_products(self, sums: Pair, codes: Pair, x: [i8; 4]) -> Pair {
        // SAFETY: `self` proves AVX-VNNI.
        unsafe {
            let x = _mm256_set1_epi32(bytemuck::cast(x));
            Pair(_mm256_dpbusd_avx_epi32(sums.0, codes.0, x), _mm256_dpbusd_avx_epi32(sums.1, codes.1, x))
        }
    }
}

impl Dot for Maddubs512 {
    registers!(Avx512, Single, 16);
    widening_sums!(Avx512, Single);

    type Signed = Signs<Single, __mmask64>;

    #[inline(always)]
    fn signed(self, word: &Word<i8>) -> Self::Signed {
        let Single(codes) = self.0.load_bytes(word);
        // SAFETY: `self` proves AVX-512 BW.
        unsafe { Signs { sizes: Single(_mm512_abs_epi8(codes)), signs: _mm512_movepi8_mask(codes) } }
    }

    #[inline(always)]
    fn add_products(self, sums: Self::Sums, codes: Single, x: [i8; 4]) -> Self::Sums {
        // SAFETY: `self` proves AVX-512 BW.
        unsafe {
            let x = _mm512_set1_epi32(bytemuck::cast(x));
            let narrow = Single(_mm512_add_epi16(sums.narrow.0, _mm512_maddubs_epi16(codes.0, x)));
            Widening { narrow, ..sums }
        }
    }

    #[inline(always)]
    fn add_signed_products(self, sums: Self::Sums, codes: Self::Signed, x: [i8; 4]) -> Self::Sums {
        // SAFETY: `self` proves AVX-512 BW.
        let products = unsafe {
            let x = _mm512_set1_epi32(bytemuck::cast(x));
            let x = _mm512_mask_sub_epi8(x, codes.signs, _mm512_setzero_si512(), x);
            Single(_mm512_maddubs_epi16(codes.sizes.0, x))
        };
        Widening { wide: self.0.add(sums.wide, self.0.neighbours(products)), ..sums }
    }
}

impl Dot for Vnni512 {
    registers!(Avx512, Single, 16);
    sums_of_32_bits!(Avx512, Single);

    #[inline(always)]
    fn signed(self, word: &Word<i8>) -> Single {
        let Single(codes) = self.0.load_bytes(word);
        // SAFETY: `self` proves AVX-512.
        Single(unsafe { _mm512_xor_si512(codes, _mm512_set1_epi8(-128)) })
    }

    #[inline(always)]
    fn add_products(self, sums: Single, codes: Single, x: [i8; 4]) -> Single {
        // SAFETY: `self` proves AVX-512 VNNI.
        Single(unsafe { _mm512_dpbusd_epi32(sums.0, codes.0, _mm512_set1_epi32(bytemuck::cast(x))) })
    }
}
