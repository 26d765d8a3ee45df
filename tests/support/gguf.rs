//! GGUF files as llama.cpp's converter writes them, made from checkpoints in Hugging Face form, and ones with one thing
//! wrong. It shares nothing with what reads them.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::path::Path;

use loquent::checkpoint::{Checkpoint, ElementType, ModelConfig, RopeConfig, RopeScaling};
use loquent::world::promised::{TensorRole, promised_tensors};
use loquent::world::role::{MatrixRole, VectorRole};
use serde_json::Value;

/// A value of the metadata.
#[derive(Clone, Debug)]
pub(crate) enum Meta {
    U16(u16),
    U32(u32),
    I32(i32),
    U64(u64),
    F32(f32),
    Bool(bool),
    Text(String),
    I32s(Vec<i32>),
    U32s(Vec<u32>),
    Bools(Vec<bool>),
    Texts(Vec<String>),
    /// A type's number and bytes that may not be of that type.
    Raw(u32, Vec<u8>),
}

/// A tensor: its dimensions are innermost first, as in the file.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) dimensions: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
    /// Of the data, where it is not right behind the one before.
    pub(crate) offset: Option<u64>,
}

/// A file.
#[derive(Clone, Debug)]
pub(crate) struct Gguf {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    /// What the header says; as many as there are if nothing.
    pub(crate) tensor_count: Option<u64>,
    pub(crate) pair_count: Option<u64>,
    pub(crate) pairs: Vec<(Vec<u8>, Meta)>,
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) alignment: usize,
}

impl Gguf {
    pub(crate) fn new() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            pair_count: None,
            pairs: Vec::new(),
            tensors: Vec::new(),
            alignment: 32,
        }
    }

    pub(crate) fn add(&mut self, key: &str, value: Meta) {
        self.pairs.push((key.as_bytes().to_vec(), value));
    }

    /// Puts a value in place of a key's, or adds it.
    pub(crate) fn set(&mut self, key: &str, value: Meta) {
        self.remove(key);
        self.add(key, value);
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.pairs.retain(|(name, _)| name != key.as_bytes());
    }

    pub(crate) fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap_or_else(|| panic!("no tensor {name}"))
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.magic.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.pair_count.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            push_string(&mut bytes, key);
            value.push(&mut bytes);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            push_string(&mut bytes, tensor.name.as_bytes());
            bytes.extend((tensor.dimensions.len() as u32).to_le_bytes());
            tensor.dimensions.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
            bytes.extend(tensor.kind.to_le_bytes());
            bytes.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.bytes);
            data.resize(data.len().next_multiple_of(self.alignment), 0);
        }
        bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
        bytes.extend(data);
        bytes
    }

    /// The same in `count` files, by name, as `llama-gguf-split` has it: the first one without tensors.
    pub(crate) fn split(&self, stem: &str, count: usize) -> Vec<(String, Self)> {
        let per_part = self.tensors.len().div_ceil(count - 1);
        let part = |number: usize| {
            let mut part = Self { tensors: Vec::new(), ..self.clone() };
            if number > 0 {
                part.pairs.clear();
                part.tensors = self.tensors.chunks(per_part).nth(number - 1).unwrap_or_default().to_vec();
            }
            part.add("split.no", Meta::U16(number as u16));
            part.add("split.count", Meta::U16(count as u16));
            part.add("split.tensors.count", Meta::I32(self.tensors.len() as i32));
            (format!("{stem}-{:05}-of-{count:05}.gguf", number + 1), part)
        };
        (0..count).map(part).collect()
    }
}

