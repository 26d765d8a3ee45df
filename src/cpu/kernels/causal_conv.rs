//! The short convolution over time of every channel by itself, with the state that carries it from call to call
//! (`causal_conv1d_update` in transformers' models/qwen3_5).
//!
//! 1. The inputs of a call follow the last `kernel - 1` inputs before it, which are the state.
//! 2. `out[t] = silu(sum over j of weights[j] * input[t - (kernel - 1) + j])`, oldest input first.
//! 3. The last `kernel - 1` of all these inputs become the state.

use std::ops::Range;

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

/// Convolves `x` `[rows, channels]` with `weights` `[kernel, channels]` into `out` `[rows, channels]` and applies
/// SiLU. `state` `[kernel - 1, channels]` holds the inputs before `x`, oldest first and zeros at the start of a
/// sequence; it is left ready for the inputs after.
///
/// # Panics
///
/// Where the shapes do not fit each other.
pub fn causal_conv(isa: Isa, channels: usize, weights: &[f32], state: &mut [f32], x: &[f32], out: &mut [f32]) {
    assert!(channels > 0 && !weights.is_empty() && weights.len().is_multiple_of(channels));
    assert!(x.len().is_multiple_of(channels) && out.len() == x.len(), "rows of {channels}");
    assert_eq!(state.len() + channels, weights.len(), "one state row less than the kernel has");
    let kernel = weights.len() / channels;
    tally::add(
        (x.len() + out.len() + weights.len() + 2 * state.len()) * size_of::<f32>(),
        (2 * kernel + 20) * out.len(),
    );
    let inputs = Inputs { before: state, x, channels };
    if x.len() == channels {
        split::costly_rows(out, 1, COST, |first, out| conv_row(isa, weights, &inputs, 0, first, out));
    } else {
        split::costly_rows(out, channels, COST, |first, out| {
            for (row, out) in out.chunks_exact_mut(channels).enumerate() {
                conv_row(isa, weights, &inputs, first + row, 0, out);
            }
        });
    }
    advance(state, x);
}

/// The rows of the state, then those of the call.
struct Inputs<'a> {
    before: &'a [f32],
    x: &'a [f32],
    channels: usize,
}

impl Inputs<'_> {
    /// Some channels of row `row`, counted from the first row of the state.
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

/// Makes the last rows of `state` and then `x` the new state.
fn advance(state: &mut [f32], x: &[f32]) {
    if let Some(kept) = state.len().checked_sub(x.len()) {
        state.copy_within(x.len().., 0);
        state[kept..].copy_from_slice(x);
    } else {
        state.copy_from_slice(&x[x.len() - state.len()..]);
    }
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
            rows in 0..20_usize, channels in 1..200_usize, kernel in 1..6_usize, split in 1..8_usize, seed: u64
        ) {
            let stored = noise(seed, channels * kernel);
            let weights = transpose_conv_weights(&stored, kernel);
            let before = noise(seed ^ 1, (kernel - 1) * channels);
            let x = noise(seed ^ 2, rows * channels);
            let (mut after, mut scalar) = (before.clone(), vec![0.0; x.len()]);
            causal_conv(Isa::SCALAR, channels, &weights, &mut after, &x, &mut scalar);
            assert_close(&scalar, &naive(channels, kernel, &stored, &before, &x), 1e-6);
            let all = [before.as_slice(), &x].concat();
            assert_same_bits(&after, &all[all.len() - after.len()..]);
            for isa in Isa::available() {
                let (mut state, mut out) = (before.clone(), vec![0.0; x.len()]);
                let part = split * channels;
                for (x, out) in x.chunks(part).zip(out.chunks_mut(part)) {
                    causal_conv(isa, channels, &weights, &mut state, x, out);
                }
                assert_same_bits(&out, &scalar);
                assert_same_bits(&state, &after);
            }
        }
    }

    #[test]
    fn threads_change_nothing() {
        let (rows, channels, kernel) = (40, 6144, 4);
        let (weights, x) = (noise(1, channels * kernel), noise(2, rows * channels));
        let whole = |threads| {
            let (mut state, mut out) = (vec![0.0; (kernel - 1) * channels], vec![0.0; x.len()]);
            on_threads(threads, || causal_conv(Isa::widest(), channels, &weights, &mut state, &x, &mut out));
            out
        };
        assert_same_bits(&whole(3), &whole(1));
        let (mut state, mut out) = (vec![0.0; (kernel - 1) * channels], vec![0.0; x.len()]);
        on_threads(3, || {
            for (x, out) in x.chunks(channels).zip(out.chunks_mut(channels)) {
                causal_conv(Isa::widest(), channels, &weights, &mut state, x, out);
            }
        });
        assert_same_bits(&out, &whole(1));
    }
}
