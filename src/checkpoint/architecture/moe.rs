//! Mixtures of experts: what all families that have them say in the same words.

#![forbid(unsafe_code)]

use std::ops::RangeInclusive;

use super::fields::DIMENSION;
use super::unimplemented::Setting;
use crate::checkpoint::config::MoeConfig;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::{Fields, describe};

/// Twice what the largest published models have. Shaders compare each with each.
const EXPERTS: RangeInclusive<usize> = 1..=1024;
/// Two names for one thing, of different versions of transformers.
const COUNTS: [&str; 2] = ["num_experts", "num_local_experts"];

/// What a model without experts says of them.
pub(super) fn none() -> impl Iterator<Item = Setting> {
    COUNTS.into_iter().map(|field| (field, vec![0.into()]))
}

/// Reads what is the same in all families; `layers` says of each layer whether it has experts.
pub(super) fn read(fields: Fields<'_>, layers: Vec<bool>) -> Result<MoeConfig, CheckpointError> {
    let [count, local] = COUNTS.map(|field| fields.integer(field, &EXPERTS));
    let num_experts = match (count?, local?) {
        (Some(count), Some(local)) if count != local => {
            return Err(fields.error(COUNTS[1], format!("{count}, as {} says", COUNTS[0])));
        }
        (count, local) => match count.or(local) {
            Some(count) => count,
            None => fields.required_integer(COUNTS[0], &EXPERTS)?,
        },
    };
    let num_experts_per_tok = fields.required_integer("num_experts_per_tok", &EXPERTS)?;
    if num_experts_per_tok > num_experts {
        return Err(fields.error("num_experts_per_tok", format!("at most num_experts = {num_experts}")));
    }
    Ok(MoeConfig {
        num_experts,
        num_experts_per_tok,
        intermediate_size: fields.required_integer("moe_intermediate_size", &DIMENSION)?,
        shared_expert_intermediate_size: None,
        norm_topk_prob: true,
        layers,
    })
}

/// Which of `count` layers have experts, by `decoder_sparse_step` and `mlp_only_layers`.
pub(super) fn sparse_layers(fields: Fields<'_>, count: usize) -> Result<Vec<bool>, CheckpointError> {
    let step = fields.integer("decoder_sparse_step", &DIMENSION)?.unwrap_or(1);
    let mut sparse: Vec<bool> = (1..=count).map(|layer| layer.is_multiple_of(step)).collect();
    for dense in fields.array("mlp_only_layers")?.unwrap_or_default() {
        let layer = dense.as_u64().and_then(|layer| sparse.get_mut(usize::try_from(layer).ok()?));
        let expected = || format!("numbers of layers, below num_hidden_layers = {count}");
        *layer.ok_or_else(|| fields.error_found("mlp_only_layers", expected(), describe(Some(dense))))? = false;
    }
    Ok(sparse)
}
