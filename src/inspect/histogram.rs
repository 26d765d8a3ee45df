//! How often which values occur, counted in one pass that does not know how large they will be.

use half::bf16;
use rayon::prelude::*;

use super::input::RUN;
use crate::checkpoint::ElementType;

/// Counts by the upper half of a value in single precision, the value as a BF16 that is cut off: 128 steps between one
/// power of two and the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram(Vec<u64>);

const PATTERNS: usize = 1 << 16;

impl Default for Histogram {
    fn default() -> Self {
        Self(vec![0; PATTERNS])
    }
}

impl Histogram {
    /// Of the `count` elements in `bytes`, on all threads.
    pub(super) fn of(element: ElementType, bytes: &[u8], count: usize) -> Self {
        let runs = count.div_ceil(RUN);
        // Few large shares: each has a table of its own, and tables take time to add up.
        let share = runs.div_ceil(rayon::current_num_threads()).max(1);
        let tables = (0..runs).into_par_iter().with_min_len(share).fold(
            || (Self::default(), vec![0.0; RUN]),
            |(mut table, mut values), run| {
                let values_in_run = &mut values[..RUN.min(count - run * RUN)];
                element.widen(bytes, run * RUN, values_in_run);
                for value in values_in_run {
                    table.0[(value.to_bits() >> 16) as usize] += 1;
                }
                (table, values)
            },
        );
        tables.map(|(table, _)| table).reduce(Self::default, |mut sum, table| {
            sum.add(&table);
            sum
        })
    }

    /// Adds all counts of another.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(count, more)| *count += more);
    }

    /// The largest size of a value.
    #[must_use]
    pub fn abs_max(&self) -> f32 {
        self.counts().map(|(value, _)| value.abs()).fold(0.0, f32::max)
    }

    /// Counts in `bins` of one width from `-limit` to `limit`, which is above 0; what lies outside counts for the outermost.
    #[must_use]
    pub fn bins(&self, limit: f32, bins: usize) -> Vec<u64> {
        let mut counts = vec![0; bins];
        for (value, count) in self.counts() {
            let position = (f64::from(value) / f64::from(limit) + 1.0) / 2.0 * bins as f64;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 0 is bin 0")]
            let bin = (position as usize).min(bins.saturating_sub(1));
            if let Some(sum) = counts.get_mut(bin) {
                *sum += count;
            }
        }
        counts
    }

    /// Every value that occurs, with its count.
    fn counts(&self) -> impl Iterator<Item = (f32, u64)> {
        let counts = (0..=u16::MAX).zip(&self.0).filter(|&(_, &count)| count > 0);
        counts.map(|(bits, &count)| (bf16::from_bits(bits).to_f32(), count))
    }
}
