//! The architectures that are read, and what their files call tensors: a table for each.

use crate::checkpoint::config::Layout;
use crate::checkpoint::names::HEAD;

/// What `general.architecture` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) enum Family {
    Qwen35,
    Qwen3,
    Llama,
}

/// GGUF's name, and the published one within the same layer or outside of all.
type Names = [(&'static str, &'static str)];

const ENDS: &Names =
    &[("token_embd.weight", "embed_tokens.weight"), ("output_norm.weight", "norm.weight"), ("output.weight", HEAD)];

/// What every layer of every family has that is not another's mixer.
const EVERY_LAYER: &Names = &[
    ("attn_norm.weight", "input_layernorm.weight"),
    ("attn_q.weight", "self_attn.q_proj.weight"),
    ("attn_k.weight", "self_attn.k_proj.weight"),
    ("attn_v.weight", "self_attn.v_proj.weight"),
    ("attn_output.weight", "self_attn.o_proj.weight"),
    ("ffn_gate.weight", "mlp.gate_proj.weight"),
    ("ffn_up.weight", "mlp.up_proj.weight"),
    ("ffn_down.weight", "mlp.down_proj.weight"),
];

const HEAD_NORMS: &Names =
    &[("attn_q_norm.weight", "self_attn.q_norm.weight"), ("attn_k_norm.weight", "self_attn.k_norm.weight")];

const MLP_NORM: &Names = &[("ffn_norm.weight", "post_attention_layernorm.weight")];

const QWEN35: &Names = &[
    ("post_attention_norm.weight", "post_attention_layernorm.weight"),
    ("attn_qkv.weight", "linear_attn.in_proj_qkv.weight"),
    ("attn_gate.weight", "linear_attn.in_proj_z.weight"),
    ("ssm_beta.weight", "linear_attn.in_proj_b.weight"),
    ("ssm_alpha.weight", "linear_attn.in_proj_a.weight"),
    ("ssm_a", "linear_attn.A_log"),
    ("ssm_dt.bias", "linear_attn.dt_bias"),
    ("ssm_conv1d.weight", "linear_attn.conv1d.weight"),
    ("ssm_norm.weight", "linear_attn.norm.weight"),
    ("ssm_out.weight", "linear_attn.out_proj.weight"),
];

/// Of the head that predicts several tokens, which files have as one layer more.
const NEXT_TOKENS: &Names = &[
    ("nextn.eh_proj.weight", "fc.weight"),
    ("nextn.enorm.weight", "pre_fc_norm_embedding.weight"),
    ("nextn.hnorm.weight", "pre_fc_norm_hidden.weight"),
    ("nextn.shared_head_norm.weight", "norm.weight"),
    ("nextn.embed_tokens.weight", "embed_tokens.weight"),
    ("nextn.shared_head_head.weight", "lm_head.weight"),
];

impl Family {
    pub(super) const ALL: [Self; 3] = [Self::Qwen35, Self::Qwen3, Self::Llama];

    /// The word for it in files, which all of its keys begin with.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Qwen35 => "qwen35",
            Self::Qwen3 => "qwen3",
            Self::Llama => "llama",
        }
    }

    /// What `config.json` calls it.
    pub(super) const fn model_type(self) -> &'static str {
        match self {
            Self::Qwen35 => "qwen3_5_text",
            Self::Qwen3 => "qwen3",
            Self::Llama => "llama",
        }
    }

    const fn layer_tables(self) -> &'static [&'static Names] {
        match self {
            Self::Qwen35 => &[EVERY_LAYER, HEAD_NORMS, QWEN35],
            Self::Qwen3 => &[EVERY_LAYER, HEAD_NORMS, MLP_NORM],
            Self::Llama => &[EVERY_LAYER, MLP_NORM],
        }
    }

    /// The published full name of what a file calls `name`, if the model has `layers` layers and such a tensor.
    pub(super) fn published(self, name: &str, layers: usize) -> Option<String> {
        let full = |name: &str| if name == HEAD { name.to_owned() } else { format!("{PREFIX}{name}") };
        if let Some(published) = find(&[ENDS], name) {
            return Some(full(published));
        }
        let (layer, within) = in_layer(name, "blk.")?;
        if layer >= layers {
            let head = find(&[NEXT_TOKENS], within).map(str::to_owned);
            let of_layer = || find(self.layer_tables(), within).map(|name| format!("layers.{}.{name}", layer - layers));
            return head.or_else(of_layer).map(|name| format!("mtp.{name}"));
        }
        find(self.layer_tables(), within).map(|within| full(&format!("layers.{layer}.{within}")))
    }

    /// What files call the tensor with this published full name.
    pub(in crate::checkpoint) fn in_files(self, published: &str) -> Option<String> {
        let name = published.strip_prefix(PREFIX).unwrap_or(published);
        if let Some(found) = find_other(&[ENDS], name) {
            return Some(found.to_owned());
        }
        let (layer, within) = in_layer(name, "layers.")?;
        find_other(self.layer_tables(), within).map(|within| format!("blk.{layer}.{within}"))
    }
}

/// What full names begin with, but for the head's.
const PREFIX: &str = Layout::TextOnly.tensor_prefix();

fn find(tables: &[&Names], name: &str) -> Option<&'static str> {
    tables.iter().flat_map(|table| table.iter()).find(|(in_file, _)| *in_file == name).map(|(_, published)| *published)
}

fn find_other(tables: &[&Names], name: &str) -> Option<&'static str> {
    tables.iter().flat_map(|table| table.iter()).find(|(_, published)| *published == name).map(|(in_file, _)| *in_file)
}

/// The layer of a name and what the tensor is called within it.
fn in_layer<'a>(name: &'a str, prefix: &str) -> Option<(usize, &'a str)> {
    let (layer, within) = name.strip_prefix(prefix)?.split_once('.')?;
    let number: usize = layer.parse().ok()?;
    (number.to_string() == layer).then_some((number, within))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_translated_both_ways() {
        for family in Family::ALL {
            for (in_file, published) in [
                ("token_embd.weight", "model.embed_tokens.weight"),
                ("output.weight", "lm_head.weight"),
                ("blk.3.attn_q.weight", "model.layers.3.self_attn.q_proj.weight"),
                ("blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight"),
            ] {
                assert_eq!(family.published(in_file, 4).as_deref(), Some(published));
                assert_eq!(family.in_files(published).as_deref(), Some(in_file));
            }
            for unknown in [
                "blk.03.attn_q.weight",
                "blk.0.attn_q.bias",
                "attn_q.weight",
                "blk.x.attn_q.weight",
                "rope_freqs.weight",
            ] {
                assert_eq!(family.published(unknown, 4), None, "{unknown}");
            }
        }
    }

    #[test]
    fn the_layer_behind_all_others_is_the_head_for_several_tokens() {
        let published = |name| Family::Qwen35.published(name, 4).unwrap();
        assert_eq!(published("blk.4.nextn.eh_proj.weight"), "mtp.fc.weight");
        assert_eq!(published("blk.4.attn_q.weight"), "mtp.layers.0.self_attn.q_proj.weight");
    }
}
