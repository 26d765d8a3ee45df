//! Everything that can be wrong with a file is refused with the file, the thing, what was expected and what was found,
//! and an inspection says the same.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use loquent::checkpoint::{Checkpoint, CheckpointError};
use loquent::inspect::{InspectError, InspectOptions, Inspection};
use loquent::world::promised::promised_tensors;
use tempfile::TempDir;

use crate::gguf::{Gguf, Meta, converted, push_string};
use crate::tiny_checkpoint::TinyCheckpoint;

/// Opens a file and takes all that its configuration promises.
fn load(path: &Path) -> Result<(), CheckpointError> {
    let mut checkpoint = Checkpoint::open(path)?;
    for promised in promised_tensors(&checkpoint.config.clone()) {
        checkpoint.take(&promised.name, &promised.shape)?;
    }
    Ok(())
}

/// Why a file cannot be loaded.
#[track_caller]
pub(crate) fn message(path: &Path) -> String {
    match load(path) {
        Ok(()) => panic!("loaded; expected a refusal"),
        Err(error) => error.to_string(),
    }
}

/// That `path` cannot be loaded, that the message names `file` and has all of `parts`, and that an inspection says the same.
#[track_caller]
pub(crate) fn assert_path_refused(path: &Path, file: &Path, parts: &[&str]) {
    let message = message(path);
    let problems: Vec<String> = match Inspection::plan(path) {
        Ok(inspection) => {
            let report = inspection.run(InspectOptions::default(), |_| ControlFlow::Continue(())).unwrap();
            report.problems.iter().map(InspectError::to_string).collect()
        }
        // That of a file of another kind.
        Err(error) => vec![error.to_string()],
    };
    assert!(problems.contains(&message), "{message:?} is not among {problems:#?}");
    let file = file.display().to_string();
    assert!(message.starts_with(&file), "{message:?} does not name {file}");
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
    assert!(message.len() < 600 + file.len(), "a message of {} bytes", message.len());
    assert!(!message.contains(char::is_control), "{message:?} has control characters");
}

fn tiny() -> Gguf {
    converted(TinyCheckpoint::new().path())
}

