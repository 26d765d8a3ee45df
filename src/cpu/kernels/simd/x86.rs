//! The vectors of x86-64: two AVX2 registers or one of AVX-512.

use std::arch::x86_64::*;

use half::{bf16, f16};

use super::{LANES, Simd};

/// The proof that AVX2, FMA and F16C were detected.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx2(());

/// The proof that AVX-512 F and DQ were detected.
#[derive(Clone, Copy)]
pub(in super::super) struct Avx512(());

impl Avx2 {
    /// # Safety
    ///
    /// This machine has AVX2, FMA and F16C.
    #[inline(always)]
    pub(in super::super) const unsafe fn assume() -> Self {
        Self(())
    }

    /// A vector of two registers.
    #[inline(always)]
    pub(in super::super) fn halves(self, low: __m256, high: __m256) -> Pair {
        Pair(low, high)
    }
}

impl Avx512 {
    /// # Safety
    ///
    /// This machine has AVX-512 F and DQ.
    #[inline(always)]
    pub(in super::super) const unsafe fn assume() -> Self {
        Self(())
    }

    /// A vector of one register.
    #[inline(always)]
    pub(in super::super) fn whole(self, v: __m512) -> Single {
        Single(v)
    }
}

/// Two registers, lanes 0 to 7 and 8 to 15. Only made by [`Avx2`].
#[derive(Clone, Copy)]
pub(in super::super) struct Pair(__m256, __m256);

impl Simd for Avx2 {
    type V = Pair;
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Pair {
        // SAFETY: `self` proves AVX2.
        let v = unsafe { _mm256_set1_ps(x) };
        Pair(v, v)
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Pair {
        let from = from.as_ptr();
        // SAFETY: `self` proves AVX2, and the array has sixteen floats to be read.
        unsafe { Pair(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Pair {
        let from = from.as_ptr().cast::<__m128i>();
        // SAFETY: `self` proves AVX2, and the array has sixteen numbers of two bytes.
        unsafe {
            let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(from));
            let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(1)));
            Pair(_mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)), _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)))
        }
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Pair {
        let from = from.as_ptr().cast::<__m128i>();
        // SAFETY: `self` proves AVX2 and F16C, and the array has sixteen numbers of two bytes.
        unsafe { Pair(_mm256_cvtph_ps(_mm_loadu_si128(from)), _mm256_cvtph_ps(_mm_loadu_si128(from.add(1)))) }
    }

    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Pair {
        // SAFETY: `self` proves AVX2, and the array has sixteen bytes to be read.
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            let (low, high) = (_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)));
            Pair(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
        }
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> Pair {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            let (low, high) = (_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)));
            Pair(_mm256_cvtepi32_ps(low), _mm256_cvtepi32_ps(high))
        }
    }

    #[inline(always)]
    fn store(self, v: Pair, to: &mut [f32; LANES]) {
        let to = to.as_mut_ptr();
        // SAFETY: `self` proves AVX2, and the array has room for sixteen floats.
        unsafe {
            _mm256_storeu_ps(to, v.0);
            _mm256_storeu_ps(to.add(8), v.1);
        }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: `self` proves FMA.
        unsafe { Pair(_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) }
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: `self` proves AVX2.
        unsafe { Pair(_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) }
    }

    #[inline(always)]
    fn prefetch<T>(self, from: *const T) {
        // SAFETY: prefetching reads nothing that the program could notice, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    #[inline(always)]
    fn sums(self, v: [Pair; LANES]) -> Pair {
        let [low, high] = v.as_chunks::<8>().0 else { unreachable!("sixteen vectors") };
        Pair(self.eight_sums(low), self.eight_sums(high))
    }
}

impl Avx2 {
    /// Lane `i` becomes the sum of vector `i`: each addition folds halves of several vectors, so that only
    /// `8 + 4 + 2 + 1` are needed.
    #[inline(always)]
    fn eight_sums(self, v: &[Pair; 8]) -> __m256 {
        // SAFETY: `self` proves AVX2.
        unsafe {
            let mut quarters = [_mm256_setzero_ps(); 4];
            for i in 0..4 {
                let (a, b) = (_mm256_add_ps(v[i].0, v[i].1), _mm256_add_ps(v[i + 4].0, v[i + 4].1));
                // The four partial sums of vector i below those of vector i + 4.
                let low = _mm256_permute2f128_ps::<0x20>(a, b);
                quarters[i] = _mm256_add_ps(low, _mm256_permute2f128_ps::<0x31>(a, b));
            }
            let mut pairs = [_mm256_setzero_ps(); 2];
            for i in 0..2 {
                let a = _mm256_castps_pd(quarters[2 * i]);
                let b = _mm256_castps_pd(quarters[2 * i + 1]);
                let low = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
                pairs[i] = _mm256_add_ps(low, _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
            }
            let even = _mm256_shuffle_ps::<0x88>(pairs[0], pairs[1]);
            _mm256_add_ps(even, _mm256_shuffle_ps::<0xdd>(pairs[0], pairs[1]))
        }
    }
}

/// One register. Only made by [`Avx512`].
#[derive(Clone, Copy)]
pub(in super::super) struct Single(__m512);

impl Single {
    /// What [`Avx512::whole`] made it of.
    #[inline(always)]
    pub(in super::super) fn register(self) -> __m512 {
        self.0
    }
}

impl Simd for Avx512 {
    type V = Single;
    const WIDE: bool = true;

