//! A checkpoint small enough to write anew for every test: four layers, a byte-level tokenizer, a chat template. Tests
//! change one thing in it and look at what is said.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use loquent::checkpoint::{Checkpoint, CheckpointError, LayerType, ModelConfig, MoeConfig};
use loquent::inspect::{InspectError, InspectOptions, Inspection};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const VOCAB_SIZE: usize = 272;

/// What a tensor is in a file: type, shape, bytes.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) struct TinyCheckpoint {
    directory: TempDir,
    pub(crate) config: Value,
    pub(crate) tensors: BTreeMap<String, Stored>,
}

impl TinyCheckpoint {
    /// In the text-only layout, untied, all in F32.
    pub(crate) fn new() -> Self {
        Self::with_config(text_config())
    }

    /// With a head that predicts several tokens.
    pub(crate) fn with_mtp() -> Self {
        let mut config = text_config();
        config["mtp_num_hidden_layers"] = json!(1);
        Self::with_config(config)
    }

    /// A model with experts, with a head that predicts several tokens and has some of its own: one by one, like those of the layers,
    /// or in one tensor. Published files have either.
    pub(crate) fn with_experts_and_mtp(fused: bool) -> Self {
        let mut config = text_config();
        let experts = [
            ("model_type", json!("qwen3_5_moe_text")),
            ("architectures", json!(["Qwen3_5MoeForCausalLM"])),
            ("num_experts", json!(4)),
            ("num_experts_per_tok", json!(2)),
            ("moe_intermediate_size", json!(12)),
            ("shared_expert_intermediate_size", json!(4)),
            ("mtp_num_hidden_layers", json!(1)),
        ];
        experts.into_iter().for_each(|(field, value)| config[field] = value);
        let mut tiny = Self::with_config(config);
        if fused {
            let mut all = |parts: &[&str]| {
                let names = (0..4).flat_map(|expert| parts.iter().map(move |part| (expert, *part)));
                let name = |(expert, part)| format!("mtp.layers.0.mlp.experts.{expert}.{part}_proj.weight");
                let tensors: Vec<_> = names.map(|at| tiny.tensors.remove(&name(at)).expect("an expert's")).collect();
                let shape = vec![4, parts.len() * tensors[0].shape[0], tensors[0].shape[1]];
                Stored {
                    bytes: tensors.into_iter().flat_map(|tensor| tensor.bytes).collect(),
                    shape,
                    dtype: "F32".into(),
                }
            };
            let (gates, downs) = (all(&["gate", "up"]), all(&["down"]));
            let beside = [("gate_up_proj", gates), ("down_proj", downs)];
            tiny.tensors.extend(beside.map(|(name, tensor)| (format!("mtp.layers.0.mlp.experts.{name}"), tensor)));
            tiny.write_weights();
        }
        tiny
    }

    /// In the published layout, tied.
    pub(crate) fn multimodal() -> Self {
        let mut text = text_config();
        text["tie_word_embeddings"] = json!(true);
        Self::with_config(json!({
            "model_type": "qwen3_5",
            "architectures": ["Qwen3_5ForConditionalGeneration"],
            "text_config": text,
            "vision_config": {"depth": 1},
            "tie_word_embeddings": true,
        }))
    }

    /// With every file written that such a configuration promises.
    pub(crate) fn with_config(config: Value) -> Self {
        let parsed = ModelConfig::from_json(Path::new("config.json"), &config.to_string()).unwrap();
        let prefix = parsed.layout.tensor_prefix();
        let is_beside = |name: &str| name == "lm_head.weight" || name.starts_with("mtp.");
        let full = |name: &str| if is_beside(name) { name.to_owned() } else { format!("{prefix}{name}") };
        let tensors = shapes(&parsed)
            .into_iter()
            .enumerate()
            .map(|(seed, (name, shape))| (full(&name), stored(&shape, seed)))
            .collect();
        let tiny = Self { directory: TempDir::new().unwrap(), config, tensors };
        tiny.write("config.json", tiny.config.to_string());
        tiny.write("tokenizer.json", tokenizer().to_string());
        tiny.write("chat_template.jinja", TEMPLATE);
        tiny.write_weights();
        tiny
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.file(name), content).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    /// Writes `config.json` with one field of the text model changed.
    pub(crate) fn with_field(mut self, field: &str, value: Value) -> Self {
        let text = match self.config.get_mut("text_config") {
            Some(text) => text,
            None => &mut self.config,
        };
        text[field] = value;
        self.write_config();
        self
    }