fn write(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[track_caller]
fn assert_bytes_refused(bytes: &[u8], parts: &[&str]) {
    let (_folder, path) = write(bytes);
    assert_path_refused(&path, &path, parts);
}

/// That a file is refused after a change to it.
#[track_caller]
fn assert_refused(change: impl FnOnce(&mut Gguf), parts: &[&str]) {
    let mut gguf = tiny();
    change(&mut gguf);
    assert_bytes_refused(&gguf.bytes(), parts);
}

#[track_caller]
fn assert_key_refused(key: &str, value: Meta, parts: &[&str]) {
    assert_refused(|gguf| gguf.set(key, value), parts);
}

#[test]
fn what_is_right_is_read() {
    load(&write(&tiny().bytes()).1).unwrap();
}

#[test]
fn what_is_no_gguf_file_is_called_what_it_is() {
    let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n";
    let safetensors = [&2u64.to_le_bytes()[..], b"{\"", &[0; 8]].concat();
    for (bytes, found) in [
        (&b"FUGG\x03\0\0\0"[..], "found \"FUGG\": a GGUF file for big-endian machines"),
        (b"PK\x03\x04....", "found a zip archive"),
        (lfs, "a Git LFS pointer (fetch the content with `git lfs pull`)"),
        (&safetensors, "found a safetensors file"),
        (b"tjgg\x03\0\0\0", "found a GGML file, from before GGUF"),
        (b"\0\0\0\0\0", "found zeros"),
        (b"GGU", "found 3 bytes"),
        (b"{\"a\": 1}", "found \"{\\\"a\\\"\""),
        (b"", "an empty file"),
    ] {
        assert_bytes_refused(bytes, &[found]);
    }
}

#[test]
fn other_versions_are_refused() {
    for (version, found) in [
        (0, "found version 0"),
        (1, "found version 1, of 2023"),
        (2, "found version 2"),
        (4, "found version 4"),
        (0x0003_0000, "a file for big-endian machines"),
        (0x0300_0000, "a file for big-endian machines, of version 3"),
    ] {
        assert_refused(|gguf| gguf.version = version, &["expected version 3 of GGUF", found]);
    }
}

#[test]
fn counts_that_the_file_cannot_hold_are_refused_before_anything_is_allocated() {
    for count in [u64::MAX, 1 << 63, 1 << 40, (1 << 16) + 1] {
        assert_refused(|gguf| gguf.pair_count = Some(count), &["at most 65536 keys", &count.to_string()]);
        assert_refused(|gguf| gguf.tensor_count = Some(count), &["at most 65536 tensors", &count.to_string()]);
    }
    assert_refused(|gguf| gguf.pair_count = Some(60_000), &["expected 60000 keys from byte 24 on", "left of"]);
    let huge_array =
        |count: u64, kind: u32| Meta::Raw(9, [&kind.to_le_bytes()[..], &count.to_le_bytes(), &[0; 16]].concat());
    for (kind, count, found) in [
        (4, 1 << 29, "values of \"huge\" from byte"),
        (8, 1 << 29, "values of \"huge\" from byte"),
        (4, u64::MAX, "at most 1073741824 values"),
        (12, 1 << 61, "at most 1073741824 values"),
    ] {
        assert_refused(|gguf| gguf.pairs.insert(0, (b"huge".to_vec(), huge_array(count, kind))), &[found]);
    }
    let long = Meta::Raw(8, u64::MAX.to_le_bytes().to_vec());
    assert_refused(|gguf| gguf.add("long", long), &["expected a string of 18446744073709551615 bytes at byte"]);
}

#[test]
fn a_file_that_ends_anywhere_is_refused() {
    let bytes = tiny().bytes();
    for end in (0..bytes.len() - 64).step_by(389) {
        let (_folder, path) = write(&bytes[..end]);
        let message = message(&path);
        let is_said = ["truncated?", "an empty file", "bytes", "no such"].iter().any(|part| message.contains(part));
        assert!(is_said, "{end}: {message}");
    }
    let parts = [&format!("expected {} bytes, as its tensors say", bytes.len()), "(truncated?)"];
    assert_bytes_refused(&bytes[..bytes.len() - 1], &parts.map(|part| part as &str));
}

#[test]
fn keys_are_there_once_and_have_names() {
    assert_refused(|gguf| gguf.add("", Meta::U32(1)), &["a name for key", "found none"]);
    assert_refused(|gguf| gguf.add("general.name", Meta::U32(1)), &["field `general.name`", "every key once"]);
    assert_refused(|gguf| gguf.pairs.push((b"a\xff".to_vec(), Meta::U32(1))), &["a key in UTF-8", "an invalid byte"]);
}

#[test]
fn values_are_of_a_type_that_there_is() {
    assert_key_refused("x", Meta::Raw(13, vec![0; 8]), &["field `x`", "from 0 to 12", "type 13"]);
    let nested = [&9u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[0; 20]].concat();
    assert_key_refused("x", Meta::Raw(9, nested), &["field `x`", "an array of arrays"]);
    assert_key_refused("x", Meta::Raw(7, vec![2]), &["field `x`", "true or false", "a byte of 2"]);
    let flags = [&7u32.to_le_bytes()[..], &2u64.to_le_bytes(), &[1, 3]].concat();
    assert_key_refused("x", Meta::Raw(9, flags), &["field `x`", "true or false", "a byte of 3"]);
}

#[test]
fn wanted_keys_have_the_type_they_must_have() {
    for (key, value, expected) in [
        ("qwen35.block_count", Meta::F32(4.0), "an integer from 0 on, found f32 4"),
        ("qwen35.block_count", Meta::I32(-4), "an integer from 0 on, found i32 -4"),
        ("qwen35.embedding_length", Meta::Text("8".into()), "an integer from 0 on, found string \"8\""),
        ("qwen35.rope.freq_base", Meta::U32(10), "a finite number in floating point, found u32 10"),
        ("qwen35.attention.layer_norm_rms_epsilon", Meta::F32(f32::NAN), "a finite number"),
        ("general.architecture", Meta::U32(1), "a string in UTF-8, found u32 1"),
        ("tokenizer.ggml.tokens", Meta::I32s(vec![1]), "an array of strings in UTF-8, found 1 i32[1]"),
        ("tokenizer.ggml.add_bos_token", Meta::U32(1), "true or false, found u32 1"),
    ] {
        assert_key_refused(key, value, &[&format!("field `{key}`"), expected]);
    }
    let mut latin = vec![1, 0, 0, 0, 0, 0, 0, 0];
    latin.push(0xe9);
    assert_key_refused("general.architecture", Meta::Raw(8, latin), &["a string in UTF-8"]);
}

#[test]
fn the_alignment_is_a_power_of_two_in_32_bits() {
    for value in [Meta::U32(0), Meta::U32(48), Meta::U64(32), Meta::Bool(true), Meta::I32(32)] {
        assert_key_refused("general.alignment", value, &["field `general.alignment`"]);
    }
    let mut wide = tiny();
    (wide.alignment, wide.tensor_count) = (256, None);
    wide.add("general.alignment", Meta::U32(256));
    load(&write(&wide.bytes()).1).unwrap();
}

#[test]
fn tensors_have_names_and_shapes() {
    const NORM: &str = "output_norm.weight";
    assert_refused(|gguf| gguf.tensor(NORM).name = String::new(), &["a name of 1 to 63 bytes", "0 bytes"]);
    assert_refused(|gguf| gguf.tensor(NORM).name = "x".repeat(64), &["a name of 1 to 63 bytes", "64 bytes"]);
    assert_refused(
        |gguf| gguf.tensor(NORM).name = "blk.0.attn_norm.weight".into(),
        &["every name once, found it twice"],
    );
    for (dimensions, expected, found) in [
        (vec![1, 1, 1, 1, 8], "at most 4 dimensions", "found 5"),
        (vec![8, 0], "a shape whose size is not 0", "[0, 8]"),
        (vec![1 << 63, 2], "a shape whose size is not 0 and can be counted", "[2, 9223372036854775808]"),
        (vec![1 << 62, 1], "a shape whose size is not 0 and can be counted", "[1, 4611686018427387904]"),
    ] {
        assert_refused(|gguf| gguf.tensor(NORM).dimensions = dimensions, &[NORM, expected, found]);
    }
    assert_refused(
        |gguf| gguf.tensor(NORM).dimensions = vec![4, 2],
        &["tensor \"output_norm.weight\"", "shape [8]", "[2, 4]"],
    );
}

#[test]
fn tensors_are_of_a_type_that_is_read() {
    const DOWN: &str = "blk.0.ffn_down.weight";
    let typed = |kind: u32, dimensions: Vec<u64>, size: usize| {
        move |gguf: &mut Gguf| {
            let tensor = gguf.tensor(DOWN);
            (tensor.kind, tensor.dimensions, tensor.bytes) = (kind, dimensions, vec![0; size]);
        }
    };
    assert_refused(
        typed(4, vec![32], 32),
        &["tensor \"blk.0.ffn_down.weight\"", "a tensor type that is known", "type 4"],
    );
    assert_refused(typed(999, vec![32], 32), &["type 999"]);
    assert_refused(typed(12, vec![128], 72), &["rows of whole blocks of 256 elements, for Q4_K", "128 elements"]);
    assert_refused(typed(6, vec![32], 22), &["shape [8, 12]", "[32]"]);
    assert_refused(typed(24, vec![12, 8], 96), &["element type F32", "found I8"]);
}

#[test]
fn data_follows_itself_without_gaps() {
    let second = tiny().tensors[1].name.clone();
    let moved = |offset: u64| {
        let name = second.clone();
        move |gguf: &mut Gguf| gguf.tensor(&name).offset = Some(offset)
    };
    let right = tiny().tensors[0].bytes.len() as u64;
    assert_refused(moved(right + 1), &["an offset that is a multiple of 32"]);
    assert_refused(moved(right + 32), &[&format!("its data at offset {right}"), "a gap"]);
    assert_refused(moved(right - 32), &[&format!("its data at offset {right}"), "an overlap"]);
    assert_refused(moved(0), &["an overlap: offset 0"]);
    assert_refused(moved(u64::MAX - 31), &["an end that can be counted"]);
    let longer = [&tiny().bytes()[..], &[0; 100]].concat();
    load(&write(&longer).1).unwrap();
}

#[test]
fn every_tensor_of_the_model_is_there_and_no_other() {
    let missing = |gguf: &mut Gguf| gguf.tensors.retain(|tensor| tensor.name != "blk.1.ssm_out.weight");
    assert_refused(missing, &["tensor \"blk.1.ssm_out.weight\"", "shape [8, 8]", "no such tensor"]);
    let added = |name: &'static str| {
        move |gguf: &mut Gguf| {
            let mut more = gguf.tensor("output_norm.weight").clone();
            more.name = name.into();
            gguf.tensors.push(more);
        }
    };
    for name in ["blk.3.attn_q.bias", "blk.0.ffn_up.scale", "v.blk.0.ln1.weight", "blk.0.ffn_gate_inp.weight"] {
        assert_refused(added(name), &[&format!("tensor \"{name}\""), "a place in a model of qwen35"]);
    }
}