impl Meta {
    fn push(&self, bytes: &mut Vec<u8>) {
        let mut begin = |kind: u32| bytes.extend(kind.to_le_bytes());
        match self {
            Self::U16(_) => begin(2),
            Self::U32(_) => begin(4),
            Self::I32(_) => begin(5),
            Self::F32(_) => begin(6),
            Self::Bool(_) => begin(7),
            Self::Text(_) => begin(8),
            Self::U64(_) => begin(10),
            Self::I32s(_) | Self::U32s(_) | Self::Bools(_) | Self::Texts(_) => begin(9),
            Self::Raw(kind, _) => begin(*kind),
        }
        let array = |bytes: &mut Vec<u8>, kind: u32, count: usize| {
            bytes.extend(kind.to_le_bytes());
            bytes.extend((count as u64).to_le_bytes());
        };
        match self {
            Self::U16(value) => bytes.extend(value.to_le_bytes()),
            Self::U32(value) => bytes.extend(value.to_le_bytes()),
            Self::I32(value) => bytes.extend(value.to_le_bytes()),
            Self::U64(value) => bytes.extend(value.to_le_bytes()),
            Self::F32(value) => bytes.extend(value.to_le_bytes()),
            Self::Bool(value) => bytes.push(u8::from(*value)),
            Self::Text(value) => push_string(bytes, value.as_bytes()),
            Self::I32s(values) => {
                array(bytes, 5, values.len());
                values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            }
            Self::U32s(values) => {
                array(bytes, 4, values.len());
                values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            }
            Self::Bools(values) => {
                array(bytes, 7, values.len());
                values.iter().for_each(|value| bytes.push(u8::from(*value)));
            }
            Self::Texts(values) => {
                array(bytes, 8, values.len());
                values.iter().for_each(|value| push_string(bytes, value.as_bytes()));
            }
            Self::Raw(_, raw) => bytes.extend(raw),
        }
    }
}

pub(crate) fn push_string(bytes: &mut Vec<u8>, text: &[u8]) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text);
}

/// The checkpoint in `directory` as the converter would have it, with matrices as they are stored.
pub(crate) fn converted(directory: &Path) -> Gguf {
    let mut checkpoint = Checkpoint::open(directory).expect("a valid checkpoint");
    let config: Value = read_json(&directory.join("config.json")).expect("a configuration");
    let text = config.get("text_config").unwrap_or(&config).clone();
    let architecture = match config["model_type"].as_str().expect("model_type") {
        "qwen3_5" | "qwen3_5_text" => "qwen35",
        "qwen3_5_moe" | "qwen3_5_moe_text" => "qwen35moe",
        "qwen3" => "qwen3",
        "qwen3_moe" => "qwen3moe",
        "llama" => "llama",
        other => panic!("{other} is not converted"),
    };
    let mut gguf = Gguf::new();
    gguf.add("general.architecture", Meta::Text(architecture.into()));
    gguf.add("general.type", Meta::Text("model".into()));
    gguf.add("general.name", Meta::Text(directory.file_name().unwrap().to_string_lossy().into_owned()));
    gguf.add("general.quantization_version", Meta::U32(2));
    dimensions(&mut gguf, architecture, &text, checkpoint.config.mtp);
    if let Some(tokenizer) = read_json(&directory.join("tokenizer.json")) {
        vocabulary(&mut gguf, architecture, &tokenizer, checkpoint.config.vocab_size);
        let special = read_json(&directory.join("tokenizer_config.json")).unwrap_or_default();
        for (field, key) in [("bos_token", "bos_token_id"), ("eos_token", "eos_token_id")] {
            let id = special[field].as_str().and_then(|token| checkpoint.tokenizer.as_ref()?.token_to_id(token));
            id.into_iter().for_each(|id| gguf.add(&format!("tokenizer.ggml.{key}"), Meta::U32(id)));
        }
        if let Ok(template) = std::fs::read_to_string(directory.join("chat_template.jinja")) {
            gguf.add("tokenizer.chat_template", Meta::Text(template));
        }
    }
    rope(&mut gguf, architecture, &checkpoint.config.attention.rope.clone(), &text);
    tensors(&mut gguf, architecture, &mut checkpoint, &text);
    gguf
}

fn read_json(path: &Path) -> Option<Value> {
    Some(serde_json::from_str(&std::fs::read_to_string(path).ok()?).expect("JSON"))
}

