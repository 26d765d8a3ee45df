//! The keys of a model: those of its architecture, each of the type it must have.

use super::family::Family;
use super::metadata::Metadata;
use super::tensors::Info;
use crate::checkpoint::error::{CheckpointError, Excerpt};

const ARCHITECTURE: &str = "general.architecture";
const TYPE: &str = "general.type";

/// What a file says of its model's dimensions.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub(super) family: Family,
    pub(super) metadata: &'a Metadata,
}

impl<'a> Keys<'a> {
    /// The full name of one of the architecture's keys.
    pub(super) fn name(self, key: &str) -> String {
        format!("{}.{key}", self.family.word())
    }

    pub(super) fn error(self, key: &str, expected: impl Into<String>) -> CheckpointError {
        self.metadata.error(&self.name(key), expected)
    }

    pub(super) fn integer(self, key: &str) -> Result<Option<u64>, CheckpointError> {
        self.metadata.integer(&self.name(key))
    }

    pub(super) fn required(self, key: &str) -> Result<u64, CheckpointError> {
        self.metadata.required_integer(&self.name(key))
    }

    /// An integer that other writers may state for each layer: then all must be the same.
    pub(super) fn of_all_layers(self, key: &str) -> Result<Option<u64>, CheckpointError> {
        let name = self.name(key);
        if !self.metadata.is_array(&name) {
            return self.metadata.integer(&name);
        }
        let expected = "an integer from 0 on, or the same one for every layer";
        let values = self.metadata.integers(&name)?.unwrap_or_default();
        match values.split_first() {
            Some((first, rest)) if rest.iter().all(|value| value == first) => {
                u64::try_from(*first).map(Some).map_err(|_| self.metadata.error(&name, expected))
            }
            _ => Err(self.metadata.error(&name, expected)),
        }
    }

    pub(super) fn float(self, key: &str) -> Result<Option<f64>, CheckpointError> {
        self.metadata.float(&self.name(key))
    }

    pub(super) fn text(self, key: &str) -> Result<Option<&'a str>, CheckpointError> {
        self.metadata.text(&self.name(key))
    }

    pub(super) fn flags(self, key: &str) -> Result<Option<Vec<bool>>, CheckpointError> {
        self.metadata.flags(&self.name(key))
    }

    /// The layers that predict several tokens.
    pub(super) fn heads(self) -> Result<u64, CheckpointError> {
        Ok(self.integer("nextn_predict_layers")?.unwrap_or(0))
    }

    /// The layers of the model itself: without those that predict several tokens, which come last.
    pub(super) fn layers(self) -> Result<u64, CheckpointError> {
        let blocks = self.required("block_count")?;
        let heads = self.heads()?;
        blocks
            .checked_sub(heads)
            .filter(|&layers| layers > 0)
            .ok_or_else(|| self.error("block_count", format!("more layers than nextn_predict_layers = {heads}")))
    }
}

/// The family of models that a file is of, if it is one that is read.
pub(super) fn family(metadata: &Metadata) -> Result<Family, CheckpointError> {
    if let Some(kind) = metadata.text(TYPE)?.filter(|&kind| kind != "model") {
        let expected = "\"model\": what is trained on top of a model, or sees for it, is not read";
        let found = Excerpt(kind).to_string();
        return Err(CheckpointError::field(metadata.file(), TYPE, expected, found));
    }
    let word = metadata.text(ARCHITECTURE)?;
    let known = Family::ALL.into_iter().find(|family| Some(family.word()) == word);
    known.ok_or_else(|| {
        let words: Vec<String> = Family::ALL.iter().map(|family| format!("\"{}\"", family.word())).collect();
        metadata.error(ARCHITECTURE, format!("{} (nothing else is implemented)", words.join(" or ")))
    })
}

/// Refuses what is only the head of a model that predicts several tokens.
pub(super) fn refuse_head_alone(keys: Keys<'_>, infos: &[Info]) -> Result<(), CheckpointError> {
    let heads = keys.heads()?;
    if heads == 0 || infos.is_empty() || infos.iter().any(|info| info.name.starts_with("blk.0.")) {
        return Ok(());
    }
    let found = "only its head that predicts several tokens (name the file of the model itself)";
    Err(CheckpointError::file(keys.metadata.file(), "a whole model", found))
}

/// Refuses every key by which a model of the family would compute something else than we do.
pub(super) fn refuse_unimplemented(keys: Keys<'_>) -> Result<(), CheckpointError> {
    const OF_EXPERTS: [&str; 2] = ["expert_count", "expert_used_count"];
    /// What other mixtures of experts do besides; the way to shares is 1, a softmax, where it is named.
    const OF_OTHERS: [&str; 4] =
        ["attention.sliding_window", "leading_dense_block_count", "expert_group_count", "expert_group_used_count"];
    let of_experts = OF_EXPERTS.into_iter().filter(|_| !keys.family.has_experts());
    if keys.integer("expert_gating_func")?.is_some_and(|number| number > 1) {
        return Err(keys.error("expert_gating_func", "1, a softmax (nothing else is implemented)"));
    }
    if keys.family == Family::Qwen3Moe && keys.metadata.flag(&keys.name("expert_weights_norm"))? == Some(false) {
        return Err(keys.error("expert_weights_norm", "true (nothing else is implemented)"));
    }
    for key in of_experts.chain(OF_OTHERS) {
        if keys.integer(key)?.is_some_and(|number| number != 0) {
            return Err(keys.error(key, "no such key, or 0 (nothing else is implemented)"));
        }
    }
    for (key, neutral) in [
        ("expert_weights_scale", 1.0),
        ("logit_scale", 1.0),
        ("embedding_scale", 1.0),
        ("residual_scale", 1.0),
        ("attention.scale", 0.0),
        ("attention.clamp_kqv", 0.0),
        ("attention.max_alibi_bias", 0.0),
        ("attn_logit_softcapping", 0.0),
        ("final_logit_softcapping", 0.0),
    ] {
        #[expect(clippy::float_cmp, reason = "a number that changes nothing is exactly that")]
        if keys.float(key)?.is_some_and(|number| number != neutral && number != 0.0) {
            return Err(keys.error(key, format!("no such key, or {neutral} (nothing else is implemented)")));
        }
    }
    match keys.metadata.flag(&keys.name("attention.causal"))? {
        Some(false) => Err(keys.error("attention.causal", "true (nothing else is implemented)")),
        _ => Ok(()),
    }
}