#[test]
fn values_are_finite() {
    let spoil = |gguf: &mut Gguf| gguf.tensor("blk.0.ssm_a").bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    assert_refused(spoil, &["tensor \"blk.0.ssm_a\"", "finite values", "inf at element 0"]);
}

#[test]
fn other_models_are_refused_by_name() {
    for architecture in ["qwen3next", "gemma3", "clip"] {
        let known = "\"qwen35\" or \"qwen35moe\" or \"qwen3\" or \"qwen3moe\" or \"llama\"";
        let parts = ["field `general.architecture`", known, architecture];
        assert_key_refused("general.architecture", Meta::Text(architecture.into()), &parts);
    }
    assert_refused(|gguf| gguf.remove("general.architecture"), &["`general.architecture`", "no such key"]);
    let adapter = Meta::Text("adapter".into());
    assert_key_refused("general.type", adapter, &["field `general.type`", "\"model\"", "found \"adapter\""]);
    let head_alone = |gguf: &mut Gguf| {
        gguf.add("qwen35.nextn_predict_layers", Meta::U32(1));
        gguf.tensors.retain(|tensor| tensor.name.starts_with("blk.3."));
    };
    assert_refused(head_alone, &["a whole model", "only its head that predicts several tokens"]);
}

#[test]
fn what_is_not_implemented_is_refused() {
    for (key, value) in [
        ("qwen35.expert_count", Meta::U32(8)),
        ("qwen35.attention.sliding_window", Meta::U32(512)),
        ("qwen35.final_logit_softcapping", Meta::F32(30.0)),
        ("qwen35.attention.causal", Meta::Bool(false)),
    ] {
        assert_key_refused(key, value, &[&format!("field `{key}`"), "nothing else is implemented"]);
    }
    let scaling = "qwen35.rope.scaling.type";
    assert_key_refused(scaling, Meta::Text("longrope".into()), &[&format!("field `{scaling}`"), "\"longrope\""]);
}