/// A head that predicts several tokens is one layer more.
fn dimensions(gguf: &mut Gguf, architecture: &str, text: &Value, mtp: bool) {
    let whole = |field: &str| text[field].as_u64().map(|number| number as u32);
    let rope = |field: &str| {
        let nested = text["rope_parameters"].get(field).or(text["rope_scaling"].get(field));
        nested.or(text.get(field)).and_then(Value::as_f64)
    };
    let mut add = |key: &str, value: Option<u32>| {
        value.into_iter().for_each(|value| gguf.add(&format!("{architecture}.{key}"), Meta::U32(value)));
    };
    let head_dim = whole("head_dim").or(whole("hidden_size").zip(whole("num_attention_heads")).map(|(h, n)| h / n));
    let head_dim = head_dim.expect("head_dim");
    add("block_count", whole("num_hidden_layers").map(|layers| layers + u32::from(mtp)));
    add("nextn_predict_layers", mtp.then_some(1));
    add("context_length", whole("max_position_embeddings"));
    add("embedding_length", whole("hidden_size"));
    add("feed_forward_length", whole("intermediate_size"));
    add("expert_count", whole("num_experts").or(whole("num_local_experts")));
    add("expert_used_count", whole("num_experts_per_tok"));
    add("expert_feed_forward_length", whole("moe_intermediate_size"));
    add("expert_shared_feed_forward_length", whole("shared_expert_intermediate_size"));
    add("attention.head_count", whole("num_attention_heads"));
    add("attention.head_count_kv", whole("num_key_value_heads"));
    add("attention.key_length", Some(head_dim));
    add("attention.value_length", Some(head_dim));
    match architecture {
        "qwen35" | "qwen35moe" => {
            let share = rope("partial_rotary_factor").unwrap_or(0.25);
            add("rope.dimension_count", Some((f64::from(head_dim) * share) as u32));
            add("ssm.conv_kernel", whole("linear_conv_kernel_dim"));
            add("ssm.state_size", whole("linear_key_head_dim"));
            add("ssm.group_count", whole("linear_num_key_heads"));
            add("ssm.time_step_rank", whole("linear_num_value_heads"));
            let inner = whole("linear_num_value_heads").zip(whole("linear_value_head_dim")).map(|(n, width)| n * width);
            add("ssm.inner_size", inner);
            add("full_attention_interval", Some(whole("full_attention_interval").unwrap_or(4)));
            if let Some(types) = text["layer_types"].as_array() {
                let recurrent =
                    types.iter().map(|kind| kind == "linear_attention").chain(mtp.then_some(false)).collect();
                gguf.add(&format!("{architecture}.attention.recurrent_layers"), Meta::Bools(recurrent));
            }
            gguf.add(&format!("{architecture}.rope.dimension_sections"), Meta::I32s(vec![11, 11, 10, 0]));
        }
        "llama" => {
            add("rope.dimension_count", Some(head_dim));
            add("vocab_size", whole("vocab_size"));
        }
        _ => {}
    }
    let eps = text["rms_norm_eps"].as_f64().expect("rms_norm_eps") as f32;
    gguf.add(&format!("{architecture}.attention.layer_norm_rms_epsilon"), Meta::F32(eps));
    let theta = rope("rope_theta").expect("rope_theta") as f32;
    gguf.add(&format!("{architecture}.rope.freq_base"), Meta::F32(theta));
}

/// What is done to the frequencies, where anything is.
fn rope(gguf: &mut Gguf, architecture: &str, rope: &RopeConfig, text: &Value) {
    let key = |key: &str| format!("{architecture}.rope.scaling.{key}");
    match rope.scaling {
        RopeScaling::Unscaled | RopeScaling::Divided(_) => {}
        RopeScaling::Linear { factor } => {
            gguf.add(&key("type"), Meta::Text("linear".into()));
            gguf.add(&key("factor"), Meta::F32(factor as f32));
        }
        RopeScaling::Yarn { factor, original_max_position_embeddings, .. } => {
            gguf.add(&key("type"), Meta::Text("yarn".into()));
            gguf.add(&key("factor"), Meta::F32(factor as f32));
            gguf.add(&key("original_context_length"), Meta::U32(original_max_position_embeddings as u32));
            for beta in ["beta_fast", "beta_slow"] {
                let number = text["rope_parameters"].get(beta).or(text["rope_scaling"].get(beta));
                let number = number.and_then(Value::as_f64);
                number.into_iter().for_each(|number| gguf.add(&key(&format!("yarn_{beta}")), Meta::F32(number as f32)));
            }
        }
        RopeScaling::Llama3 { .. } => {
            let plain = RopeConfig::unscaled(rope.rotary_dim, rope.theta).frequencies().inverse;
            let scaled = rope.frequencies().inverse;
            let divisors = plain.iter().zip(&scaled).map(|(plain, scaled)| plain / scaled);
            gguf.tensors.push(Tensor {
                name: "rope_freqs.weight".into(),
                kind: 0,
                dimensions: vec![scaled.len() as u64],
                bytes: divisors.flat_map(f32::to_le_bytes).collect(),
                offset: None,
            });
        }
    }
}

