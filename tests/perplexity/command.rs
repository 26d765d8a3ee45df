//! `loquent perplexity` as its users see it.

use std::fs;
use std::process::{Command, Output, Stdio};

use loquent::cpu::Isa;
use serde_json::Value;
use tempfile::TempDir;

use crate::tiny_checkpoint::TinyCheckpoint;

const TEXT: &str = "tests/fixtures/perplexity.txt";
const TIED: &str = "tests/fixtures/tied-bf16";

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loquent"));
    command.arg("perplexity");
    if !arguments.contains(&"--backend") {
        // The same on every machine, whatever graphics card is in it.
        command.args(["--backend", "cpu"]);
    }
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    // No test asks the real hub.
    command.env("HF_HUB_OFFLINE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary runs")
}

#[track_caller]
fn json(arguments: &[&str], code: i32) -> Value {
    let output = run(&[arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).expect("a JSON object")
}

/// Asserts that a run fails with `code`, writes nothing to stdout, and says all `parts`.
#[track_caller]
fn assert_fails(arguments: &[&str], code: i32, parts: &[&str]) {
    let output = run(arguments);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {message}");
    assert!(output.stdout.is_empty() && !message.contains("panicked"), "{message}");
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}

fn file(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The demo in four bits.
fn quantised(folder: &TempDir) -> String {
    let path = folder.path().join("q4").to_str().unwrap().to_owned();
    let mut quantize = Command::new(env!("CARGO_BIN_EXE_loquent"));
    quantize.args(["quantize", "assets/demo", &path]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(quantize.output().unwrap().status.success());
    path
}

#[test]
fn json_has_the_figures_and_what_they_are_of() {
    let windows = ["--window", "128", "--stride", "64"];
    let found = json(&[&["-m", "assets/demo", "--text", TEXT, "--exact", "-t", "1"][..], &windows].concat(), 0);
    assert_eq!(
        (&found["event"], &found["model"], &found["numerics"]),
        (&"done".into(), &"assets/demo".into(), &"exact".into())
    );
    assert_eq!((&found["tokens"], &found["window"], &found["stride"]), (&527.into(), &128.into(), &64.into()));
    assert_eq!((&found["backend"], &found["threads"]), (&"cpu".into(), &1.into()));
    let number = |name: &str| found[name].as_f64().unwrap_or_else(|| panic!("{name} in {found}"));
    assert!((number("nll") - 0.230_025).abs() < 1e-5 && (number("nll_standard_error") - 0.029_419).abs() < 1e-5);
    assert_eq!(number("perplexity"), number("nll").exp());
    assert_eq!(number("perplexity_standard_error"), number("perplexity") * number("nll_standard_error"));
    assert!((number("tokens_per_second") * number("seconds") - 527.0).abs() < 1e-6);
    assert!(found["isa"].is_string() && found["compare"].is_null());
}

#[test]
fn ids_are_read_like_the_text_they_stand_for() {
    let folder = TempDir::new().unwrap();
    let golden: Value = serde_json::from_str(include_str!("../fixtures/perplexity.json")).unwrap();
    let ids: Vec<String> = golden["cases"][0]["ids"].as_array().unwrap().iter().map(Value::to_string).collect();
    let expected = json(&["--text", TEXT], 0)["nll"].clone();
    for (index, separator) in [" ", ",", "\n", ", \r\n\t"].iter().enumerate() {
        let ids = file(&folder, &index.to_string(), ids.join(separator) + "\n");
        assert_eq!(json(&["--ids", &ids], 0)["nll"], expected, "{separator:?}");
    }
    let ids = file(&folder, "some", ids[..100].join(" "));
    assert_eq!(json(&["--ids", &ids], 0)["nll"], json(&["--text", TEXT, "--max-tokens", "100"], 0)["nll"]);
}

#[test]
fn a_comparison_says_how_far_and_whether_that_is_allowed() {
    let folder = TempDir::new().unwrap();
    let q4 = quantised(&folder);
    let arguments = ["-m", "assets/demo", "--text", TEXT, "--compare", &q4];
    let found = json(&[&arguments[..], &["--delta-threshold", "0.5"]].concat(), 0);
    let compare = &found["compare"];
    let number = |name: &str| compare[name].as_f64().unwrap_or_else(|| panic!("{name} in {compare}"));
    for name in ["nll", "perplexity", "nll_difference", "perplexity_ratio", "kl_divergence", "same_likeliest"] {
        assert!(number(&format!("{name}_standard_error")) > 0.0 && number(name).is_finite());
    }
    assert_eq!((&compare["passed"], &compare["delta_threshold"]), (&true.into(), &0.5.into()));
    let in_bf16 = if Isa::widest().multiplies_bf16() { "fast" } else { "exact" };
    assert_eq!((&found["numerics"], &compare["numerics"]), (&in_bf16.into(), &"fast".into()));
    assert!(number("kl_divergence") > 1e-4 && number("same_likeliest") < 1.0);
    let ratio = number("perplexity") / found["perplexity"].as_f64().unwrap();
    assert!((number("perplexity_ratio") - ratio).abs() < 1e-9);

    let found = json(&[&arguments[..], &["--delta-threshold", "1e-9"]].concat(), 1);
    assert_eq!((&found["compare"]["passed"], &found["compare"]["delta_threshold"]), (&false.into(), &1e-9.into()));
    let table = |threshold: &str| {
        let output = run(&[&arguments[..], &["--delta-threshold", threshold]].concat());
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    let (text, code) = table("0.5");
    assert!(text.contains("PASS: perplexity changes by ") && text.contains("of 50 % allowed"), "{text}");
    assert_eq!(code, Some(0));
    let (text, code) = table("1e-9");
    assert!(
        text.contains("FAIL: perplexity changes by ") && text.contains("assets/demo") && text.contains(&q4),
        "{text}"
    );
    assert_eq!(code, Some(1));
}

/// The demo in four bits after a rotation.
fn rotated(folder: &TempDir) -> String {
    let path = folder.path().join("quarot").to_str().unwrap().to_owned();
    let mut quantize = Command::new(env!("CARGO_BIN_EXE_loquent"));
    quantize.args(["quantize", "assets/demo", &path, "--method", "quarot"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(quantize.output().unwrap().status.success());
    path
}

#[test]
fn a_verdict_is_recorded_when_it_is_asked_for() {
    let folder = TempDir::new().unwrap();
    let directory = rotated(&folder);
    let path = std::path::Path::new(&directory).join("quantize_index.json");
    let index = || -> Value { serde_json::from_slice(&fs::read(&path).unwrap()).unwrap() };
    let before = index();
    assert_eq!(before["promotion"]["state"], "unpromoted");
    let arguments = ["-m", "assets/demo", "--text", TEXT, "--max-tokens", "200", "--compare", &directory];
    json(&[&arguments[..], &["--delta-threshold", "9"]].concat(), 0);
    assert_eq!(index(), before, "nobody asked");
    for (threshold, code, state) in [("9", 0, "promoted"), ("1e-9", 1, "rejected")] {
        json(&[&arguments[..], &["--record", "--delta-threshold", threshold]].concat(), code);
        let after = index();
        assert_eq!(after["promotion"]["state"], state);
        let reason = after["promotion"]["reason"].as_str().unwrap();
        for part in ["perplexity changes by ", "assets/demo", "199 tokens", "windows of 512 every 256"] {
            assert!(reason.contains(part), "{reason} does not say {part}");
        }
        assert_eq!((&after["tensors"], &after["quarot_seed"]), (&before["tensors"], &before["quarot_seed"]));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{after:#}"), "written as before");
    }
    let is_hidden = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().as_encoded_bytes()[0] == b'.';
    assert!(!fs::read_dir(&directory).unwrap().any(is_hidden), "nothing is left beside it");
}

#[test]
fn a_verdict_is_recorded_of_rotated_weights_only_and_that_is_said_at_once() {
    let folder = TempDir::new().unwrap();
    let q4 = quantised(&folder);
    let before = fs::read(folder.path().join("q4/quantize_index.json")).unwrap();
    let arguments = ["-m", "assets/demo", "--text", TEXT, "--record"];
    let expected = "expected the index of a rotated directory";
    assert_fails(&[&arguments[..], &["--compare", &q4]].concat(), 1, &["quantize_index.json", expected, "an array"]);
    assert_eq!(fs::read(folder.path().join("q4/quantize_index.json")).unwrap(), before);
    let plain = [&arguments[..], &["--compare", "assets/demo"]].concat();
    assert_fails(&plain, 1, &["quantize_index.json", expected, "no such file"]);
    assert_fails(&arguments, 2, &["--compare"]);
}

#[test]
fn the_same_weights_can_be_compared_under_both_numerics() {
    let folder = TempDir::new().unwrap();
    let q4 = quantised(&folder);
    let found = json(&["-m", &q4, "--exact", "--text", TEXT, "--compare", &q4, "--compare-numerics", "fast"], 0);
    assert_eq!((&found["numerics"], &found["compare"]["numerics"]), (&"exact".into(), &"fast".into()));
    assert!(found["compare"]["kl_divergence"].as_f64().unwrap() > 1e-7);
    let found = json(&["-m", &q4, "--exact", "--text", TEXT, "--compare", &q4], 0);
    assert_eq!(found["compare"]["numerics"], "exact");
    assert_eq!(found["compare"]["nll_difference"], 0.0);
}

#[test]
fn the_same_weights_can_be_compared_under_both_types_of_cache() {
    let folder = TempDir::new().unwrap();
    let q4 = quantised(&folder);
    let asked = ["-m", &q4, "--text", TEXT, "--compare", &q4];
    let found = json(&[&asked[..], &["--compare-cache-type", "f32"]].concat(), 0);
    assert_eq!((&found["cache_type"], &found["compare"]["cache_type"]), (&"f16".into(), &"f32".into()));
    let change = found["compare"]["perplexity_ratio"].as_f64().unwrap() - 1.0;
    assert!(change != 0.0 && change.abs() < 0.0002, "{change}");
    let found = json(&[&asked[..], &["--cache-type", "f32"]].concat(), 0);
    assert_eq!((&found["cache_type"], &found["compare"]["cache_type"]), (&"f32".into(), &"f32".into()));
    assert_eq!(found["compare"]["nll_difference"], 0.0);
}

#[test]
fn one_token_has_a_figure_without_an_error() {
    let found = json(&["--text", TEXT, "--max-tokens", "2"], 0);
    assert_eq!(found["tokens"], 1);
    assert!(found["nll"].is_f64() && found["nll_standard_error"].is_null());
}

#[test]
fn wrong_usage_exits_with_2() {
    assert_fails(&[], 2, &["--text", "--ids"]);
    assert_fails(&["--text", TEXT, "--ids", TEXT], 2, &["--text", "--ids"]);
    assert_fails(&["--text", TEXT, "--window", "1"], 2, &["window is 1", "at least 2"]);
    assert_fails(&["--text", TEXT, "--stride", "0"], 2, &["stride is 0", "1 to 512"]);
    assert_fails(&["--text", TEXT, "--stride", "513"], 2, &["stride is 513", "1 to 512"]);
    assert_fails(&["--text", TEXT, "--max-tokens", "1"], 2, &["--max-tokens"]);
    assert_fails(&["--text", TEXT, "--delta-threshold", "0.1"], 2, &["--compare"]);
    assert_fails(&["--text", TEXT, "--compare-numerics", "fast"], 2, &["--compare"]);
    for threshold in ["-1", "nan", "x"] {
        let threshold = format!("--delta-threshold={threshold}");
        assert_fails(&["--text", TEXT, "--compare", TIED, &threshold], 2, &["--delta-threshold", "at least 0"]);
    }
}

#[test]
fn files_must_hold_what_they_should() {
    let folder = TempDir::new().unwrap();
    assert_fails(&["--text", "no/such.txt"], 1, &["cannot read no/such.txt"]);
    assert_fails(&["--ids", "no/such.txt"], 1, &["cannot read no/such.txt"]);
    assert_fails(&["--text", "src"], 1, &["cannot read src"]);
    let wrong = file(&folder, "wrong.txt", b"abc\xff");
    assert_fails(&["--text", &wrong], 1, &[&wrong, "not UTF-8", "byte 3 is 0xff"]);
    assert_fails(&["--ids", &wrong], 1, &[&wrong, "not UTF-8"]);
    let empty = file(&folder, "empty.txt", "");
    assert_fails(&["--text", &empty], 1, &[&empty, "0 tokens", "at least 2"]);
    assert_fails(&["--ids", &empty], 1, &[&empty, "0 tokens", "at least 2"]);
    for id in ["x", "-1", "4294967296", "1.5", "1;2"] {
        let wrong = file(&folder, "ids.txt", format!("7 {id} 8"));
        assert_fails(&["--ids", &wrong], 1, &[&wrong, "entry 1", id, "expected a token id"]);
    }
    let beyond = file(&folder, "beyond.txt", "7 2048 8");
    assert_fails(&["--ids", &beyond], 1, &[&beyond, "demo", "token 1 of the text is 2048", "2048"]);
    assert_fails(&["--text", TEXT, "--window", "2049"], 1, &["demo", "window is 2049", "at most 2048"]);
    assert_fails(&["-m", TIED, "--text", TEXT], 1, &["--text needs a tokenizer", "--ids works without"]);
    assert_fails(&["--text", TEXT, "-m", "no/such"], 1, &["no/such"]);
}

#[test]
fn models_compared_must_speak_of_the_same_tokens() {
    assert_fails(&["--text", TEXT, "--compare", "no/such"], 1, &["no/such"]);
    assert_fails(&["--text", TEXT, "--compare", TIED], 1, &["demo", "2048", TIED, "288"]);
    let (tiny, other) = (TinyCheckpoint::new(), TinyCheckpoint::new());
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(other.file("tokenizer.json")).unwrap()).unwrap();
    tokenizer["model"]["merges"] = Value::Array(Vec::new());
    other.write("tokenizer.json", tokenizer.to_string());
    let folder = TempDir::new().unwrap();
    let text = file(&folder, "text", "lo lo");
    let [first, second] = [&tiny, &other].map(|tiny| tiny.path().to_str().unwrap());
    let arguments = ["--window", "32", "--stride", "16", "--text", &text, "-m", first, "--compare"];
    assert_fails(&[&arguments[..], &[second]].concat(), 1, &[second, "other tokens", first]);
    assert_eq!(json(&[&arguments[..], &[first]].concat(), 0)["compare"]["perplexity_ratio"], 1.0);
    // What has no tokenizer cannot contradict.
    other.remove("tokenizer.json");
    assert_eq!(json(&[&arguments[..], &[second]].concat(), 0)["compare"]["perplexity_ratio"], 1.0);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_nothing() {
    let folder = TempDir::new().unwrap();
    let ids = file(&folder, "ids", "7 ".repeat(2_000_000));
    let child = command(&["--ids", &ids]).spawn().unwrap();
    // Long enough to be loaded, and nowhere near the end.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
}
