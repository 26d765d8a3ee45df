//! Files that are missing, of the wrong kind, too large, or not what their names promise.

use std::fs;

use loquent::checkpoint::{Checkpoint, ModelConfig};
use serde_json::json;

use crate::tiny_checkpoint::TinyCheckpoint;

const EVERY_FILE: [&str; 4] = ["config.json", "tokenizer.json", "chat_template.jinja", "model.safetensors"];

#[test]
fn a_directory_that_is_not_there_or_is_a_file_is_refused() {
    let tiny = TinyCheckpoint::new();
    let message = Checkpoint::open(&tiny.file("nowhere")).unwrap_err().to_string();
    assert!(message.contains("nowhere: cannot open"), "{message}");
    let message = Checkpoint::open(&tiny.file("config.json")).unwrap_err().to_string();
    assert!(message.contains("config.json: expected a checkpoint's directory or a GGUF file, found"), "{message}");
}

#[test]
fn a_missing_configuration_is_refused() {
    let tiny = TinyCheckpoint::new();
    tiny.remove("config.json");
    tiny.assert_refused("config.json", &["expected a model's configuration", "found no such file"]);
    let message = ModelConfig::read(&tiny.file("config.json")).unwrap_err().to_string();
    assert!(message.contains("found no such file"), "{message}");
}

#[test]
fn missing_weights_are_refused() {
    let tiny = TinyCheckpoint::new();
    tiny.remove("model.safetensors");
    tiny.assert_refused("model.safetensors", &["model.safetensors.index.json", "found no such file"]);
}

#[test]
fn an_empty_file_is_refused() {
    for file in EVERY_FILE {
        let tiny = TinyCheckpoint::new();
        tiny.write(file, "");
        tiny.assert_refused(file, &["found an empty file"]);
    }
}

#[test]
fn a_git_lfs_pointer_is_refused() {
    for file in EVERY_FILE {
        let tiny = TinyCheckpoint::new();
        tiny.write(file, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1234\n");
        tiny.assert_refused(file, &["found a Git LFS pointer"]);
    }
}

#[test]
fn a_directory_in_a_files_place_is_refused() {
    for file in EVERY_FILE.into_iter().chain(["generation_config.json", "tokenizer_config.json"]) {
        let tiny = TinyCheckpoint::new();
        let _ = fs::remove_file(tiny.file(file));
        fs::create_dir(tiny.file(file)).unwrap();
        tiny.assert_refused(file, &["expected a regular file", "found a directory"]);
    }
}

#[cfg(unix)]
#[test]
fn a_fifo_is_refused_and_not_waited_for() {
    for file in EVERY_FILE {
        let tiny = TinyCheckpoint::new();
        tiny.remove(file);
        let made = std::process::Command::new("mkfifo").arg(tiny.file(file)).status().unwrap();
        assert!(made.success());
        tiny.assert_refused(file, &["expected a regular file", "found a FIFO"]);
    }
}

#[cfg(unix)]
#[test]
fn a_link_to_nowhere_is_refused_and_a_link_to_a_file_is_followed() {
    let tiny = TinyCheckpoint::new();
    tiny.remove("tokenizer.json");
    std::os::unix::fs::symlink("blobs/tokenizer", tiny.file("tokenizer.json")).unwrap();
    tiny.assert_refused("tokenizer.json", &["cannot open"]);
    fs::create_dir(tiny.file("blobs")).unwrap();
    tiny.write("blobs/tokenizer", crate::tiny_checkpoint::tokenizer().to_string());
    assert!(tiny.load().unwrap().tokenizer.is_some());
}

#[test]
fn json_files_have_a_largest_size() {
    for (file, limit) in [
        ("config.json", 1 << 20),
        ("generation_config.json", 1 << 20),
        ("chat_template.jinja", 1 << 20),
        ("tokenizer_config.json", 16 << 20),
        ("tokenizer.json", 64 << 20),
    ] {
        let tiny = TinyCheckpoint::new();
        tiny.write(file, "");
        // Sparse: as long as it says, without the disk space.
        fs::File::options().write(true).open(tiny.file(file)).unwrap().set_len(limit + 1).unwrap();
        let expected = format!("expected at most {limit} bytes, found {} bytes", limit + 1);
        tiny.assert_refused(file, &[&expected]);
    }
}

#[test]
fn a_json_file_of_the_largest_size_is_read_to_its_end() {
    let tiny = TinyCheckpoint::new();
    let text = fs::read_to_string(tiny.file("config.json")).unwrap();
    let (start, end) = text.trim_end().rsplit_once('}').unwrap();
    let space = " ".repeat((1 << 20) - start.len() - end.len() - 1);
    tiny.write("config.json", format!("{start}{space}}}{end}"));
    Checkpoint::open(tiny.path()).unwrap();
}

#[test]
fn text_that_is_no_utf_8_is_refused() {
    let tiny = TinyCheckpoint::new();
    tiny.write("config.json", b"{\"model_type\": \"\xff\"}");
    tiny.assert_refused("config.json", &["expected UTF-8 text", "invalid byte at position 16"]);
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        for file in ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"] {
            let tiny = TinyCheckpoint::new();
            tiny.write(file, &deep);
            tiny.assert_refused(file, &["found", " at line 1"]);
        }
    }
}