    /// Writes `config.json` without one field of the text model.
    pub(crate) fn without_field(mut self, field: &str) -> Self {
        self.config.as_object_mut().unwrap().remove(field).unwrap();
        self.write_config();
        self
    }

    pub(crate) fn write_config(&self) {
        self.write("config.json", self.config.to_string());
    }

    pub(crate) fn write_weights(&self) {
        self.write("model.safetensors", safetensors(&self.tensors));
    }

    /// Replaces `model.safetensors` by two shards and their index.
    pub(crate) fn shard(&self) {
        self.remove("model.safetensors");
        let half = self.tensors.len() / 2;
        let mut map = BTreeMap::new();
        for (shard, first) in [("model-00001-of-00002.safetensors", true), ("model-00002-of-00002.safetensors", false)]
        {
            let part = self.tensors.iter().enumerate().filter(|(index, _)| (*index < half) == first);
            let part: BTreeMap<_, _> = part.map(|(_, (name, tensor))| (name.clone(), tensor.clone())).collect();
            map.extend(part.keys().map(|name| (name.clone(), shard)));
            self.write(shard, safetensors(&part));
        }
        self.write("model.safetensors.index.json", json!({"metadata": {}, "weight_map": map}).to_string());
    }

    /// Opens it and takes all that its configuration promises.
    pub(crate) fn load(&self) -> Result<Checkpoint, CheckpointError> {
        let mut checkpoint = Checkpoint::open(self.path())?;
        for (name, shape) in shapes(&checkpoint.config) {
            checkpoint.take(&name, &shape)?;
        }
        Ok(checkpoint)
    }

    /// Asserts that it cannot be loaded, that the message names the file and contains all of `parts`, and that an
    /// inspection says the same.
    #[track_caller]
    pub(crate) fn assert_refused(&self, file: &str, parts: &[&str]) {
        let message = match self.load() {
            Ok(_) => panic!("loaded; expected a refusal with {parts:?}"),
            Err(error) => error.to_string(),
        };
        let inspection = Inspection::plan(self.path()).unwrap();
        let report = inspection.run(InspectOptions::default(), |_| ControlFlow::Continue(())).unwrap();
        let problems: Vec<String> = report.problems.iter().map(InspectError::to_string).collect();
        assert!(problems.contains(&message), "{message:?} is not among {problems:#?}");
        let file = self.file(file).display().to_string();
        assert!(message.starts_with(&file), "{message:?} does not name {file}");
        for part in parts {
            assert!(message.contains(part), "{message:?} does not say {part:?}");
        }
        assert!(message.len() < 600 + file.len(), "a message of {} bytes", message.len());
        assert!(!message.contains(char::is_control), "{message:?} has control characters");
    }
}

pub(crate) const TEMPLATE: &str = "{% for message in messages %}<|start|>{{ message.role }}\n{{ message.content }}<|end|>\n\
    {% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}";

pub(crate) fn text_config() -> Value {
    json!({
        "model_type": "qwen3_5_text",
        "architectures": ["Qwen3_5ForCausalLM"],
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 4,
        "layer_types": ["linear_attention", "linear_attention", "linear_attention", "full_attention"],
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 64,
        "tie_word_embeddings": false,
        "attention_bias": false,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 0.25},
        "linear_num_key_heads": 1,
        "linear_num_value_heads": 2,
        "linear_key_head_dim": 4,
        "linear_value_head_dim": 4,
        "linear_conv_kernel_dim": 4,
        "eos_token_id": 263,
    })
}

