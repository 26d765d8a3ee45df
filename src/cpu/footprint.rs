//! How much memory a model takes on the CPU, before it is loaded.

use super::cache::delta_parts;
use super::kv_cache::kv_block_bytes;
use super::pack::{is_brain, packed_bytes};
use super::{CacheType, Cpu, Isa, Numerics};
use crate::checkpoint::{ElementType, LayerType, ModelConfig};
use crate::world::cache::KvCache;
use crate::world::limits::Limits;

/// A tensor that will be loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadedWeight<'a> {
    /// What it is stored as.
    pub element: ElementType,
    /// The dimensions, outermost first.
    pub shape: &'a [usize],
    /// Whether it is a weight matrix; vectors become f32.
    pub is_matrix: bool,
    /// Whether it is part of the head that predicts several tokens, which is only loaded where it is wanted.
    pub is_of_mtp: bool,
}

/// The memory of a model and of one sequence in it, in bytes. What kernels need for a moment is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Matrices that are read where they lie: pages of a file, which the system may drop and read again.
    pub mapped: u64,
    /// Matrices in blocks that are packed into memory of their own.
    pub packed: u64,
    /// Vectors, in single precision.
    pub vectors: u64,
    /// Keys and values of a sequence as long as the context, in whole blocks.
    pub kv_cache: u64,
    /// What they are kept as.
    pub cache_type: CacheType,
    /// The states of the delta nets, for one sequence.
    pub delta_state: u64,
    /// What flows through the layers: a batch of rows as wide as each tensor that is kept between systems.
    pub activations: u64,
    /// The weights of the head that predicts several tokens, in whichever of these forms. They are no part of the total: it is
    /// only loaded where it is wanted.
    pub mtp: u64,
}

impl Footprint {
    /// That of the model of `config` with these weights, of which one sequence has `context` tokens. Keys and values are
    /// kept as `cache_type` says; `None` is as [`CacheType::of`] how the model computes in fact. Sums that cannot be counted
    /// are the largest number there is.
    #[must_use]
    pub fn of<'a>(
        config: &ModelConfig,
        weights: impl IntoIterator<Item = LoadedWeight<'a>>,
        numerics: Numerics,
        cache_type: Option<CacheType>,
        context: usize,
    ) -> Self {
        let mut footprint = Self {
            mapped: 0,
            packed: 0,
            vectors: 0,
            kv_cache: 0,
            cache_type: CacheType::F32,
            delta_state: 0,
            activations: activation_bytes(config, context),
            mtp: 0,
        };
        let mut in_fact = Numerics::Exact;
        for LoadedWeight { element, shape, is_matrix, is_of_mtp } in weights {
            let count = product(shape);
            let packed = packed_bytes(element, shape, numerics);
            if is_matrix && !is_of_mtp && (packed.is_some() || is_brain(element, numerics, Isa::widest())) {
                in_fact = Numerics::Fast;
            }
            let (form, bytes) = match packed {
                _ if !is_matrix => (&mut footprint.vectors, count.saturating_mul(SINGLE as u64)),
                None => {
                    let bytes = usize::try_from(count).ok().and_then(|count| element.bytes_for(count));
                    (&mut footprint.mapped, bytes.map_or(u64::MAX, |bytes| bytes as u64))
                }
                Some(bytes) => (&mut footprint.packed, bytes as u64),
            };
            let sum = if is_of_mtp { &mut footprint.mtp } else { form };
            *sum = sum.saturating_add(bytes);
        }
        footprint.cache_type = cache_type.unwrap_or(CacheType::of(in_fact));
        let blocks = context.div_ceil(KvCache::<Cpu>::BLOCK) as u64;
        let keys_and_values = kv_block_bytes(config, footprint.cache_type).saturating_mul(blocks);
        let [chunk, rows, inputs] = config.delta_net.as_ref().map_or([0; 3], delta_parts);
        let state = product(&[chunk + rows + inputs, SINGLE]);
        for layer_type in &config.layer_types {
            match layer_type {
                LayerType::FullAttention => {
                    footprint.kv_cache = footprint.kv_cache.saturating_add(keys_and_values);
                }
                LayerType::LinearAttention => footprint.delta_state = footprint.delta_state.saturating_add(state),
            }
        }
        footprint
    }

    /// All of it, but for the head that predicts several tokens.
    #[must_use]
    pub fn total(&self) -> u64 {
        let Self { mapped, packed, vectors, kv_cache, cache_type: _, delta_state, activations, mtp: _ } = *self;
        [mapped, packed, vectors, kv_cache, delta_state, activations].into_iter().fold(0, u64::saturating_add)
    }
}

/// The bytes of a number.
const SINGLE: usize = size_of::<f32>();

fn product(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1, |product, &size| product.saturating_mul(size as u64))
}

/// The widths of all [`Rows`](crate::world::activations::Rows) that systems keep, times as many rows as a step may have.
pub(crate) fn activation_bytes(config: &ModelConfig, context: usize) -> u64 {
    let hidden = config.hidden_size as u64;
    // The residual and the normed one; the MLP's gate, up, their product, and what it gives.
    let mut width = 3 * hidden + 3 * config.intermediate_size as u64 + experts_width(config);
    let mut seen = Vec::new();
    for &layer_type in &config.layer_types {
        if !seen.contains(&layer_type) {
            seen.push(layer_type);
            width = width.saturating_add(mixer_width(config, layer_type)).saturating_add(hidden);
        }
    }
    let rows = Limits::default().rows.min(context) as u64;
    // Of one row: the last one, and again normed; the logits.
    let head = 2 * hidden + config.vocab_size as u64;
    width.saturating_mul(rows).saturating_add(head).saturating_mul(SINGLE as u64)
}

/// The widths of what experts keep: the router's logits; of each pick and of the expert that all rows go through, what goes
/// in, gate, up, their product, and what comes out.
fn experts_width(config: &ModelConfig) -> u64 {
    let Some(moe) = &config.moe else { return 0 };
    let inner = |width: usize| 2 * config.hidden_size as u64 + 3 * width as u64;
    let picked = (moe.num_experts_per_tok as u64).saturating_mul(inner(moe.intermediate_size));
    let shared = moe.shared_expert_intermediate_size.map_or(0, inner);
    picked.saturating_add(shared).saturating_add(moe.num_experts as u64)
}

/// The widths of what a mixer keeps in its scratch, besides what it gives.
fn mixer_width(config: &ModelConfig, layer_type: LayerType) -> u64 {
    match layer_type {
        LayerType::FullAttention => {
            let attention = &config.attention;
            // Queries with their gates if they have any, queries, what was read; keys and values.
            let queries = if attention.output_gate { 4 } else { 2 };
            product(&[queries * attention.num_heads + 2 * attention.num_kv_heads, attention.head_dim])
        }
        LayerType::LinearAttention => {
            let net = config.linear_attention();
            (2 * net.channels() + 2 * net.value_dim() + 2 * net.num_value_heads) as u64
        }
    }
}