fn vocabulary(gguf: &mut Gguf, architecture: &str, tokenizer: &Value, vocab_size: usize) {
    let mut tokens: Vec<String> = (0..vocab_size).map(|id| format!("[PAD{id}]")).collect();
    let mut types = vec![5; vocab_size];
    for (token, id) in tokenizer["model"]["vocab"].as_object().expect("a vocabulary") {
        let id = id.as_u64().unwrap() as usize;
        (tokens[id], types[id]) = (token.clone(), 1);
    }
    for token in tokenizer["added_tokens"].as_array().into_iter().flatten() {
        let id = token["id"].as_u64().unwrap() as usize;
        tokens[id] = token["content"].as_str().unwrap().to_owned();
        types[id] = if token["special"] == true { 3 } else { 4 };
    }
    let merges = tokenizer["model"]["merges"].as_array().expect("merges").iter().map(|merge| match merge {
        Value::String(text) => text.clone(),
        pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
    });
    let splits = if architecture.starts_with("qwen35") { "qwen35" } else { "qwen2" };
    gguf.add("tokenizer.ggml.model", Meta::Text("gpt2".into()));
    gguf.add("tokenizer.ggml.pre", Meta::Text(splits.into()));
    gguf.add("tokenizer.ggml.merges", Meta::Texts(merges.collect()));
    gguf.add("tokenizer.ggml.tokens", Meta::Texts(tokens));
    gguf.add("tokenizer.ggml.token_type", Meta::I32s(types));
}

fn tensors(gguf: &mut Gguf, architecture: &str, checkpoint: &mut Checkpoint, text: &Value) {
    let config: ModelConfig = checkpoint.config.clone();
    for promised in promised_tensors(&config) {
        let tensor = checkpoint.take(&promised.name, &promised.shape).expect("a tensor");
        let mut shape = promised.shape.clone();
        if promised.name.ends_with("conv1d.weight") {
            shape.remove(1);
        }
        let routes = promised.role == TensorRole::Matrix(MatrixRole::Routes);
        let is_wide = shape.len() == 1 || routes || promised.name.ends_with("conv1d.weight");
        let (kind, size, bytes) = match tensor.element() {
            _ if is_wide => {
                let mut values = tensor.to_f32();
                match promised.role {
                    TensorRole::Vector(VectorRole::ShiftedNorm) => values.iter_mut().for_each(|value| *value += 1.0),
                    TensorRole::Vector(VectorRole::LogDecay) => {
                        values.iter_mut().for_each(|value| *value = -value.exp())
                    }
                    _ => {}
                }
                (0, 4, values.into_iter().flat_map(f32::to_le_bytes).collect())
            }
            ElementType::F32 => (0, 4, tensor.bytes().to_vec()),
            ElementType::F16 => (1, 2, tensor.bytes().to_vec()),
            ElementType::Bf16 => (30, 2, tensor.bytes().to_vec()),
            other => panic!("{other} is not converted"),
        };
        let row = size * shape[1..].iter().product::<usize>();
        let bytes = match architecture {
            "qwen35" | "qwen35moe" => tiled(&promised.name, &bytes, row, size, text),
            "llama" => permuted(&promised.name, bytes, row, &config),
            _ => bytes,
        };
        let name = name(architecture, &promised.name, config.layer_types.len());
        if promised.name.contains(".experts.") {
            // Behind those before it, in one tensor for all.
            if let Some(stack) = gguf.tensors.iter_mut().find(|tensor| tensor.name == name) {
                stack.dimensions[2] += 1;
                stack.bytes.extend(bytes);
                continue;
            }
            shape.insert(0, 1);
        }
        gguf.tensors.push(Tensor {
            name,
            kind,
            dimensions: shape.iter().rev().map(|&size| size as u64).collect(),
            bytes,
            offset: None,
        });
    }
}

/// Value heads are laid out over the key heads rather than key head after key head.
fn tiled(name: &str, bytes: &[u8], row: usize, element: usize, text: &Value) -> Vec<u8> {
    let whole = |field: &str| text[field].as_u64().unwrap() as usize;
    let (keys, values) = (whole("linear_num_key_heads"), whole("linear_num_value_heads"));
    let width = whole("linear_value_head_dim");
    let kind = name.rsplit("linear_attn.").next().unwrap_or(name);
    let (skip, unit, stretch) = match kind {
        "in_proj_qkv.weight" | "conv1d.weight" => {
            (2 * keys * whole("linear_key_head_dim") * row, width * row, bytes.len())
        }
        "in_proj_z.weight" => (0, width * row, bytes.len()),
        "in_proj_a.weight" | "in_proj_b.weight" | "A_log" | "dt_bias" => (0, row, bytes.len()),
        "out_proj.weight" => (0, width * element, row),
        _ => return bytes.to_vec(),
    };
    let mut out = Vec::new();
    for stretch in bytes.chunks(stretch) {
        let (first, heads) = stretch.split_at(skip);
        assert_eq!(heads.len(), values * unit, "{name}");
        out.extend(first);
        for of_key in 0..values / keys {
            for key in 0..keys {
                out.extend(&heads[(key * (values / keys) + of_key) * unit..][..unit]);
            }
        }
    }
    out
}

