//! Activations rounded to BF16.

use half::bf16;

use super::super::isa::Isa;
use super::super::simd::per_isa;
use super::super::split;

/// The numbers of a vector.
pub(super) const IN_LINE: usize = 32;

/// One vector in memory, aligned so that no load of it crosses a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct BrainLine(pub(super) [bf16; IN_LINE]);

/// Rows of activations in BF16, each from a line of its own on, with zeros after its end.
#[derive(Default)]
pub(in super::super) struct Brains {
    lines: Vec<BrainLine>,
    rows: usize,
    cols: usize,
}

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "only tests read them there"))]
impl Brains {
    /// Rounds the rows of `x`, `[rows, cols]`.
    ///
    /// # Panics
    /// If `x` is not whole rows.
    pub(in super::super) fn round(&mut self, isa: Isa, x: &[f32], cols: usize) {
        assert!(cols > 0 && x.len().is_multiple_of(cols), "{} values in rows of {cols}", x.len());
        (self.rows, self.cols) = (x.len() / cols, cols);
        let pitch = self.pitch();
        self.lines.resize(self.rows * pitch, BrainLine([bf16::ZERO; IN_LINE]));
        split::costly_rows(&mut self.lines, pitch, IN_LINE, |first, lines| {
            round_rows(isa, &x[first * cols..][..lines.len() / pitch * cols], cols, lines);
        });
    }

    /// How many rows there are.
    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// How many columns a row has.
    #[inline(always)]
    pub(super) fn cols(&self) -> usize {
        self.cols
    }

    /// The lines of a row.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &[BrainLine] {
        &self.lines[row * self.pitch()..][..self.pitch()]
    }

    #[inline(always)]
    fn pitch(&self) -> usize {
        self.cols.div_ceil(IN_LINE)
    }
}

per_isa! {
    fn round_rows(_simd, x: &[f32], cols: usize, lines: &mut [BrainLine]) {
        for (x, lines) in x.chunks_exact(cols).zip(lines.chunks_exact_mut(cols.div_ceil(IN_LINE))) {
            let (whole, rest) = x.as_chunks::<IN_LINE>();
            for (x, line) in whole.iter().zip(&mut *lines) {
                line.0 = x.map(round);
            }
            if let (false, Some(last)) = (rest.is_empty(), lines.last_mut()) {
                last.0 = [bf16::ZERO; IN_LINE];
                for (to, &x) in last.0.iter_mut().zip(rest) {
                    *to = round(x);
                }
            }
        }
    }
}

/// To the nearest, ties to even, as [`bf16::from_f32`] does, but without branches, so that it is vectorised.
#[inline(always)]
fn round(x: f32) -> bf16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // What is no number must not become infinite.
    let quiet = bits >> 16 | 0x40;
    bf16::from_bits(if x.is_nan() { quiet } else { rounded } as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_number_becomes_the_nearest(bits: u32) {
            let x = f32::from_bits(bits);
            prop_assert_eq!(round(x).to_bits(), bf16::from_f32(x).to_bits());
        }
    }

    #[test]
    fn rows_end_in_zeros_whatever_was_there_before() {
        let mut brains = Brains::default();
        for isa in Isa::available() {
            brains.round(isa, &[9.0; 160], 80);
            brains.round(isa, &[1.5; 66], 33);
            assert_eq!((brains.rows(), brains.cols()), (2, 33));
            for row in 0..2 {
                let values: Vec<f32> = brains.row(row).iter().flat_map(|line| line.0).map(bf16::to_f32).collect();
                assert!(values[..33].iter().all(|&value| value == 1.5) && values[33..] == [0.0; 31], "{isa}");
            }
        }
    }
}
