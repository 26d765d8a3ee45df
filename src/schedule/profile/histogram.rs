//! How long the runs of a system took, counted in buckets whose width grows with the time: percentiles of any number of
//! runs in a fixed amount of memory.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bits of a time below its first one that its bucket tells apart: a bucket is at most a sixteenth of its time wide, and
/// its middle at most a thirty-second away.
const BITS: u32 = 4;
const IN_AN_OCTAVE: u64 = 1 << BITS;
/// Up to 18 minutes; what takes longer is in the last bucket.
const OCTAVES: u64 = 40 - BITS as u64;
const BUCKETS: usize = ((OCTAVES + 1) * IN_AN_OCTAVE) as usize;

/// Counts of times, in nanoseconds.
#[derive(Debug)]
pub(super) struct Histogram {
    buckets: Box<[AtomicU64; BUCKETS]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([const { AtomicU64::new(0) }; BUCKETS]) }
    }
}

impl Histogram {
    pub(super) fn add(&self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)].fetch_add(1, Relaxed);
    }

    pub(super) fn clear(&self) {
        self.buckets.iter().for_each(|count| count.store(0, Relaxed));
    }

    /// The counts, to which others may be added.
    pub(super) fn read(&self) -> Counts {
        Counts(self.buckets.iter().map(|count| count.load(Relaxed)).collect())
    }
}

/// What was in some histograms.
pub(super) struct Counts(Vec<u64>);

impl Counts {
    pub(super) fn none() -> Self {
        Self(vec![0; BUCKETS])
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(sum, count)| *sum += count);
    }

    /// The time that `share` of the runs do not exceed, as its bucket has it; nothing, where there were none.
    pub(super) fn percentile(&self, share: f64) -> Duration {
        let runs: u64 = self.0.iter().sum();
        let rank = ((runs as f64 * share).ceil() as u64).clamp(1, runs.max(1));
        let mut below = 0;
        let found = self.0.iter().position(|count| {
            below += count;
            below >= rank
        });
        found.map_or(Duration::ZERO, |index| Duration::from_nanos(middle(index as u64)))
    }
}

/// Below two octaves' worth of buckets, each nanosecond has its own.
fn bucket(nanoseconds: u64) -> usize {
    let octave = (nanoseconds | IN_AN_OCTAVE).ilog2() - BITS;
    let bucket = (u64::from(octave) << BITS) + (nanoseconds >> octave);
    (bucket as usize).min(BUCKETS - 1)
}

fn middle(bucket: u64) -> u64 {
    let octave = (bucket >> BITS).saturating_sub(1);
    let first = (bucket - (octave << BITS)) << octave;
    first + ((1 << octave) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_told_to_a_thirty_second() {
        for exponent in 0..40 {
            for time in [1 << exponent, (1 << exponent) + 1, (3 << exponent) / 2, (2 << exponent) - 1_u64] {
                let told = middle(bucket(time) as u64);
                assert!(told.abs_diff(time) <= time / 32, "{time} is told as {told}");
            }
        }
    }

    #[test]
    fn buckets_follow_one_another_and_the_last_takes_the_rest() {
        let middles: Vec<u64> = (0..BUCKETS as u64).map(middle).collect();
        assert!(middles.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(middles.iter().enumerate().all(|(index, &time)| bucket(time) == index));
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn percentiles_are_near_the_truth_and_in_order() {
        // From 1 µs to 100 ms, each a little longer than the one before: far more short ones than long ones.
        let times: Vec<u64> = (0..5000).map(|index| (1e3 * 1e5_f64.powf(f64::from(index) / 4999.0)) as u64).collect();
        let histogram = Histogram::default();
        times.iter().for_each(|&time| histogram.add(time));
        let counts = histogram.read();
        for (share, index) in [(0.5, 2499), (0.9, 4499), (0.99, 4949), (1.0, 4999)] {
            let (told, truth) = (counts.percentile(share).as_nanos() as f64, times[index] as f64);
            assert!((told / truth - 1.0).abs() < 0.04, "{share}: {told} of {truth}");
        }
        assert!(counts.percentile(0.5) <= counts.percentile(0.99));
    }

    #[test]
    fn of_no_runs_there_is_no_percentile_and_of_one_it_is_that_one() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().percentile(0.99), Duration::ZERO);
        histogram.add(7);
        assert_eq!(histogram.read().percentile(0.0), Duration::from_nanos(7));
        assert_eq!(histogram.read().percentile(0.99), Duration::from_nanos(7));
        histogram.clear();
        assert_eq!(histogram.read().percentile(0.5), Duration::ZERO);
    }
}