/// Row 2i + j of each head is row j · width / 2 + i of the published one.
fn permuted(name: &str, bytes: Vec<u8>, row: usize, config: &ModelConfig) -> Vec<u8> {
    if !name.ends_with("q_proj.weight") && !name.ends_with("k_proj.weight") {
        return bytes;
    }
    let width = config.attention.head_dim;
    let rows: Vec<&[u8]> = bytes.chunks(row).collect();
    let head = |rows: &[&[u8]]| {
        let pair = |i: usize| [rows[i], rows[width / 2 + i]].concat();
        (0..width / 2).flat_map(pair).collect::<Vec<u8>>()
    };
    rows.chunks(width).flat_map(head).collect()
}

/// What the converter calls a tensor of a model of so many layers.
fn name(architecture: &str, published: &str, layers: usize) -> String {
    let of_head = |name: &str| format!("blk.{layers}.nextn.{name}.weight");
    let (layer, within) = match published.strip_prefix("layers.").and_then(|rest| rest.split_once('.')) {
        Some((layer, within)) => (format!("blk.{layer}."), within),
        None => match published.strip_prefix("mtp.") {
            Some("fc.weight") => return of_head("eh_proj"),
            Some("pre_fc_norm_embedding.weight") => return of_head("enorm"),
            Some("pre_fc_norm_hidden.weight") => return of_head("hnorm"),
            Some("norm.weight") => return of_head("shared_head_norm"),
            Some(layer) => (format!("blk.{layers}."), layer.strip_prefix("layers.0.").expect("one layer")),
            None => (String::new(), published),
        },
    };
    let name = match within {
        "embed_tokens.weight" => "token_embd.weight",
        "norm.weight" => "output_norm.weight",
        "lm_head.weight" => "output.weight",
        "input_layernorm.weight" => "attn_norm.weight",
        "post_attention_layernorm.weight" if architecture.starts_with("qwen35") => "post_attention_norm.weight",
        "post_attention_layernorm.weight" => "ffn_norm.weight",
        "self_attn.q_proj.weight" => "attn_q.weight",
        "self_attn.k_proj.weight" => "attn_k.weight",
        "self_attn.v_proj.weight" => "attn_v.weight",
        "self_attn.o_proj.weight" => "attn_output.weight",
        "self_attn.q_norm.weight" => "attn_q_norm.weight",
        "self_attn.k_norm.weight" => "attn_k_norm.weight",
        "mlp.gate_proj.weight" => "ffn_gate.weight",
        "mlp.up_proj.weight" => "ffn_up.weight",
        "mlp.down_proj.weight" => "ffn_down.weight",
        "mlp.gate.weight" => "ffn_gate_inp.weight",
        "mlp.shared_expert_gate.weight" => "ffn_gate_inp_shexp.weight",
        "mlp.shared_expert.gate_proj.weight" => "ffn_gate_shexp.weight",
        "mlp.shared_expert.up_proj.weight" => "ffn_up_shexp.weight",
        "mlp.shared_expert.down_proj.weight" => "ffn_down_shexp.weight",
        expert if expert.starts_with("mlp.experts.") => match expert.rsplit('.').nth(1) {
            Some("gate_proj") => "ffn_gate_exps.weight",
            Some("up_proj") => "ffn_up_exps.weight",
            _ => "ffn_down_exps.weight",
        },
        "linear_attn.in_proj_qkv.weight" => "attn_qkv.weight",
        "linear_attn.in_proj_z.weight" => "attn_gate.weight",
        "linear_attn.in_proj_b.weight" => "ssm_beta.weight",
        "linear_attn.in_proj_a.weight" => "ssm_alpha.weight",
        "linear_attn.A_log" => "ssm_a",
        "linear_attn.dt_bias" => "ssm_dt.bias",
        "linear_attn.conv1d.weight" => "ssm_conv1d.weight",
        "linear_attn.norm.weight" => "ssm_norm.weight",
        "linear_attn.out_proj.weight" => "ssm_out.weight",
        other => panic!("{other} is not converted"),
    };
    layer + name
}
