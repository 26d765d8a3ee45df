//! How much memory a model takes on a GPU, before it is loaded. Adapters do not say how much they have.

use super::description::Description;
use super::format::Format;
use super::plan::mlp_width;
use super::variant::{ATTEND_THREADS, MOST_PARTS, ring_rows};
use crate::checkpoint::{AttentionConfig, DeltaNetConfig, ElementType, LayerType, ModelConfig, MoeConfig};
use crate::cpu::{LoadedWeight, activation_bytes};
use crate::world::limits::Limits;

/// Positions of a block of keys and values; rows of a chunk of the delta rule. As in the shaders.
const KV_BLOCK: u64 = 32;
const CHUNK: u64 = 16;

/// The memory of a model and of one sequence in it, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Matrices, as they are stored, or in single precision where blocks of four bits straddle rows.
    pub matrices: u64,
    /// Vectors, in single precision.
    pub vectors: u64,
    /// Keys and values of a sequence as long as the context, in whole blocks.
    pub kv_cache: u64,
    /// The states of the delta nets, for one sequence.
    pub delta_state: u64,
    /// What flows through the layers, and the parts of attention over a long context.
    pub activations: u64,
    /// The largest piece that a shader must see at once. Matrices can be cut between rows, and caches between blocks and
    /// layers.
    pub largest_piece: u64,
}

impl Footprint {
    /// That of the model of `config` with these weights, of which one sequence has `context` tokens. Sums that cannot be
    /// counted are the largest number there is. A head that predicts several tokens is not uploaded.
    #[must_use]
    pub fn of<'a>(config: &ModelConfig, weights: impl IntoIterator<Item = LoadedWeight<'a>>, context: usize) -> Self {
        let (mut matrices, mut vectors, mut longest_row) = (0u64, 0u64, 0);
        for LoadedWeight { element, shape, is_matrix, is_of_mtp } in weights {
            if is_of_mtp {
                continue;
            }
            if is_matrix {
                let (&columns, rows) = shape.split_last().unwrap_or((&1, &[]));
                let row = row_bytes(element, columns);
                matrices = matrices.saturating_add(product(rows.iter().map(|&rows| rows as u64)).saturating_mul(row));
                longest_row = row.max(longest_row);
            } else {
                vectors = vectors.saturating_add(product(shape.iter().map(|&size| size as u64)).saturating_mul(4));
            }
        }
        let layers = |wanted: LayerType| config.layer_types.iter().filter(|&&layer| layer == wanted).count() as u64;
        let (block, state) = (block_bytes(&config.attention), config.delta_net.as_ref().map_or(0, state_bytes));
        let blocks = (context as u64).div_ceil(KV_BLOCK).saturating_mul(layers(LayerType::FullAttention));
        let parts = if layers(LayerType::FullAttention) > 0 { part_bytes(&config.attention, context) } else { 0 };
        let delta_state = state.saturating_mul(layers(LayerType::LinearAttention));
        let picked = config.moe.as_ref().map_or(1, |moe| moe.num_experts_per_tok);
        let of_picks = picked.saturating_mul(config.hidden_size.max(config.moe.as_ref().map_or(0, MoeConfig::widest)));
        let widest = of_picks.max(2 * mlp_width(config).max(config.hidden_size)) as u64;
        let rows = Limits::default().rows.min(context) as u64;
        // The parts of attention are taken as many rows at a time as a binding holds.
        let parts_of_row = parts / rows.max(1);
        let pieces = [longest_row, vectors, block, delta_state.min(state), product([widest, rows, 4]), parts_of_row];
        Self {
            matrices,
            vectors,
            kv_cache: block.saturating_mul(blocks),
            delta_state,
            activations: activation_bytes(config, context).saturating_add(parts),
            largest_piece: pieces.into_iter().fold(0, u64::max),
        }
    }

    /// All of it.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { matrices, vectors, kv_cache, delta_state, activations, largest_piece: _ } = *self;
        [matrices, vectors, kv_cache, delta_state, activations].into_iter().fold(0, u64::saturating_add)
    }

    /// Why the model cannot run on an adapter, whatever memory it has; `None` if its limits allow it.
    #[must_use]
    pub fn too_large_for(&self, adapter: &Description) -> Option<String> {
        let most = adapter.most_bytes_bound();
        adapter.too_small().or_else(|| {
            let piece = self.largest_piece;
            (piece > most).then(|| format!("a binding holds {most} bytes: expected at least {piece}"))
        })
    }
}

/// A row of a matrix, filled up to whole blocks.
fn row_bytes(element: ElementType, columns: usize) -> u64 {
    let format = Format::of(element, columns);
    // As a product would overflow.
    if columns > usize::MAX / 8 {
        return u64::MAX;
    }
    (format.code_bytes(columns) + format.factor_bytes(columns)) as u64
}

/// A block of a layer's keys and values.
fn block_bytes(attention: &AttentionConfig) -> u64 {
    product([2, KV_BLOCK, attention.num_kv_heads as u64, attention.head_dim as u64, 4])
}

/// What a delta net's layer keeps of one sequence: the state in vectors of four, the rows of a chunk, and the inputs that
/// a convolution looks back at.
fn state_bytes(net: &DeltaNetConfig) -> u64 {
    let [heads, key, value] = [net.num_value_heads, net.key_head_dim, net.value_head_dim].map(|size| size as u64);
    let state = product([heads, key, value.next_multiple_of(4), 4]);
    let rows = product([heads, CHUNK, key.saturating_add(value).saturating_add(1), 4]);
    let inputs = product([ring_rows(net) as u64, net.channels() as u64, 4]);
    state.saturating_add(rows).saturating_add(inputs)
}

/// The parts of attention for the rows of a step, where a context is long enough to be shared.
fn part_bytes(attention: &AttentionConfig, context: usize) -> u64 {
    if context <= ATTEND_THREADS as usize {
        return 0;
    }
    let rows = Limits::default().rows.min(context) as u64;
    product([rows, attention.num_heads as u64, MOST_PARTS.into(), attention.head_dim as u64 + 2, 4])
}

fn product(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(1, u64::saturating_mul)
}