/// Qwen3's, which is as large.
pub(crate) fn qwen3_config() -> Value {
    json!({
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 2,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 64,
        "tie_word_embeddings": false,
        "attention_bias": false,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "rope_theta": 10000.0,
        "rope_scaling": null,
        "use_sliding_window": false,
        "sliding_window": null,
        "max_window_layers": 2,
        "eos_token_id": 263,
    })
}

/// Llama's, likewise.
pub(crate) fn llama_config() -> Value {
    let mut config = qwen3_config();
    let fields = config.as_object_mut().unwrap();
    fields.retain(|field, _| {
        !["head_dim", "use_sliding_window", "sliding_window", "max_window_layers"].contains(&&**field)
    });
    fields.extend([
        ("model_type".to_owned(), json!("llama")),
        ("architectures".to_owned(), json!(["LlamaForCausalLM"])),
        ("mlp_bias".to_owned(), json!(false)),
        ("pretraining_tp".to_owned(), json!(1)),
    ]);
    config
}

/// Every tensor a configuration promises, by its name in the text model.
pub(crate) fn shapes(config: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let hidden = config.hidden_size;
    let mut shapes = vec![
        ("embed_tokens.weight".to_owned(), vec![config.vocab_size, hidden]),
        ("norm.weight".to_owned(), vec![hidden]),
    ];
    if !config.tie_word_embeddings {
        shapes.push(("lm_head.weight".to_owned(), vec![config.vocab_size, hidden]));
    }
    for (layer, kind) in config.layer_types.iter().enumerate() {
        let mut add = |name: &str, shape: Vec<usize>| shapes.push((format!("layers.{layer}.{name}"), shape));
        add("input_layernorm.weight", vec![hidden]);
        add("post_attention_layernorm.weight", vec![hidden]);
        add_mlp(config, config.moe.as_ref().filter(|moe| moe.layers[layer]), &mut add);
        match kind {
            LayerType::FullAttention => add_attention(config, &mut add),
            LayerType::LinearAttention => {
                let net = config.linear_attention();
                add("linear_attn.in_proj_qkv.weight", vec![net.channels(), hidden]);
                add("linear_attn.in_proj_z.weight", vec![net.value_dim(), hidden]);
                add("linear_attn.in_proj_a.weight", vec![net.num_value_heads, hidden]);
                add("linear_attn.in_proj_b.weight", vec![net.num_value_heads, hidden]);
                add("linear_attn.conv1d.weight", vec![net.channels(), 1, net.conv_kernel]);
                add("linear_attn.A_log", vec![net.num_value_heads]);
                add("linear_attn.dt_bias", vec![net.num_value_heads]);
                add("linear_attn.norm.weight", vec![net.value_head_dim]);
                add("linear_attn.out_proj.weight", vec![hidden, net.value_dim()]);
            }
        }
    }
    if config.mtp {
        let mut add = |name: &str, shape: Vec<usize>| shapes.push((format!("mtp.{name}"), shape));
        add("fc.weight", vec![hidden, 2 * hidden]);
        add("pre_fc_norm_embedding.weight", vec![hidden]);
        add("pre_fc_norm_hidden.weight", vec![hidden]);
        add("norm.weight", vec![hidden]);
        let mut add = |name: &str, shape: Vec<usize>| add(&format!("layers.0.{name}"), shape);
        add("input_layernorm.weight", vec![hidden]);
        add("post_attention_layernorm.weight", vec![hidden]);
        add_attention(config, &mut add);
        add_mlp(config, config.moe.as_ref(), &mut add);
    }
    shapes
}

