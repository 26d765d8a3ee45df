//! The short convolution over time of every channel by itself, with the state that carries it from call to call
//! (`causal_conv1d_update` in transformers' models/qwen3_5).
//!
//! 1. The inputs of a call follow the last `kernel - 1` inputs before it, zeros at the start of a sequence.
//! 2. `out[t] = silu(sum over j of weights[j] * input[t - (kernel - 1) + j])`, oldest input first.
//! 3. The inputs since the last multiple of 16 positions are kept, and the `kernel - 1` before them: rows can be taken
//!    back as in the delta rule.

use std::ops::Range;

use super::delta_rule::DELTA_CHUNK;
use super::exp::silu;
use super::isa::Isa;
use super::simd::{LANES, Simd, per_isa};
use super::split;
use crate::tally;

/// How much longer a channel takes than an element of an elementwise kernel: with 4 taps, 7 numbers are read for it,
/// most of them from memory. Done by one thread, the 6144 channels of the 0.8B shape take 19 µs at each layer of a token,
/// in which the other threads fall asleep: to wake them took another 25 to 45 µs.
const COST: usize = 6;

/// Turns a checkpoint's weights `[channels, kernel]` into the `[kernel, channels]` of [`causal_conv`], where
/// neighbouring channels are vector lanes.
///
/// # Panics
///
/// Where the weights are not whole channels.
#[must_use]
pub fn transpose_conv_weights(weights: &[f32], kernel: usize) -> Vec<f32> {
    assert!(kernel > 0 && weights.len().is_multiple_of(kernel), "channels of {kernel} weights");
    (0..kernel).flat_map(|j| weights.iter().skip(j).step_by(kernel).copied()).collect()
}

/// The rows of inputs that a convolution of `kernel` taps remembers.
#[must_use]
pub fn conv_rows(kernel: usize) -> usize {
    kernel - 1 + DELTA_CHUNK - 1
}

/// Convolves `x` `[rows, channels]` with `weights` `[kernel, channels]` into `out` `[rows, channels]` and applies
/// SiLU. `inputs` has [`conv_rows`] rows, zeros at the start of a sequence: the `kernel - 1` inputs before the last
/// multiple of 16 positions, oldest first, and the `since` inputs from there on. Those of `x` are added to them; the
/// caller counts them in `since`.
///
/// # Panics
///
/// Where the shapes do not fit each other.
pub fn causal_conv(
    isa: Isa,
    channels: usize,
    weights: &[f32],
    since: usize,
    inputs: &mut [f32],
    x: &[f32],
    out: &mut [f32],
) {
    assert!(channels > 0 && !weights.is_empty() && weights.len().is_multiple_of(channels));
    assert!(x.len().is_multiple_of(channels) && out.len() == x.len(), "rows of {channels}");
    let kernel = weights.len() / channels;
    assert_eq!(inputs.len(), conv_rows(kernel) * channels, "the inputs before");
    assert!(since < DELTA_CHUNK, "{since} inputs since the last multiple");
    let before = since * channels..(since + kernel - 1) * channels;
    tally::add(
        (2 * x.len() + out.len() + weights.len() + before.len()) * size_of::<f32>(),
        (2 * kernel + 20) * out.len(),
    );
    let window = Inputs { before: &inputs[before], x, channels };
    if x.len() == channels {
        split::costly_rows(out, 1, COST, |first, out| conv_row(isa, weights, &window, 0, first, out));
    } else {
        split::costly_rows(out, channels, COST, |first, out| {
            for (row, out) in out.chunks_exact_mut(channels).enumerate() {
                conv_row(isa, weights, &window, first + row, 0, out);
            }
        });
    }
    remember(channels, kernel, since, inputs, x);
}

/// The inputs before the call, then its own.
struct Inputs<'a> {
    before: &'a [f32],
    x: &'a [f32],
    channels: usize,
}

impl Inputs<'_> {
    /// Some channels of row `row`, counted from the first before the call.
    #[inline(always)]
    fn row(&self, row: usize, channels: Range<usize>) -> &[f32] {
        let start = row * self.channels;
        match start.checked_sub(self.before.len()) {
            Some(start) => &self.x[start + channels.start..start + channels.end],
            None => &self.before[start + channels.start..start + channels.end],
        }
    }
}

per_isa! {
    /// The channels from `first` of row `row`.
    fn conv_row(simd, weights: &[f32], inputs: &Inputs<'_>, row: usize, first: usize, out: &mut [f32]) {
        let mut start = first;
        for out in out.chunks_mut(4 * LANES) {
            let end = start + out.len();
            if let Ok(out) = out.try_into() {
                let out: &mut [f32; 4 * LANES] = out;
                sum_vectors(simd, weights, inputs, row, start, out.as_chunks_mut().0);
            } else {
                sum_channels(weights, inputs, row, start..end, out);
            }
            start = end;
        }
        for x in out {
            *x = silu(*x);
        }
    }
}

/// The sums of row `row` for the channels from `start`, as many as stay in registers.
#[inline(always)]
fn sum_vectors<S: Simd>(
    simd: S,
    weights: &[f32],
    inputs: &Inputs<'_>,
    row: usize,
    start: usize,
    out: &mut [[f32; LANES]],
) {
    let channels = start..start + 4 * LANES;
    let mut sums = [simd.splat(0.0); 4];
    for (j, weights) in weights.chunks_exact(inputs.channels).enumerate() {
        let x = inputs.row(row + j, channels.clone()).as_chunks().0;
        let weights = weights[channels.clone()].as_chunks().0;
        for (sum, (x, weights)) in sums.iter_mut().zip(x.iter().zip(weights)) {
            *sum = simd.add(*sum, simd.mul(simd.load(x), simd.load(weights)));
        }
    }
    for (sum, out) in sums.into_iter().zip(out) {
        simd.store(sum, out);
    }
}

