//! The program takes a GGUF file wherever it takes a directory.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::gguf::{Meta, converted};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer-bf16")
}

fn model() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, converted(&fixture()).bytes()).unwrap();
    (folder, path)
}

fn loquent(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loquent")).args(args).env("LOQUENT_BACKEND", "cpu").output().unwrap()
}

#[track_caller]
fn succeed(args: &[&str]) -> String {
    let output = loquent(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_generates_the_same_text() {
    let (_folder, gguf) = model();
    for arguments in [&["The delta"][..], &["--chat", "Name a colour."]] {
        let generate = |path: &Path| {
            let path = path.to_str().unwrap();
            let mut args = vec!["generate", "-m", path, "--backend", "cpu", "--exact", "--temp", "0", "-n", "24"];
            args.extend(arguments);
            succeed(&args)
        };
        assert_eq!(generate(&fixture()), generate(&gguf), "{arguments:?}");
    }
}

#[test]
fn it_measures_the_same_perplexity() {
    let (folder, gguf) = model();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "The delta net keeps one matrix for each head, and every token writes a little.").unwrap();
    let measure = |path: &Path| {
        let text = text.to_str().unwrap();
        let args = ["perplexity", "-m", path.to_str().unwrap(), "--exact", "--json", "--text", text];
        let report = succeed(&args);
        let done: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
        done["perplexity"].as_f64().unwrap()
    };
    assert_eq!(measure(&fixture()), measure(&gguf));
}

/// Two turns, the second of which has the first in mind.
#[test]
fn it_has_the_same_conversation() {
    let (_folder, gguf) = model();
    let chat = |path: &Path| {
        let args = ["chat", "-m", path.to_str().unwrap(), "--exact", "--temp", "0", "-n", "12", "--json"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_loquent"));
        command.args(args).args(["--backend", "cpu"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"Name a colour.\nAnd another?\n").unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let lines = String::from_utf8(output.stdout).unwrap();
        let text = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
        lines.lines().map(text).collect::<Vec<_>>()
    };
    let expected = chat(&fixture());
    assert_eq!(expected.len(), 2);
    assert_eq!(chat(&gguf), expected);
}

#[test]
fn it_measures_the_speed_of_as_many_weights() {
    let (_folder, gguf) = model();
    let bench = |path: &Path| {
        let args = ["bench", "-m", path.to_str().unwrap(), "-p", "4", "-n", "2", "-r", "1", "--json"];
        let report = succeed(&[&args[..], &["--backend", "cpu"]].concat());
        let done: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
        assert!(done["decode_tokens_per_second"].as_f64().unwrap() > 0.0, "{done}");
        done["weight_bytes_per_token"].as_u64().unwrap()
    };
    let (expected, found) = (bench(&fixture()), bench(&gguf));
    // Vectors are in single precision in the file, and a few in a hundred.
    assert!((expected..expected + expected / 20).contains(&found), "{found} for {expected}");
}

#[test]
fn it_inspects_the_file() {
    let (_folder, gguf) = model();
    let text = succeed(&["inspect", gguf.to_str().unwrap()]);
    for part in [
        "metadata\n",
        "general.architecture",
        "string \"qwen35\"",
        "400 string[\"<|endoftext|>\", ",
        "blk.0.ssm_conv1d.weight",
        "BF16 [400, 48]",
        "no problems",
        "tensors used",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let object: Value = serde_json::from_str(&succeed(&["inspect", "--json", gguf.to_str().unwrap()])).unwrap();
    assert_eq!(object["metadata"]["qwen35.block_count"], "u32 4");
    assert_eq!(object["files"].as_array().unwrap().len(), 1);
    assert!(object["tensors"].as_array().unwrap().iter().all(|tensor| tensor["used"] == true));
}

#[test]
fn it_says_everything_that_is_wrong_at_once() {
    let mut gguf = converted(&fixture());
    gguf.tensors.retain(|tensor| tensor.name != "blk.0.ssm_out.weight");
    gguf.tensor("blk.1.ffn_up.weight").kind = 4;
    gguf.tensor("output_norm.weight").name = "output_norm.bias".into();
    gguf.set("tokenizer.ggml.pre", Meta::Text("unknown".into()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, gguf.bytes()).unwrap();
    let output = loquent(&["inspect", path.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "tensor \"blk.0.ssm_out.weight\": expected shape [48, 64], found no such tensor",
        "tensor \"blk.1.ffn_up.weight\": expected a tensor type that is known",
        "tensor \"output_norm.bias\": expected only tensors with a place",
        "tensor \"output_norm.weight\": expected shape [48], found no such tensor",
        "field `tokenizer.ggml.pre`",
        "5 problems",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

/// Its four bits are those of the published files, and what is written beside them is enough to use it.
#[test]
fn it_quantizes_the_file() {
    let (folder, gguf) = model();
    let [from_directory, from_file] = ["a", "b"].map(|name| folder.path().join(name));
    succeed(&["quantize", fixture().to_str().unwrap(), from_directory.to_str().unwrap()]);
    succeed(&["quantize", gguf.to_str().unwrap(), from_file.to_str().unwrap()]);
    let mut compared = 0;
    for entry in std::fs::read_dir(&from_directory).unwrap() {
        let name = entry.unwrap().file_name();
        let [expected, found] = [&from_directory, &from_file].map(|folder| std::fs::read(folder.join(&name)));
        let (expected, name) = (expected.unwrap(), name.to_string_lossy().into_owned());
        if name.ends_with(".q4") || name == "quantize_index.json" {
            assert_eq!(found.unwrap(), expected, "{name}");
            compared += 1;
        } else if name.ends_with(".f16") {
            let [expected, found] = [expected, found.unwrap()].map(|bytes| halves(&bytes));
            assert_eq!(expected.len(), found.len());
            // What was added to a weight and taken off again is off by a rounding of singles at most.
            let off = expected.iter().zip(&found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(off < 4e-3, "{name}: {off}");
            compared += 1;
        }
    }
    assert!(compared > 40, "{compared}");
    let generate = |path: &Path| {
        let path = path.to_str().unwrap();
        succeed(&["generate", "-m", path, "--backend", "cpu", "--exact", "--temp", "0", "-n", "8", "--chat", "Hello"])
    };
    assert!(!generate(&from_file).is_empty());
}

fn halves(file: &[u8]) -> Vec<f32> {
    let dimensions = u32::from_le_bytes(file[8..12].try_into().unwrap()) as usize;
    let payload = &file[12 + 8 * (dimensions + 1)..];
    payload.chunks(2).map(|half| half::f16::from_le_bytes([half[0], half[1]]).to_f32()).collect()
}

#[test]
fn it_rotates_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sharded-bf16");
    let gguf = folder.path().join("model.gguf");
    std::fs::write(&gguf, converted(&directory).bytes()).unwrap();
    let rotated = folder.path().join("rotated");
    let report = succeed(&["quantize", "--method", "quarot", gguf.to_str().unwrap(), rotated.to_str().unwrap()]);
    assert!(report.contains("rotated, its logits are within"), "{report}");
}

#[test]
fn a_file_that_is_none_is_called_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\n").unwrap();
    let output = loquent(&["generate", "-m", path.to_str().unwrap(), "x"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("Git LFS pointer"), "{message}");
}
