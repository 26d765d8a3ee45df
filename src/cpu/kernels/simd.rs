//! Sixteen `f32` lanes on every instruction set, with the same bits from each.
//!
//! A token ([`Portable`], [`Avx2`], [`Avx512`], `Neon`) is only made from an [`Isa`](super::Isa) of its level, and
//! vectors only from tokens: holding either proves that the instructions may run. [`per_isa!`] compiles one body for
//! every level. Bodies that only loop over elements leave the token unused and are vectorised by the compiler.
//!
//! Bodies must not hand tokens or vectors to closures: a closure is a function of its own, without the instructions,
//! unless it happens to be inlined.
//!
//! A fused multiply-add rounds once wherever it runs. [`Portable`] makes it from `f64`, slowly, but only x86 machines
//! older than AVX2 have to.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "aarch64")]
pub(super) use neon::Neon;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

use half::{bf16, f16};

/// The lanes of a vector, whatever the registers of the machine.
pub(super) const LANES: usize = 16;

/// One vector in memory, aligned so that no load of it crosses a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [f32; LANES]);

impl Line {
    pub(super) const ZERO: Self = Self([0.0; LANES]);
}

/// The numbers of aligned vectors, in order.
#[inline(always)]
pub(super) fn flat(lines: &[Line]) -> &[f32] {
    // SAFETY: `Line` is `repr(C)` around `[f32; LANES]` and its alignment equals its size, so consecutive lines are
    // consecutive floats without padding.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LANES) }
}

/// The numbers of aligned vectors, in order, to be written.
#[inline(always)]
pub(super) fn flat_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as in `flat`; the borrow stays exclusive.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LANES) }
}

/// Lane-wise arithmetic of one instruction set.
pub(super) trait Simd: Copy {
    /// Sixteen lanes.
    type V: Copy;
    /// Whether some 24 vectors stay in registers at once, or only some 6.
    const WIDE: bool;

    fn splat(self, x: f32) -> Self::V;
    fn load(self, from: &[f32; LANES]) -> Self::V;
    /// Widens sixteen numbers.
    fn load_bf16(self, from: &[bf16; LANES]) -> Self::V;
    /// Widens sixteen numbers.
    fn load_f16(self, from: &[f16; LANES]) -> Self::V;
    /// Sixteen bytes as numbers.
    fn load_u8(self, from: &[u8; LANES]) -> Self::V;
    /// Sixteen bytes with signs as numbers.
    fn load_i8(self, from: &[i8; LANES]) -> Self::V;
    fn store(self, v: Self::V, to: &mut [f32; LANES]);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of each two lanes; of numbers, not of NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;

    /// Asks for the memory at `from` to be brought near; it need not exist.
    #[inline(always)]
    fn prefetch<T>(self, _from: *const T) {}

    /// The sum of the lanes: halves are added to each other until one lane is left.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(v, &mut lanes);
        tree(&mut lanes, |a, b| a + b)
    }

    /// The largest lane.
    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(v, &mut lanes);
        tree(&mut lanes, f32::max)
    }

    /// Lane `i` becomes the [`sum`](Self::sum) of vector `i`.
    #[inline(always)]
    fn sums(self, vectors: [Self::V; LANES]) -> Self::V {
        let mut sums = [0.0; LANES];
        for (sum, v) in sums.iter_mut().zip(vectors) {
            *sum = self.sum(v);
        }
        self.load(&sums)
    }

    /// The first lanes from `from`, the others zero.
    #[inline(always)]
    fn load_part(self, from: &[f32]) -> Self::V {
        let mut lanes = [0.0; LANES];
        lanes[..from.len()].copy_from_slice(from);
        self.load(&lanes)
    }

    /// The sum of the squares: lane-wise over vectors of elements, then [`sum`](Self::sum).
    #[inline(always)]
    fn sum_of_squares(self, x: &[f32]) -> f32 {
        let (vectors, rest) = x.as_chunks::<LANES>();
        let mut sum = self.splat(0.0);
        for vector in vectors {
            let v = self.load(vector);
            sum = self.add(sum, self.mul(v, v));
        }
        if !rest.is_empty() {
            let v = self.load_part(rest);
            sum = self.add(sum, self.mul(v, v));
        }
        self.sum(sum)
    }
}

/// Folds the upper half of the lanes onto the lower half until one is left.
#[inline(always)]
pub(super) fn tree(lanes: &mut [f32; LANES], fold: impl Fn(f32, f32) -> f32) -> f32 {
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            lanes[lane] = fold(lanes[lane], lanes[lane + width]);
        }
    }
    lanes[0]
}

/// `a * b + c`, rounded once, as `mul_add` is; without the instruction, that would be a call for every lane.
///
/// In `f64` the product is exact, and the sum is rounded to odd (Boldo and Melquiond, "Emulation of FMA and correctly
/// rounded sums", 2008), so that rounding it again to `f32` is as if it were exact, too.
#[inline(always)]
fn fused(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    let from_c = sum - product;
    let error = (product - (sum - from_c)) + (c - from_c);
    // Where the sum was rounded to an even number, the odd one is the next on the other side of the exact sum. An
    // error of infinities is not a number, and neither above nor below.
    let away = u64::from((error > 0.0) & (sum > 0.0) | (error < 0.0) & (sum < 0.0));
    let back = u64::from((error > 0.0) & (sum < 0.0) | (error < 0.0) & (sum > 0.0));
    let bits = sum.to_bits();
    let even = !bits & 1;
    f64::from_bits(bits.wrapping_add(even & away).wrapping_sub(even & back)) as f32
}

/// Plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Simd for Portable {
    type V = [f32; LANES];
    const WIDE: bool = false;

    #[inline(always)]
    fn splat(self, x: f32) -> Self::V {
        [x; LANES]
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::V {
        *from
    }

    #[inline(always)]
    fn load_bf16(self, from: &[bf16; LANES]) -> Self::V {
        from.map(bf16::to_f32)
    }

    #[inline(always)]
    fn load_f16(self, from: &[f16; LANES]) -> Self::V {
        from.map(f16::to_f32)
    }

    #[inline(always)]
    fn load_u8(self, from: &[u8; LANES]) -> Self::V {
        from.map(f32::from)
    }

    #[inline(always)]
    fn load_i8(self, from: &[i8; LANES]) -> Self::V {
        from.map(f32::from)
    }

    #[inline(always)]
    fn store(self, v: Self::V, to: &mut [f32; LANES]) {
        *to = v;
    }

    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        std::array::from_fn(|i| fused(a[i], b[i], c[i]))
    }

    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
}

/// Defines a function that takes an [`Isa`](super::Isa) before its own arguments and runs a body compiled for that
/// level. The first name of the body's arguments is bound to the level's [`Simd`] token.
macro_rules! per_isa {
    (
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident($simd:ident $(, $argument:ident: $type:ty)* $(,)?) $body:block
    ) => {
        $(#[$attribute])*
        $visibility fn $name(isa: $crate::cpu::kernels::isa::Isa $(, $argument: $type)*) {
            use $crate::cpu::kernels::{isa::Level, simd};

            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<S: simd::Simd>($simd: S $(, $argument: $type)*) $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments)]
            fn avx2(token: simd::Avx2 $(, $argument: $type)*) {
                body(token $(, $argument)*);
            }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments)]
            fn avx512(token: simd::Avx512 $(, $argument: $type)*) {
                body(token $(, $argument)*);
            }

            match isa.0 {
                Level::Scalar => body(simd::Portable $(, $argument)*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this level is only made where all of these features were detected.
                Level::Avx2 | Level::AvxVnni => unsafe { avx2(simd::Avx2::assume() $(, $argument)*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: an `Isa` of this level is only made where all of these features were detected.
                Level::Avx512 | Level::Avx512Vnni | Level::Avx512Bf16 => unsafe {
                    avx512(simd::Avx512::assume() $(, $argument)*)
                },
                #[cfg(target_arch = "aarch64")]
                Level::Neon | Level::NeonDotprod => body(simd::Neon $(, $argument)*),
            }
        }
    };
}

pub(super) use per_isa;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::kernels::isa::Isa;
    use crate::cpu::kernels::testing::{assert_same_bits, noise};

    /// Any bits, or numbers of like size, whose sums cancel.
    fn number() -> impl Strategy<Value = f32> {
        let near = (0..1_u32 << 26).prop_map(|bits| f32::from_bits(0x3d00_0000 + bits));
        prop_oneof![
            any::<u32>().prop_map(f32::from_bits),
            near.clone(),
            near.prop_map(|x| -x),
            (0..64_u32).prop_map(|bits| 1.0 + bits as f32 * f32::EPSILON),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn fused_is_mul_add(a in number(), b in number(), c in number()) {
            for c in [c, -a * b, (-a * b).next_up(), a * b * f32::EPSILON / 2.0] {
                let (got, exact) = (fused(a, b, c), a.mul_add(b, c));
                assert!(got.to_bits() == exact.to_bits() || got.is_nan() && exact.is_nan(), "{a:e} {b:e} {c:e}");
            }
        }
    }

    per_isa! {
        fn reduce(simd, x: &[f32; LANES * LANES], out: &mut [f32]) {
            let mut vectors = [simd.splat(0.0); LANES];
            for (vector, x) in vectors.iter_mut().zip(x.as_chunks().0) {
                *vector = simd.load(x);
            }
            for (out, vector) in out.iter_mut().zip(vectors) {
                *out = simd.sum(vector);
            }
            out[LANES] = simd.largest(vectors[1]);
            let mut sums = [0.0; LANES];
            simd.store(simd.sums(vectors), &mut sums);
            out[LANES + 1..].copy_from_slice(&sums);
        }
    }

    #[test]
    fn lanes_are_reduced_alike() {
        let x = noise(1, LANES * LANES);
        let x = x.as_array().expect("as many as drawn");
        let mut scalar = [0.0; 2 * LANES + 1];
        reduce(Isa::SCALAR, x, &mut scalar);
        assert_same_bits(&scalar[..LANES], &scalar[LANES + 1..]);
        for isa in Isa::available() {
            let mut out = [0.0; 2 * LANES + 1];
            reduce(isa, x, &mut out);
            assert_same_bits(&out, &scalar);
        }
    }
}