/// As [`sum_vectors`] for fewer channels.
#[inline(always)]
fn sum_channels(weights: &[f32], inputs: &Inputs<'_>, row: usize, channels: Range<usize>, out: &mut [f32]) {
    out.fill(0.0);
    for (j, weights) in weights.chunks_exact(inputs.channels).enumerate() {
        let x = inputs.row(row + j, channels.clone());
        for ((out, x), weight) in out.iter_mut().zip(x).zip(&weights[channels.clone()]) {
            *out += x * weight;
        }
    }
}

/// Appends `x` to the inputs, of which those before the last multiple's window then go.
fn remember(channels: usize, kernel: usize, since: usize, inputs: &mut [f32], x: &[f32]) {
    let (held, end) = (kernel - 1 + since, since + x.len() / channels);
    let gone = end - end % DELTA_CHUNK;
    let stay = held.saturating_sub(gone);
    if gone > 0 {
        inputs.copy_within((held - stay) * channels..held * channels, 0);
    }
    let new = kernel - 1 + end - gone - stay;
    inputs[stay * channels..][..new * channels].copy_from_slice(&x[x.len() - new * channels..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cpu::kernels::testing::{assert_close, assert_same_bits, noise, on_threads};

    fn naive(channels: usize, kernel: usize, weights: &[f32], before: &[f32], x: &[f32]) -> Vec<f64> {
        let all: Vec<f64> = before.iter().chain(x).map(|&x| x.into()).collect();
        (0..x.len())
            .map(|i| {
                let (row, channel) = (i / channels, i % channels);
                let sum: f64 = (0..kernel)
                    .map(|j| all[(row + j) * channels + channel] * f64::from(weights[channel * kernel + j]))
                    .sum();
                sum / (1.0 + (-sum).exp())
            })
            .collect()
    }

    proptest! {
        #[test]
        fn agrees_with_f64_on_every_isa_and_split(
            rows in 0..50_usize, channels in 1..200_usize, kernel in 1..22_usize, split in 1..20_usize, seed: u64
        ) {
            let stored = noise(seed, channels * kernel);
            let weights = transpose_conv_weights(&stored, kernel);
            let before = noise(seed ^ 1, (kernel - 1) * channels);
            let x = noise(seed ^ 2, rows * channels);
            let all = [before.as_slice(), &x].concat();
            let exact = naive(channels, kernel, &stored, &before, &x);
            let mut scalar = Vec::new();
            for isa in Isa::available() {
                let (mut inputs, mut out) = (vec![0.0; conv_rows(kernel) * channels], vec![0.0; x.len()]);
                inputs[..before.len()].copy_from_slice(&before);
                for (i, (x, out)) in x.chunks(split * channels).zip(out.chunks_mut(split * channels)).enumerate() {
                    causal_conv(isa, channels, &weights, i * split % DELTA_CHUNK, &mut inputs, x, out);
                }
                assert_close(&out, &exact, 1e-6);
                if isa == Isa::SCALAR {
                    scalar = out.clone();
                }
                assert_same_bits(&out, &scalar);
                let multiple = rows - rows % DELTA_CHUNK;
                assert_same_bits(&inputs[..(kernel - 1 + rows - multiple) * channels], &all[multiple * channels..]);
            }
        }
    }

    #[test]
    fn rows_can_be_taken_back_as_far_as_the_last_multiple() {
        let (channels, kernel) = (5, 4);
        let weights = noise(1, channels * kernel);
        let run = |inputs: &mut [f32], since: usize, x: &[f32]| {
            let mut out = vec![0.0; x.len()];
            causal_conv(Isa::widest(), channels, &weights, since, inputs, x, &mut out);
            out
        };
        let (x, other) = (noise(2, 30 * channels), noise(3, 20 * channels));
        for kept in 16..30 {
            let mut inputs = vec![0.0; conv_rows(kernel) * channels];
            run(&mut inputs, 0, &x);
            let taken_back = run(&mut inputs, kept % 16, &other);
            let mut inputs = vec![0.0; conv_rows(kernel) * channels];
            run(&mut inputs, 0, &x[..kept * channels]);
            assert_same_bits(&taken_back, &run(&mut inputs, kept % 16, &other));
        }
    }

    #[test]
    fn threads_change_nothing() {
        let (rows, channels, kernel) = (40, 6144, 4);
        let (weights, x) = (noise(1, channels * kernel), noise(2, rows * channels));
        let run = |threads, part: usize| {
            let (mut inputs, mut out) = (vec![0.0; conv_rows(kernel) * channels], vec![0.0; x.len()]);
            on_threads(threads, || {
                for (i, (x, out)) in x.chunks(part * channels).zip(out.chunks_mut(part * channels)).enumerate() {
                    causal_conv(Isa::widest(), channels, &weights, i * part % DELTA_CHUNK, &mut inputs, x, out);
                }
            });
            out
        };
        let whole = run(1, rows);
        assert_same_bits(&run(3, rows), &whole);
        assert_same_bits(&run(3, 1), &whole);
    }
}
