//! What a good checkpoint gives: both layouts, one file or several, every element type, every generation of fields.

use std::path::Path;

use bytes::Bytes;
use half::{bf16, f16};
use loquent::checkpoint::{
    ChatMessage, ChatOptions, Checkpoint, ElementType, LayerType, Layout, ModelConfig, RopeScaling,
};
use serde_json::{Value, json};

use crate::tiny_checkpoint::{self, Stored, TinyCheckpoint, shapes, text_config, tokenizer};
use crate::{logged, parse};

#[test]
fn a_text_only_checkpoint_opens() {
    let checkpoint = TinyCheckpoint::new().load().unwrap();
    assert_eq!(checkpoint.config.layout, Layout::TextOnly);
    assert_eq!(checkpoint.left_over().count(), 0);
    let attention = &checkpoint.config.attention;
    assert_eq!(
        (attention.num_heads, attention.num_kv_heads, attention.head_dim, attention.rope.rotary_dim),
        (2, 1, 8, 2)
    );
    let net = checkpoint.config.linear_attention();
    assert_eq!((net.key_dim(), net.value_dim(), net.channels()), (4, 8, 16));
    assert_eq!(checkpoint.eos_token_ids(), [263]);
}

#[test]
fn a_published_checkpoint_opens_without_its_vision_tower_and_a_head_that_is_not_read() {
    let mut tiny = TinyCheckpoint::multimodal();
    for name in ["model.visual.blocks.0.attn.qkv.weight", "mtp.lm_head.weight"] {
        let tensor = Stored { dtype: "I64".into(), shape: vec![1], bytes: vec![0; 8] };
        tiny.tensors.insert(name.into(), tensor);
    }
    tiny.write_weights();
    let mut checkpoint = tiny.load().unwrap();
    assert_eq!(checkpoint.config.layout, Layout::Multimodal);
    assert_eq!(checkpoint.left_over().count(), 0);
    let tensor = checkpoint.take("norm.weight", &[8]).unwrap();
    assert_eq!(tensor.name(), "model.language_model.norm.weight");
}

#[test]
fn shards_give_the_same_tensors_as_one_file() {
    for tiny in [TinyCheckpoint::new(), TinyCheckpoint::multimodal()] {
        let mut whole = tiny.load().unwrap();
        let names = shapes(&whole.config);
        let whole: Vec<_> = names.iter().map(|(name, shape)| whole.take(name, shape).unwrap().to_f32()).collect();
        tiny.shard();
        let mut sharded = tiny.load().unwrap();
        for ((name, shape), expected) in names.iter().zip(whole) {
            assert_eq!(sharded.take(name, shape).unwrap().to_f32(), expected, "{name}");
        }
    }
}

#[test]
fn a_single_file_wins_over_an_index() {
    let tiny = TinyCheckpoint::new();
    tiny.write("model.safetensors.index.json", "not even JSON");
    assert!(tiny.load().is_ok());
}

