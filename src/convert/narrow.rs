//! A piece of a tensor → its new form, on all threads, with the sums that say how far it is off.

use half::f16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::change::{Changed, RUN};
use super::options::ConvertOptions;
use crate::checkpoint::Elements;
use crate::quant::{BLOCK_LEN, Block, Deviation, QuantError, Weight, quantize_into};

/// Why a piece cannot be narrowed. Positions count from its first element.
#[derive(Debug)]
pub(super) enum NarrowError {
    Quant(QuantError),
    Half { index: usize, value: f32 },
}

/// The blocks of `elements`, as the bytes of a file, in place of what is in `out`.
pub(super) fn to_blocks(
    elements: &Changed<'_>,
    options: ConvertOptions,
    out: &mut Vec<u16>,
) -> Result<Deviation, NarrowError> {
    out.resize(elements.len().div_ceil(BLOCK_LEN) * (size_of::<Block>() / size_of::<u16>()), 0);
    let blocks = bytemuck::cast_slice_mut(out);
    match elements {
        Changed::Kept(Elements::F32(weights)) => blocks_of(weights, options, blocks),
        Changed::Kept(Elements::F16(weights)) => blocks_of(weights, options, blocks),
        Changed::Kept(Elements::Bf16(weights)) => blocks_of(weights, options, blocks),
        changed => blocks_of_changed(changed, options, blocks),
    }
}

/// `elements` in half precision, as the bytes of a file, in place of what is in `out`.
pub(super) fn to_halves(elements: &Changed<'_>, out: &mut Vec<u16>) -> Result<Deviation, NarrowError> {
    out.resize(elements.len(), 0);
    let halves = bytemuck::cast_slice_mut(out);
    match elements {
        Changed::Kept(Elements::F32(weights)) => halves_of(weights, halves),
        Changed::Kept(Elements::F16(weights)) => halves_of(weights, halves),
        Changed::Kept(Elements::Bf16(weights)) => halves_of(weights, halves),
        changed => {
            let mut weights = vec![0.0; changed.len()];
            changed.read(0, &mut weights);
            halves_of(&weights, halves)
        }
    }
}

// In what follows, sums are added up in the order of runs, so that they are the same on any number of threads.

fn blocks_of<W: Weight>(
    weights: &[W],
    options: ConvertOptions,
    blocks: &mut [Block],
) -> Result<Deviation, NarrowError> {
    let runs = weights.par_chunks(RUN).zip(blocks.par_chunks_mut(RUN / BLOCK_LEN)).enumerate();
    in_order(runs.map(|(run, (weights, blocks))| encode(weights, run * RUN, options, blocks)).collect())
}

/// As [`blocks_of`], of weights that are made when they are needed.
fn blocks_of_changed(
    changed: &Changed<'_>,
    options: ConvertOptions,
    blocks: &mut [Block],
) -> Result<Deviation, NarrowError> {
    let (len, run) = (changed.len(), changed.run());
    let runs = blocks.par_chunks_mut(run / BLOCK_LEN).enumerate();
    let done = runs.map_init(Vec::new, |weights, (index, blocks)| {
        let first = index * run;
        weights.resize(run.min(len - first), 0.0);
        changed.read(first, weights);
        encode::<f64>(weights, first, options, blocks)
    });
    in_order(done.collect())
}

/// Encodes a run whose first weight has index `first`.
fn encode<W: Weight>(
    weights: &[W],
    first: usize,
    options: ConvertOptions,
    blocks: &mut [Block],
) -> Result<Deviation, NarrowError> {
    quantize_into(weights, options.encoding, options.search, blocks)
        .map_err(|error| NarrowError::Quant(error.after_blocks(first / BLOCK_LEN)))?;
    Ok(Deviation::of_blocks(weights, blocks))
}

fn halves_of<W: Weight>(weights: &[W], halves: &mut [f16]) -> Result<Deviation, NarrowError> {
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
