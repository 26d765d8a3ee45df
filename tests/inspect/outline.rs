//! What is predicted of a configuration alone, against checkpoints that have it.

use std::path::{Path, PathBuf};
use std::process::Command;

use loquent::checkpoint::ElementType;
use loquent::cpu::Numerics;
use loquent::inspect::{InspectOptions, InspectReport, Outline};
use serde_json::{Value, json};

use crate::inspect;
use crate::support::demo_in_four_bits;

const CONTEXT: usize = 40;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

#[track_caller]
fn assert_predicted(report: &InspectReport, element: ElementType) {
    let outline = Outline::new(report.config.clone().unwrap(), element);
    for numerics in [Numerics::Fast, Numerics::Exact] {
        assert_eq!(outline.footprint(numerics, None, CONTEXT), report.footprint(numerics, None, CONTEXT).unwrap());
    }
    #[cfg(feature = "gpu")]
    assert_eq!(outline.gpu_footprint(CONTEXT), report.gpu_footprint(CONTEXT).unwrap());
    let used = || report.tensors.iter().filter(|tensor| tensor.purpose.is_used()).map(|tensor| &tensor.entry);
    assert_eq!(outline.file_bytes(), used().map(|entry| entry.bytes.unwrap()).sum::<u64>());
    let count = |shape: &[usize]| shape.iter().product::<usize>() as u64;
    assert_eq!(outline.parameters(), used().map(|entry| count(&entry.shape)).sum::<u64>());
}

#[test]
fn a_configuration_predicts_what_its_checkpoint_takes() {
    for (name, element) in [
        ("tied-bf16", ElementType::Bf16),
        ("untied-odd-f32", ElementType::F32),
        ("published-f16", ElementType::F16),
        ("qwen3-tied", ElementType::Bf16),
    ] {
        assert_predicted(&inspect(&fixture(name), InspectOptions::default()), element);
    }
}

#[test]
fn it_predicts_what_a_conversion_to_four_bits_makes_of_it() {
    let (_folder, converted) = demo_in_four_bits();
    assert_predicted(&inspect(&converted, InspectOptions::default()), ElementType::Q4);
}

fn run(file: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loquent"));
    let output = command.arg("inspect").arg(file).args(options).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_says_it_of_a_model_that_this_machine_has_no_room_for() {
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/configs/qwen3.5-27b.json");
    let (code, text, message) = run(&config, &["--dtype", "q4", "--context", "1024", "--json"]);
    assert_eq!(code, Some(0), "{message}");
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["parameters"], 26_895_998_464_u64);
    assert_eq!((&found["dtype"], &found["model"]["layers"]), (&json!("Q4"), &json!(64)));
    // 16 layers with 4 heads of 256 keys and as many values, in half precision, as weights in blocks have it.
    assert_eq!(found["memory"]["kv_cache"], 16 * 2 * 4 * 256 * 2 * 1024);
    assert_eq!(found["memory"]["cache_type"], "f16");
    let (_, text, _) = run(&config, &["--dtype", "q4", "--context", "1024", "--json", "--cache-type", "f32"]);
    let single: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(single["memory"]["kv_cache"], 16 * 2 * 4 * 256 * 4 * 1024);
    // Five bits a weight, and a little for what is not in blocks.
    let [bytes, least] = [found["file_bytes"].as_u64().unwrap(), 26_895_998_464 / 8 * 5];
    assert!((least..least + least / 100).contains(&bytes), "{bytes}");
    assert_eq!(found["backends"][0]["backend"], "cpu");

    let (code, text, message) = run(&config, &[]);
    assert_eq!(code, Some(0), "{message}");
    assert!(text.contains("memory with a sequence of 4096 tokens, MB"), "{text}");
    assert!(text.contains("keys and values, f32"), "not of weights in BF16: {text}");
    let last = text.lines().last().unwrap();
    assert!(last.ends_with(": 64 layers, 26895998464 parameters; 53792.0 MB in files of BF16"), "{last}");
}

#[test]
fn what_does_not_go_with_a_configuration_alone_is_refused() {
    let config = fixture("tied-bf16/config.json");
    for (file, options, code, part) in [
        (&config, &["--symmetry"][..], 2, "--symmetry looks at weights"),
        (&config, &["--context", "100000"], 1, "max_position_embeddings"),
        (&fixture("tied-bf16"), &["--dtype", "q4"], 2, "--dtype is for a configuration alone"),
        (&fixture("perplexity.json"), &[], 1, "perplexity.json"),
    ] {
        let (found, text, message) = run(file, options);
        assert_eq!((found, &*text), (Some(code), ""), "{options:?}: {message}");
        assert!(message.contains(part), "{message}");
    }
}
