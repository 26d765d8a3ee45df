//! A piece of a tensor → its new form, on all threads, with the sums that say how far it is off.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::plan::Options;
use crate::checkpoint::Elements;
use crate::quant::{BLOCK_LEN, Block, Deviation, QuantError, Weight, quantize_into};

/// Elements that a thread takes at a time: large enough that handing them out costs nothing, small enough that they stay
/// in a core's second cache. Sums are added up in their order, so that they are the same on any number of threads.
const RUN: usize = 1 << 14;

/// Why a piece cannot be narrowed. Positions count from its first element.
#[derive(Debug)]
pub(super) enum NarrowError {
    Quant(QuantError),
    Half { index: usize, value: f32 },
}

/// The blocks of `elements`, as the bytes of a file, in place of what is in `out`.
pub(super) fn to_blocks(
    elements: Elements<'_>,
    options: Options,
    out: &mut Vec<u16>,
) -> Result<Deviation, NarrowError> {
    match elements {
        Elements::F32(weights) => blocks_of(weights, options, out),
        Elements::F16(weights) => blocks_of(weights, options, out),
        Elements::Bf16(weights) => blocks_of(weights, options, out),
    }
}

/// `elements` in half precision, as the bytes of a file, in place of what is in `out`.
pub(super) fn to_halves(elements: Elements<'_>, out: &mut Vec<u16>) -> Result<Deviation, NarrowError> {
    match elements {
        Elements::F32(weights) => halves_of(weights, out),
        Elements::F16(weights) => halves_of(weights, out),
        Elements::Bf16(weights) => halves_of(weights, out),
    }
}

fn blocks_of<W: Weight>(weights: &[W], options: Options, out: &mut Vec<u16>) -> Result<Deviation, NarrowError> {
    out.resize(weights.len().div_ceil(BLOCK_LEN) * (size_of::<Block>() / size_of::<u16>()), 0);
    let blocks: &mut [Block] = bytemuck::cast_slice_mut(out);
    let runs = weights.par_chunks(RUN).zip(blocks.par_chunks_mut(RUN / BLOCK_LEN)).enumerate();
    let done = runs.map(|(run, (weights, blocks))| {
        quantize_into(weights, options.encoding, options.search, blocks)
            .map_err(|error| NarrowError::Quant(error.after_blocks(run * (RUN / BLOCK_LEN))))?;
        Ok(Deviation::of_blocks(weights, blocks))
    });
    in_order(done.collect())
}

fn halves_of<W: Weight>(weights: &[W], out: &mut Vec<u16>) -> Result<Deviation, NarrowError> {
    out.resize(weights.len(), 0);
    let halves: &mut [f16] = bytemuck::cast_slice_mut(out);
    let runs = weights.par_chunks(RUN).zip(halves.par_chunks_mut(RUN)).enumerate();
    let done = runs.map(|(run, (weights, halves))| {
        let mut exact = vec![0.0; weights.len()];
        W::widen(weights, &mut exact);
        halves.convert_from_f32_slice(&exact);
        if let Some(at) = halves.iter().position(|half| !half.is_finite()) {
            return Err(NarrowError::Half { index: run * RUN + at, value: exact[at] });
        }
        Ok(Deviation::of_halves(&exact, halves))
    });
    in_order(done.collect())
}

/// The sum of what all runs gave, or the first error.
fn in_order(runs: Vec<Result<Deviation, NarrowError>>) -> Result<Deviation, NarrowError> {
    runs.into_iter().sum()
}
