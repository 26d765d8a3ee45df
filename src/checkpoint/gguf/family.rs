//! The architectures that are read, and what their files call tensors: a table for each.

use crate::checkpoint::config::Layout;
use crate::checkpoint::names::{HEAD, MTP};
use crate::checkpoint::stacked::stack_of;

/// What `general.architecture` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::checkpoint) enum Family {
    Qwen35,
    Qwen35Moe,
    Qwen3,
    Qwen3Moe,
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
];

const MLP: &Names = &[
    ("ffn_gate.weight", "mlp.gate_proj.weight"),
    ("ffn_up.weight", "mlp.up_proj.weight"),
    ("ffn_down.weight", "mlp.down_proj.weight"),
];

/// All experts of a layer share each of these, but for the router.
const EXPERTS: &Names = &[
    ("ffn_gate_inp.weight", "mlp.gate.weight"),
    ("ffn_gate_exps.weight", "mlp.experts.gate_proj"),
    ("ffn_up_exps.weight", "mlp.experts.up_proj"),
    ("ffn_gate_up_exps.weight", "mlp.experts.gate_up_proj"),
    ("ffn_down_exps.weight", "mlp.experts.down_proj"),
];

const SHARED_EXPERT: &Names = &[
    ("ffn_gate_inp_shexp.weight", SHARED_GATE),
    ("ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"),
    ("ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"),
    ("ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"),
];

/// A matrix of one row, whose only dimension some files have.
pub(super) const SHARED_GATE: &str = "mlp.shared_expert_gate.weight";

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
    pub(super) const ALL: [Self; 5] = [Self::Qwen35, Self::Qwen35Moe, Self::Qwen3, Self::Qwen3Moe, Self::Llama];

    /// The word for it in files, which all of its keys begin with.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Qwen35 => "qwen35",
            Self::Qwen35Moe => "qwen35moe",
            Self::Qwen3 => "qwen3",
            Self::Qwen3Moe => "qwen3moe",
            Self::Llama => "llama",
        }
    }

    /// What `config.json` calls it.
    pub(super) const fn model_type(self) -> &'static str {
        match self {
            Self::Qwen35 => "qwen3_5_text",
            Self::Qwen35Moe => "qwen3_5_moe_text",
            Self::Qwen3 => "qwen3",
            Self::Qwen3Moe => "qwen3_moe",
            Self::Llama => "llama",
        }
    }

    /// Whether layers mix with delta nets.
    pub(super) const fn has_delta_nets(self) -> bool {
        matches!(self, Self::Qwen35 | Self::Qwen35Moe)
    }

    /// Whether layers have experts.
    pub(super) const fn has_experts(self) -> bool {
        matches!(self, Self::Qwen35Moe | Self::Qwen3Moe)
    }

    const fn layer_tables(self) -> &'static [&'static Names] {
        match self {
            Self::Qwen35 => &[EVERY_LAYER, MLP, HEAD_NORMS, QWEN35],
            Self::Qwen35Moe => &[EVERY_LAYER, EXPERTS, SHARED_EXPERT, HEAD_NORMS, QWEN35],
            Self::Qwen3 => &[EVERY_LAYER, MLP, HEAD_NORMS, MLP_NORM],
            Self::Qwen3Moe => &[EVERY_LAYER, EXPERTS, HEAD_NORMS, MLP_NORM],
            Self::Llama => &[EVERY_LAYER, MLP, MLP_NORM],
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
            return head.or_else(of_layer).map(|name| format!("{MTP}{name}"));
        }
        find(self.layer_tables(), within).map(|within| full(&format!("layers.{layer}.{within}")))
    }

    /// What files call the tensor with this published full name, in a model of `layers` layers.
    pub(in crate::checkpoint) fn in_files(self, published: &str, layers: usize) -> Option<String> {
        if let Some(of_head) = published.strip_prefix(MTP) {
            let found = find_other(&[NEXT_TOKENS], of_head).map(|within| format!("blk.{layers}.{within}"));
            return found.or_else(|| self.in_layers(of_head, layers));
        }
        let name = published.strip_prefix(PREFIX).unwrap_or(published);
        if let Some(found) = find_other(&[ENDS], name) {
            return Some(found.to_owned());
        }
        self.in_layers(name, 0)
    }

    /// The same of a layer's tensor, where `before` layers come before the first.
    fn in_layers(self, name: &str, before: usize) -> Option<String> {
        let (layer, within) = in_layer(name, "layers.")?;
        let stack = stack_of(within).map(|(stack, _)| stack);
        let found = find_other(self.layer_tables(), stack.as_deref().unwrap_or(within));
        found.map(|within| format!("blk.{}.{within}", before + layer))
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
            ] {
                assert_eq!(family.published(in_file, 4).as_deref(), Some(published));
                assert_eq!(family.in_files(published, 4).as_deref(), Some(in_file));
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
    fn experts_share_a_name_in_files() {
        let (dense, experts) = (Family::Qwen3, Family::Qwen35Moe);
        let down = "model.layers.0.mlp.down_proj.weight";
        assert_eq!(dense.in_files(down, 4).as_deref(), Some("blk.0.ffn_down.weight"));
        assert_eq!((experts.in_files(down, 4), dense.published("blk.0.ffn_down_exps.weight", 4)), (None, None));
        let down = "model.layers.0.mlp.experts.11.down_proj.weight";
        assert_eq!(experts.in_files(down, 4).as_deref(), Some("blk.0.ffn_down_exps.weight"));
        let stacked = experts.published("blk.0.ffn_down_exps.weight", 4);
        assert_eq!(stacked.as_deref(), Some("model.layers.0.mlp.experts.down_proj"));
    }

    #[test]
    fn the_layer_behind_all_others_is_the_head_for_several_tokens() {
        for (in_file, published) in [
            ("blk.4.nextn.eh_proj.weight", "mtp.fc.weight"),
            ("blk.4.attn_q.weight", "mtp.layers.0.self_attn.q_proj.weight"),
            ("blk.4.post_attention_norm.weight", "mtp.layers.0.post_attention_layernorm.weight"),
        ] {
            assert_eq!(Family::Qwen35.published(in_file, 4).as_deref(), Some(published));
            assert_eq!(Family::Qwen35.in_files(published, 4).as_deref(), Some(in_file));
        }
    }
}