fn add_attention(config: &ModelConfig, add: &mut impl FnMut(&str, Vec<usize>)) {
    let (hidden, attention) = (config.hidden_size, &config.attention);
    let (heads, kv, dim) = (attention.num_heads, attention.num_kv_heads, attention.head_dim);
    let queries = if attention.output_gate { 2 * heads } else { heads };
    add("self_attn.q_proj.weight", vec![queries * dim, hidden]);
    add("self_attn.k_proj.weight", vec![kv * dim, hidden]);
    add("self_attn.v_proj.weight", vec![kv * dim, hidden]);
    add("self_attn.o_proj.weight", vec![hidden, heads * dim]);
    if attention.qk_norm {
        add("self_attn.q_norm.weight", vec![dim]);
        add("self_attn.k_norm.weight", vec![dim]);
    }
}

fn add_mlp(config: &ModelConfig, moe: Option<&MoeConfig>, add: &mut impl FnMut(&str, Vec<usize>)) {
    let hidden = config.hidden_size;
    let mut add_gated = |name: &str, width: usize| {
        add(&format!("{name}.gate_proj.weight"), vec![width, hidden]);
        add(&format!("{name}.up_proj.weight"), vec![width, hidden]);
        add(&format!("{name}.down_proj.weight"), vec![hidden, width]);
    };
    let Some(moe) = moe else { return add_gated("mlp", config.intermediate_size) };
    (0..moe.num_experts).for_each(|e| add_gated(&format!("mlp.experts.{e}"), moe.intermediate_size));
    let shared = moe.shared_expert_intermediate_size;
    shared.into_iter().for_each(|width| add_gated("mlp.shared_expert", width));
    add("mlp.gate.weight", vec![moe.num_experts, hidden]);
    shared.into_iter().for_each(|_| add("mlp.shared_expert_gate.weight", vec![1, hidden]));
}

/// Small numbers that differ from tensor to tensor.
pub(crate) fn stored(shape: &[usize], seed: usize) -> Stored {
    let count: usize = shape.iter().product();
    let value = |index: usize| ((index * 31 + seed * 17) % 255) as f32 / 128.0 - 1.0;
    let bytes = (0..count).flat_map(|index| value(index).to_le_bytes()).collect();
    Stored { dtype: "F32".into(), shape: shape.to_vec(), bytes }
}

/// A safetensors file, its header padded as the reference implementation does.
pub(crate) fn safetensors(tensors: &BTreeMap<String, Stored>) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, tensor) in tensors {
        let start = data.len();
        data.extend_from_slice(&tensor.bytes);
        let entry = json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]});
        header.insert(name.clone(), entry);
    }
    let mut header = Value::Object(header).to_string();
    header.extend(std::iter::repeat_n(' ', header.len().wrapping_neg() % 8));
    file_with_header(&header, &data)
}

pub(crate) fn file_with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

/// A byte-level vocabulary: 256 bytes, six merges, two special tokens, one added token that is not special.
pub(crate) fn tokenizer() -> Value {
    let mut next = 256u32;
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let mut characters = Vec::new();
    for byte in 0..=255u8 {
        characters.push(if printable(byte) { char::from(byte) } else { char::from_u32(next).unwrap() });
        next += u32::from(!printable(byte));
    }
    let mut vocab: BTreeMap<String, usize> =
        characters.iter().enumerate().map(|(id, character)| (character.to_string(), id)).collect();
    let merges = [("l", "o"), ("q", "u"), ("lo", "qu"), ("Ġ", "a"), ("ä", "¸"), ("ð", "Ł")];
    for (index, (left, right)) in merges.iter().enumerate() {
        vocab.insert(format!("{left}{right}"), 256 + index);
    }
    let added = |id: usize, content: &str, special: bool| {
        json!({"id": id, "content": content, "special": special, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false})
    };
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added(262, "<|start|>", true), added(263, "<|end|>", true), added(264, "<think a>", false)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "behavior": "Isolated", "invert": false,
                "pattern": {"Regex": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"}},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        ]},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": merges},
    })
}