/// A model with experts.
fn with_experts() -> Gguf {
    converted(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/moe-published"))
}

#[test]
fn experts_are_as_many_and_as_large_as_the_file_says() {
    let refused = |change: &dyn Fn(&mut Gguf), parts: &[&str]| {
        let mut gguf = with_experts();
        change(&mut gguf);
        assert_bytes_refused(&gguf.bytes(), parts);
    };
    load(&write(&with_experts().bytes()).1).unwrap();
    let keys = [
        ("expert_count", 0, "an integer from 1 to 1024"),
        ("expert_count", 1 << 20, "an integer from 1 to 1024"),
        ("expert_used_count", 0, "an integer from 1 to 1024"),
        ("expert_used_count", 9, "at most num_experts = 8"),
        ("expert_feed_forward_length", 0, "an integer from 1 to"),
        ("expert_gating_func", 2, "1, a softmax (nothing else is implemented)"),
        ("expert_group_count", 4, "no such key, or 0"),
    ];
    for (key, value, expected) in keys {
        refused(&|gguf| gguf.set(&format!("qwen35moe.{key}"), Meta::U32(value)), &[expected, "found "]);
    }
    let more = |gguf: &mut Gguf| gguf.set("qwen35moe.expert_count", Meta::U32(9));
    refused(&more, &["9", "found "]);
    const DOWN: &str = "blk.1.ffn_down_exps.weight";
    let stack = format!("tensor \"{DOWN}\"");
    refused(&|gguf| gguf.tensors.retain(|tensor| tensor.name != DOWN), &[&stack, "no such tensor"]);
    let fewer = |gguf: &mut Gguf| {
        let tensor = gguf.tensor(DOWN);
        tensor.dimensions[2] -= 1;
        tensor.bytes.truncate(tensor.bytes.len() / 8 * 7);
    };
    refused(&fewer, &[&stack, "8 experts, as the configuration says", "shape [7, 64, 32]"]);
    // An inspection reads all experts as one tensor, and says where in that the value is.
    let mut gguf = with_experts();
    let tensor = gguf.tensor(DOWN);
    let last = tensor.bytes.len() - 2;
    tensor.bytes[last..].copy_from_slice(&0x7f80u16.to_le_bytes());
    let found = message(&write(&gguf.bytes()).1);
    assert!(
        found.contains(&format!("tensor \"{DOWN}[7]\": expected finite values, found inf at element 2047")),
        "{found}"
    );
}

#[test]
fn dimensions_fit_each_other() {
    for (key, value, parts) in [
        ("attention.recurrent_layers", Meta::Bools(vec![true; 3]), ["as many as block_count = 4", "3 bool"]),
        ("full_attention_interval", Meta::U32(0), ["a number above 0", "u32 0"]),
        ("ssm.inner_size", Meta::U32(9), ["a multiple of time_step_rank = 2 heads", "u32 9"]),
        ("ssm.time_step_rank", Meta::U32(0), ["a multiple of time_step_rank = 0 heads", "u32 8"]),
        ("nextn_predict_layers", Meta::U32(4), ["more layers than nextn_predict_layers = 4", "u32 4"]),
        ("attention.value_length", Meta::U32(4), ["8, as keys have", "u32 4"]),
        ("rope.dimension_count", Meta::U32(9), ["from 2 to 8", "u32 9"]),
        ("attention.head_count", Meta::U32s(vec![2, 2, 2, 4]), ["the same one for every layer", "4 u32[2, 2, 2, 4]"]),
    ] {
        let key = format!("qwen35.{key}");
        assert_refused(
            |gguf| {
                if key.ends_with("interval") {
                    gguf.remove("qwen35.attention.recurrent_layers");
                }
                gguf.set(&key, value);
            },
            &parts,
        );
    }
    // What only the reader of configurations knows names the file as well.
    assert_key_refused("qwen35.ssm.group_count", Meta::U32(3), &["linear_num_value_heads", "a multiple of"]);
}

#[test]
fn vocabularies_are_sound() {
    let tokens = |change: fn(&mut Vec<String>)| {
        move |gguf: &mut Gguf| {
            for (key, value) in &mut gguf.pairs {
                if let (b"tokenizer.ggml.tokens", Meta::Texts(tokens)) = (&key[..], value) {
                    change(tokens);
                }
            }
        }
    };
    assert_refused(tokens(|tokens| tokens[65] = tokens[66].clone()), &["`tokenizer.ggml.tokens`", "every token once"]);
    assert_refused(tokens(|tokens| tokens.truncate(260)), &["`tokenizer.ggml.token_type`", "260"]);
    for (key, value, parts) in [
        ("model", Meta::Text("llama".into()), ["\"gpt2\"", "string \"llama\""]),
        ("pre", Meta::Text("chatglm-bpe".into()), ["\"smollm\"", "string \"chatglm-bpe\""]),
        ("eos_token_id", Meta::U32(1000), ["an id below 272", "u32 1000"]),
        ("add_eos_token", Meta::Bool(true), ["false", "bool true"]),
        ("merges", Meta::Texts(vec!["l o".into(), "no such".into()]), ["two tokens", "\"no such\" at index 1"]),
        ("merges", Meta::Texts(vec!["lo".into()]), ["two tokens", "\"lo\" at index 0"]),
        ("token_type", Meta::I32s(vec![6; 272]), ["a type from 1 to 5", "6 for token 0"]),
    ] {
        let key = format!("tokenizer.ggml.{key}");
        assert_key_refused(&key, value, &[&[&*format!("field `{key}`")][..], &parts].concat());
    }
    let parts = ["field `tokenizer.ggml.bos_token_id`", "the token that begins every text", "no such key"];
    assert_key_refused("tokenizer.ggml.add_bos_token", Meta::Bool(true), &parts);
}

#[test]
fn a_message_shows_no_strange_characters() {
    let key = "\u{1b}[31m\n".repeat(40);
    assert_refused(
        |gguf| {
            gguf.add(&key, Meta::U32(1));
            gguf.add(&key, Meta::U32(1));
        },
        &["every key once", "\\u{1b}[31m\\n"],
    );
    let mut name = Vec::new();
    push_string(&mut name, "\u{1b}[31m".as_bytes());
    assert_key_refused("general.architecture", Meta::Raw(8, name), &["\\u{1b}[31m"]);
}