#[test]
fn truncated_json_and_json_of_another_kind_are_refused() {
    for file in ["config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"] {
        let tiny = TinyCheckpoint::new();
        tiny.write(file, "{\"version\": \"1.0\", ");
        tiny.assert_refused(file, &["EOF"]);
        tiny.write(file, "[1, 2]");
        tiny.assert_refused(file, &["expected"]);
    }
}

#[test]
fn a_field_given_twice_is_refused() {
    let tiny = TinyCheckpoint::new();
    let text = tiny.config.to_string().replacen('{', "{\"hidden_size\": 16, ", 1);
    tiny.write("config.json", text);
    tiny.assert_refused("config.json", &["every name used once", "\"hidden_size\" for the second time"]);
}

#[test]
fn a_shard_that_is_missing_is_refused() {
    let tiny = TinyCheckpoint::new();
    tiny.shard();
    tiny.remove("model-00002-of-00002.safetensors");
    tiny.assert_refused("model-00002-of-00002.safetensors", &["index.json names", "found no such file"]);
}

#[test]
fn an_index_may_not_lead_out_of_the_directory() {
    let outside = TinyCheckpoint::new();
    let absolute = outside.file("model.safetensors").display().to_string();
    for name in
        ["../x.safetensors", &absolute, "a/../b", "..", ".", "", "sub/x.safetensors", "a\\b", "C:x", "x/", "\u{9b}2J"]
    {
        let tiny = TinyCheckpoint::new();
        tiny.shard();
        tiny.write("model.safetensors.index.json", json!({"weight_map": {"norm.weight": name}}).to_string());
        let found = format!("found {name:?}");
        let parts = ["`weight_map.norm.weight`", "a file in the same directory", &found];
        tiny.assert_refused("model.safetensors.index.json", &parts);
    }
}

#[test]
fn names_in_an_index_are_escaped_and_cut() {
    let tiny = TinyCheckpoint::new();
    tiny.shard();
    for (tensor, shown) in [("\u{1b}[2J\n", "`weight_map.\\u{1b}[2J\\n`"), (&"x".repeat(100_000), "xxx`")] {
        tiny.write("model.safetensors.index.json", json!({"weight_map": {tensor: 7}}).to_string());
        tiny.assert_refused("model.safetensors.index.json", &[shown, "a string"]);
    }
    let long = "x".repeat(256);
    tiny.write("model.safetensors.index.json", json!({"weight_map": {"norm.weight": long}}).to_string());
    tiny.assert_refused("model.safetensors.index.json", &["a file in the same directory", "xxx\"…"]);
}

#[test]
fn an_index_must_have_a_map_of_names() {
    for (index, field) in [
        (json!({}), "`weight_map`"),
        (json!({"weight_map": []}), "`weight_map`"),
        (json!({"weight_map": {"norm.weight": 1}}), "`weight_map.norm.weight`"),
        (json!({"weight_map": {"norm.weight": null}}), "`weight_map.norm.weight`"),
    ] {
        let tiny = TinyCheckpoint::new();
        tiny.shard();
        tiny.write("model.safetensors.index.json", index.to_string());
        tiny.assert_refused("model.safetensors.index.json", &[field, "found"]);
    }
}