#[test]
fn element_types_mix_freely_and_stay_what_they_are() {
    let values: Vec<f32> = (0..8).map(|i| i as f32 / 4.0 - 1.0).collect();
    let types: [(ElementType, Vec<u8>); 3] = [
        (ElementType::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        (ElementType::F16, values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect()),
        (ElementType::Bf16, values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect()),
    ];
    for (element, bytes) in types {
        let mut tiny = TinyCheckpoint::new();
        tiny.tensors.insert("model.norm.weight".into(), Stored { dtype: element.to_string(), shape: vec![8], bytes });
        tiny.write_weights();
        let tensor = tiny.load().unwrap().take("norm.weight", &[8]).unwrap();
        assert_eq!((tensor.element(), tensor.shape(), tensor.len()), (element, &[8][..], 8));
        assert_eq!(tensor.to_f32(), values);
    }
}

#[test]
fn data_at_an_odd_address_is_aligned_when_it_is_taken() {
    let tiny = TinyCheckpoint::new();
    let aligned = tiny_checkpoint::safetensors(&tiny.tensors);
    let length = u64::from_le_bytes(aligned[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&aligned[8..8 + length]).unwrap().trim_end();
    let pad = if header.len().is_multiple_of(2) { " " } else { "" };
    let odd = tiny_checkpoint::file_with_header(&format!("{header}{pad}"), &aligned[8 + length..]);
    let expected = tiny.load().unwrap().take("embed_tokens.weight", &[272, 8]).unwrap().to_f32();
    tiny.write("model.safetensors", odd);
    let tensor = tiny.load().unwrap().take("embed_tokens.weight", &[272, 8]).unwrap();
    assert!(tensor.bytes().as_ptr().addr().is_multiple_of(4));
    assert_eq!(tensor.to_f32(), expected);
}

#[test]
fn tensors_without_a_place_are_left_over() {
    let mut tiny = TinyCheckpoint::new();
    for name in ["model.layers.99.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.bias", "other"] {
        tiny.tensors.insert(name.into(), Stored { dtype: "F32".into(), shape: vec![1], bytes: vec![0; 4] });
    }
    tiny.write_weights();
    let checkpoint = tiny.load().unwrap();
    let left: Vec<&str> = checkpoint.left_over().collect();
    assert_eq!(left, ["model.layers.0.mlp.up_proj.bias", "model.layers.99.mlp.up_proj.weight", "other"]);
}

#[test]
fn tensors_without_a_place_are_warned_of_and_five_are_named() {
    for count in [0, 1, 5, 6] {
        let mut tiny = TinyCheckpoint::new();
        for index in 0..count {
            let tensor = Stored { dtype: "F32".into(), shape: vec![1], bytes: vec![0; 4] };
            tiny.tensors.insert(format!("other{index}"), tensor);
        }
        tiny.write_weights();
        let checkpoint = tiny.load().unwrap();
        let log = logged(|| checkpoint.warn_of_left_over());
        assert_eq!(log.contains("WARN"), count > 0, "{log}");
        assert_eq!(log.contains(&format!("{count} tensors have no place")), count > 0, "{log}");
        assert_eq!((0..count).filter(|index| log.contains(&format!("other{index}"))).count(), count.min(5), "{log}");
        assert_eq!(log.contains('…'), count > 5, "{log}");
    }
}

#[test]
fn tensors_of_other_models_are_left_out_and_counted() {
    for count in [0, 1, 2] {
        let mut tiny = TinyCheckpoint::new();
        for name in ["model.visual.patch_embed.weight", "mtp.embed_tokens.weight"].into_iter().take(count) {
            let tensor = Stored { dtype: "F32".into(), shape: vec![1], bytes: vec![0; 4] };
            tiny.tensors.insert(name.into(), tensor);
        }
        tiny.write_weights();
        let log = logged(|| assert_eq!(tiny.load().unwrap().left_over().count(), 0));
        assert_eq!(log.contains("left out"), count > 0, "{log}");
        assert_eq!(log.contains(&format!("{count} tensors of the vision tower")), count > 0, "{log}");
    }
}

#[test]
fn files_in_the_program_open_like_files_on_disk() {
    let tiny = TinyCheckpoint::new();
    let read = |name| (name, Bytes::from(std::fs::read(tiny.file(name)).unwrap()));
    let files = ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"].map(read);
    let mut checkpoint = Checkpoint::from_files("demo", &files).unwrap();
    for (name, shape) in shapes(&checkpoint.config) {
        checkpoint.take(&name, &shape).unwrap();
    }
    assert!(checkpoint.tokenizer.is_some() && checkpoint.chat_template.is_some());
    let message = Checkpoint::from_files("demo", &files[..3]).unwrap_err().to_string();
    assert!(message.starts_with(&Path::new("demo").join("model.safetensors").display().to_string()), "{message}");
}

#[test]
fn a_checkpoint_without_text_files_opens() {
    let tiny = TinyCheckpoint::new();
    tiny.remove("tokenizer.json");
    tiny.remove("chat_template.jinja");
    let checkpoint = tiny.load().unwrap();
    assert!(checkpoint.tokenizer.is_none() && checkpoint.chat_template.is_none());
}

#[test]
fn missing_layer_types_come_from_the_interval() {
    let mut config = text_config();
    config["layer_types"] = json!(null);
    let full = |config: &Value| {
        let is_full = |(layer, kind): (usize, &LayerType)| (*kind == LayerType::FullAttention).then_some(layer);
        parse(config).layer_types.iter().enumerate().filter_map(is_full).collect::<Vec<_>>()
    };
    config["num_hidden_layers"] = json!(9);
    assert_eq!(full(&config), [3, 7]);
    config["full_attention_interval"] = json!(3);
    assert_eq!(full(&config), [2, 5, 8]);
}

#[test]
fn rotary_settings_are_found_wherever_they_stand() {
    let with = |fields: Value| {
        let mut config = text_config();
        config.as_object_mut().unwrap().remove("rope_parameters");
        config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let rope = parse(&config).attention.rope;
        assert_eq!(rope.scaling, RopeScaling::Unscaled);
        (rope.theta, rope.rotary_dim)
    };
    assert_eq!(with(json!({"rope_theta": 10_000_000})), (1e7, 2));
    assert_eq!(with(json!({"rope_theta": 1e7, "partial_rotary_factor": 1.0})), (1e7, 8));
    assert_eq!(with(json!({"rope_theta": 1e7, "rope_scaling": null, "rope_parameters": null})), (1e7, 2));
    assert_eq!(with(json!({"rope_scaling": {"type": "default", "rope_theta": 5e5}})), (5e5, 2));
    assert_eq!(
        with(json!({"rope_theta": 1e6, "rope_parameters": {"rope_theta": 1e6, "rope_type": "default",
        "mrope_interleaved": true, "mrope_section": [11, 11, 10], "partial_rotary_factor": 0.5}})),
        (1e6, 4)
    );
}

#[test]
fn the_outer_flag_decides_whether_embeddings_are_tied() {
    for (outer, nested, tied) in [
        (json!(true), json!(false), true),
        (json!(false), json!(true), false),
        (json!(null), json!(true), true),
        (json!(null), json!(null), false),
    ] {
        let mut config = TinyCheckpoint::multimodal().config;
        config["tie_word_embeddings"] = outer;
        config["text_config"]["tie_word_embeddings"] = nested;
        assert_eq!(parse(&config).tie_word_embeddings, tied);
    }
}

#[test]
fn numbers_are_read_to_the_last_bit() {
    let mut config = text_config();
    config["rope_parameters"] = json!(null);
    let text = config.to_string().replacen('{', r#"{"rope_theta": 9007199254740993.5, "#, 1);
    let config = ModelConfig::from_json(Path::new("config.json"), &text).unwrap();
    assert_eq!(config.attention.rope.theta.to_bits(), 9_007_199_254_740_994f64.to_bits());
    assert_eq!(config.rms_norm_eps.to_bits(), 1e-6f32.to_bits());
}

#[test]
fn unknown_fields_change_nothing() {
    let mut config = text_config();
    config["use_cache"] = json!(true);
    config["mamba_ssm_dtype"] = json!("float32");
    config["attn_output_gate"] = json!(true);
    config["mtp_use_dedicated_embeddings"] = json!(false);
    config["a field of next year"] = json!({"deep": [1, 2, 3]});
    assert_eq!(parse(&config), parse(&text_config()));
}

#[test]
fn a_tokenizer_goes_both_ways() {
    let tokenizer = TinyCheckpoint::new().load().unwrap().tokenizer.unwrap();
    let ids = tokenizer.encode("<|start|>loqu a 42<|end|>", false).unwrap();
    assert_eq!(ids, [262, 258, 259, 32, 52, 50, 263]);
    assert_eq!(tokenizer.decode(&ids, true).unwrap(), "loqu a 42");
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), "<|start|>loqu a 42<|end|>");
    assert_eq!(tokenizer.token_to_id("<|end|>"), Some(263));
    assert_eq!(tokenizer.id_to_token(258).as_deref(), Some("loqu"));
    assert_eq!(tokenizer.id_to_token(9999), None);
}

#[test]
fn a_tokenizers_training_settings_are_no_part_of_it() {
    let tiny = TinyCheckpoint::new();
    let mut file = tokenizer();
    file["truncation"] = json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    file["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "!"});
    tiny.write("tokenizer.json", file.to_string());
    assert_eq!(tiny.load().unwrap().tokenizer.unwrap().encode("1234", false).unwrap().len(), 4);
}

#[test]
fn a_chat_is_rendered_by_the_first_template_there_is() {
    let messages = [ChatMessage::new("system", "Be brief."), ChatMessage::new("user", "<Hi> & \"bye\"")];
    let expected = "<|start|>system\nBe brief.<|end|>\n<|start|>user\n<Hi> & \"bye\"<|end|>\n<|start|>assistant\n";
    let tiny = TinyCheckpoint::new();
    let render = |tiny: &TinyCheckpoint| {
        let template = tiny.load().unwrap().chat_template.unwrap();
        template.render(&messages, &ChatOptions::default()).unwrap()
    };
    tiny.write(
        "tokenizer_config.json",
        json!({"chat_template": "nested {{ bos_token }}", "bos_token": "<s>"}).to_string(),
    );
    assert_eq!(render(&tiny), expected);
    tiny.remove("chat_template.jinja");
    assert_eq!(render(&tiny), "nested <s>");
    let list =
        json!([{"name": "tool_use", "template": "tools"}, {"name": "default", "template": "list {{ eos_token }}"}]);
    let config = json!({"chat_template": list, "bos_token": null, "eos_token": {"content": "<e>", "special": true}});
    tiny.write("tokenizer_config.json", config.to_string());
    assert_eq!(render(&tiny), "list <e>");
}
