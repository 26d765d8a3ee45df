//! `loquent quantize` as its users see it.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::tiny_checkpoint::{Stored, TinyCheckpoint, file_with_header, text_config};
use crate::{content, entries, place};

fn quantize(source: &Path, destination: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loquent"));
    command.arg("quantize").arg(source).arg(destination).args(options);
    // No test asks the real hub.
    command.env("HF_HUB_OFFLINE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn run(source: &Path, destination: &Path, options: &[&str]) -> Output {
    quantize(source, destination, options).output().expect("the binary runs")
}

pub(crate) fn stdout(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap()
}

const LARGE: u64 = 256 << 20;

/// A checkpoint whose embedding alone has 256 MiB, all zeros that take no room on disk.
fn large() -> TinyCheckpoint {
    const EMBEDDING: &str = "model.embed_tokens.weight";
    let mut config = text_config();
    (config["hidden_size"], config["tie_word_embeddings"]) = (json!(64), json!(true));
    let mut tiny = TinyCheckpoint::with_config(config).with_field("vocab_size", json!(1 << 20));
    tiny.tensors.remove(EMBEDDING);
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, Stored { dtype, shape, bytes }) in &tiny.tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        header.insert(name.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let end = data.len() as u64 + LARGE;
    header.insert(EMBEDDING.into(), json!({"dtype": "F32", "shape": [1 << 20, 64], "data_offsets": [data.len(), end]}));
    let bytes = file_with_header(&Value::Object(header).to_string(), &data);
    let length = bytes.len() as u64 + LARGE;
    tiny.write("model.safetensors", bytes);
    File::options().write(true).open(tiny.file("model.safetensors")).unwrap().set_len(length).unwrap();
    tiny
}

/// Starts a run of some seconds and waits until it writes.
fn begin(source: &Path, destination: &Path, options: &[&str]) -> Child {
    let folder = destination.parent().unwrap();
    let child = quantize(source, destination, &[&["--scale", "mse"], options].concat()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let at_work = |name: &String| {
        let file = folder.join(name).join("model_embed_tokens_weight.q4");
        name.starts_with(".out.partial-") && file.exists()
    };
    while !entries(folder).iter().any(at_work) {
        assert!(Instant::now() < deadline, "nothing is written");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").arg(name).arg(child.id().to_string()).status().unwrap().success());
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_leaves_everything_as_it_was() {
    let tiny = large();
    let (folder, out) = place();
    fs::create_dir(&out).unwrap();
    fs::write(out.join("precious"), "yes").unwrap();
    for name in ["-INT", "-TERM"] {
        let child = begin(tiny.path(), &out, &["--force"]);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, b"");
        assert_eq!(entries(folder.path()), ["out"]);
        assert_eq!(entries(&out), ["precious"]);
    }
}

#[cfg(unix)]
#[test]
fn the_next_run_clears_up_after_a_killed_one() {
    let (folder, out) = place();
    let tiny = large();
    let mut child = begin(tiny.path(), &out, &[]);
    signal(&child, "-KILL");
    child.wait().unwrap();
    let left = entries(folder.path());
    assert!(left.len() == 1 && left[0].starts_with(".out.partial-"), "{left:?}");
    stdout(&run(TinyCheckpoint::new().path(), &out, &[]));
    assert_eq!(entries(folder.path()), ["out"]);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_checkpoint() {
    let tiny = large();
    // A check holds the logits of eight tokens in double precision, twice: here half of all bytes.
    for (options, limit) in [(&[][..], LARGE / 3), (&["--method", "quarot", "--scale", "minmax"], LARGE * 3 / 4)] {
        let (_folder, out) = place();
        let mut child = quantize(tiny.path(), &out, options).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            most = most.max(kilobytes.unwrap_or(0) * 1024);
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(child.wait().unwrap().success());

        assert!(most > 0 && most < limit, "{options:?}: {most} bytes for a checkpoint of {LARGE}");
    }
}

#[test]
fn a_table_says_what_became_of_each_part() {
    let tiny = TinyCheckpoint::new();
    let (_folder, out) = place();
    let output = run(tiny.path(), &out, &[]);
    let table = stdout(&output);
    let rows: Vec<&str> = table.lines().map(|line| line.get(..12).unwrap_or(line).trim_end()).collect();
    let parts = ["part", "embedding", "head", "attention", "delta net", "mlp", "kept at f16", "total"];
    assert_eq!(rows[..8], parts, "{table}");
    assert_eq!(table.lines().count(), 9, "{table}");
    assert!(table.lines().nth(8).unwrap().contains(" s; "), "{table}");
    assert_eq!(output.stderr, b"");
}

#[test]
fn json_says_the_same_in_one_object() {
    let tiny = TinyCheckpoint::new();
    let (_folder, out) = place();
    let done: Value = serde_json::from_str(stdout(&run(tiny.path(), &out, &["--json", "-t", "1"]))).unwrap();
    let sizes = |field: &str| {
        let parts = done["parts"].as_array().unwrap().iter();
        parts.map(|part| part[field].as_u64().unwrap()).sum::<u64>()
    };
    let source: usize = tiny.tensors.values().map(|tensor| tensor.bytes.len()).sum();
    let written: usize = content(&out)
        .iter()
        .filter(|(file, _)| file.extension().is_some_and(|end| end == "q4" || end == "f16"))
        .map(|(_, bytes)| bytes.len())
        .sum();
    for (field, expected) in [("source_bytes", source), ("written_bytes", written), ("tensors", tiny.tensors.len())] {
        assert_eq!(done["total"][field], expected, "{field}");
        assert_eq!(sizes(field), expected as u64, "{field}");
    }
    let errors = done["parts"].as_array().unwrap().iter().map(|part| part["relative_rms_error"].as_f64().unwrap());
    for (part, error) in done["parts"].as_array().unwrap().iter().zip(errors) {
        // Multiples of 1/128 are halves; uniform weights in sixteen steps are off by some percent.
        let expected = if part["part"] == "kept at f16" { 0.0..=0.0 } else { 0.02..=0.1 };
        assert!(expected.contains(&error), "{part}");
    }
    assert!(done["seconds"].as_f64().unwrap() > 0.0 && done["dry_run"] == false, "{done}");
}

#[test]
fn scales_and_encodings_are_those_that_were_asked_for() {
    let tiny = TinyCheckpoint::new();
    let error = |options: &[&str]| {
        let (_folder, out) = place();
        let done: Value = serde_json::from_str(stdout(&run(tiny.path(), &out, options))).unwrap();
        (done["total"]["relative_rms_error"].as_f64().unwrap(), content(&out))
    };
    let (plain, files) = error(&["--json"]);
    assert_eq!(error(&["--json", "--method", "q4", "--scale", "minmax", "--encoding", "asymmetric"]).1, files);
    assert!(error(&["--json", "--scale", "mse"]).0 < plain);
    assert!(error(&["--json", "--encoding", "symmetric"]).0 > plain);
}

#[test]
fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    let table = stdout(&run(tiny.path(), &out, &["--dry-run"])).to_owned();
    assert!(table.ends_with("nothing was written\n") && !table.contains("error"), "{table}");
    let dry: Value = serde_json::from_str(stdout(&run(tiny.path(), &out, &["--dry-run", "--json"]))).unwrap();
    assert!(entries(folder.path()).is_empty());
    let wet: Value = serde_json::from_str(stdout(&run(tiny.path(), &out, &["--json"]))).unwrap();
    assert_eq!(dry["total"]["written_bytes"], wet["total"]["written_bytes"]);
    assert!(dry["total"]["relative_rms_error"].is_null() && dry["dry_run"] == true, "{dry}");
    // What is there is refused here, too, unless it is to be replaced.
    let before = content(&out);
    let output = run(tiny.path(), &out, &["--dry-run"]);
    assert_eq!(output.status.code(), Some(1));
    stdout(&run(tiny.path(), &out, &["--dry-run", "--force"]));
    assert_eq!(content(&out), before);
}

#[test]
fn errors_go_to_stderr_and_end_with_their_code() {
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    let bad_usage: [&[&str]; 4] = [&["--method", "q9"], &["--scale", "best"], &["--threads", "0"], &["a third path"]];
    for options in bad_usage {
        let output = run(tiny.path(), &out, options);
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]), "{options:?}");
    }
    let output = run(&folder.path().join("absent"), &out, &[]);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.starts_with("error: ") && message.contains("absent: cannot open: "), "{message}");
    assert_eq!(message.matches("os error").count(), 1, "the cause is said once: {message}");
    assert!(entries(folder.path()).is_empty());
}