    #[inline(always)]
    fn splat(self, x: f32) -> Single {
        // SAFETY: `self` proves AVX-512.
        Single(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Single {
        // SAFETY: `self` proves AVX-512, and the array has sixteen floats to be read.
        Single(unsafe { _mm512_loadu_ps(from.as_ptr()) })
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Single {
        // SAFETY: `self` proves AVX-512, and the array has sixteen numbers of two bytes.
        unsafe {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.as_ptr().cast()));
            Single(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide)))
        }
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Single {
        // SAFETY: `self` proves AVX-512, and the array has sixteen numbers of two bytes.
        unsafe { Single(_mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast()))) }
    }

    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Single {
        // SAFETY: `self` proves AVX-512, and the array has sixteen bytes to be read.
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            Single(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes)))
        }
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> Single {
        // SAFETY: as above.
        unsafe {
            let bytes = _mm_loadu_si128(from.as_ptr().cast());
            Single(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes)))
        }
    }

    #[inline(always)]
    fn store(self, v: Single, to: &mut [f32; LANES]) {
        // SAFETY: `self` proves AVX-512, and the array has room for sixteen floats.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), v.0) }
    }

    #[inline(always)]
    fn add(self, a: Single, b: Single) -> Single {
        // SAFETY: `self` proves AVX-512.
        Single(unsafe { _mm512_add_ps(a.0, b.0) })
    }

    #[inline(always)]
    fn mul(self, a: Single, b: Single) -> Single {
        // SAFETY: `self` proves AVX-512.
        Single(unsafe { _mm512_mul_ps(a.0, b.0) })
    }

    #[inline(always)]
    fn fma(self, a: Single, b: Single, c: Single) -> Single {
        // SAFETY: `self` proves AVX-512.
        Single(unsafe { _mm512_fmadd_ps(a.0, b.0, c.0) })
    }

    #[inline(always)]
    fn max(self, a: Single, b: Single) -> Single {
        // SAFETY: `self` proves AVX-512.
        Single(unsafe { _mm512_max_ps(a.0, b.0) })
    }

    #[inline(always)]
    fn sum(self, v: Single) -> f32 {
        // SAFETY: `self` proves AVX-512. The reduction folds halves, as the trait asks: the tests compare.
        unsafe { _mm512_reduce_add_ps(v.0) }
    }

    #[inline(always)]
    fn largest(self, v: Single) -> f32 {
        // SAFETY: `self` proves AVX-512.
        unsafe { _mm512_reduce_max_ps(v.0) }
    }

    #[inline(always)]
    fn prefetch<T>(self, from: *const T) {
        // SAFETY: prefetching reads nothing that the program could notice, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    /// Each addition folds halves of several vectors, so that only `8 + 4 + 2 + 1` are needed.
    #[inline(always)]
    fn sums(self, v: [Single; LANES]) -> Single {
        // SAFETY: `self` proves AVX-512 F and DQ.
        unsafe {
            let mut quarters = [_mm512_setzero_ps(); 4];
            for i in 0..4 {
                // Four partial sums of each of vectors i, i + 4, i + 8 and i + 12.
                let low = fold_halves(v[i].0, v[i + 4].0);
                let high = fold_halves(v[i + 8].0, v[i + 12].0);
                let even = _mm512_shuffle_f32x4::<0x88>(low, high);
                quarters[i] = _mm512_add_ps(even, _mm512_shuffle_f32x4::<0xdd>(low, high));
            }
            let mut pairs = [_mm512_setzero_ps(); 2];
            for i in 0..2 {
                let a = _mm512_castps_pd(quarters[2 * i]);
                let b = _mm512_castps_pd(quarters[2 * i + 1]);
                let low = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                pairs[i] = _mm512_add_ps(low, _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
            }
            let even = _mm512_shuffle_ps::<0x88>(pairs[0], pairs[1]);
            let odd = _mm512_shuffle_ps::<0xdd>(pairs[0], pairs[1]);
            Single(_mm512_add_ps(even, odd))
        }
    }
}

/// The eight partial sums of `a` below those of `b`.
///
/// # Safety
///
/// This machine has AVX-512 F.
#[inline(always)]
unsafe fn fold_halves(a: __m512, b: __m512) -> __m512 {
    // SAFETY: the caller promises AVX-512 F.
    unsafe {
        let low = _mm512_shuffle_f32x4::<0x44>(a, b);
        _mm512_add_ps(low, _mm512_shuffle_f32x4::<0xee>(a, b))
    }
}
