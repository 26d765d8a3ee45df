//! Whether a checkpoint holds a head that predicts several tokens, and one that we read. The configuration says so, but some
//! models are published with the tensors and without the field, and conversions copy the field without the tensors: what is
//! stored counts.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use super::config::{ModelConfig, NormWeight};
use super::error::CheckpointError;
use super::found::Entry;
use super::names::{MTP, OtherModel};

/// Of the head itself, without what stands before all of its names.
const OWN_ENDS: [&str; 2] = ["embed_tokens.weight", "lm_head.weight"];

/// Sets `config.mtp` to whether `tensors` hold a head that we read. A head that we do not is told of, and left out.
pub(super) fn settle(config: &mut ModelConfig, tensors: &BTreeMap<String, Entry>) -> Option<CheckpointError> {
    // The trunk that the head was trained with gave other hidden states than a rotated one.
    let is_known = config.attention.output_gate && config.norm_weight == NormWeight::LessOne;
    config.mtp = is_known && config.rotation_seed.is_none() && tensors.keys().any(|name| within(name).is_some());
    let (name, expected) =
        tensors.keys().filter(|_| config.mtp).find_map(|name| Some((name, unread(within(name)?)?)))?;
    config.mtp = false;
    let (file, found) = (tensors[name].file(), "one: the head is left out");
    Some(CheckpointError::tensor(file, name, expected, found))
}

/// What makes it another head than those that we read, if this tensor does.
fn unread(within: &str) -> Option<&'static str> {
    if OWN_ENDS.contains(&within) {
        return Some("a multi-token head without an embedding or logits of its own");
    }
    let layer = within.strip_prefix("layers.")?.split('.').next()?;
    (layer != "0").then_some("a multi-token head of one layer, not a further one")
}

/// The name of a tensor of the head without what stands before all of them.
fn within(name: &str) -> Option<&str> {
    (OtherModel::of(name) == Some(OtherModel::MultiTokenHead))
        .then(|| name.split_once(MTP).map(|(_, within)| within))?
}
