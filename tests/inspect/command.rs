//! `loquent inspect` as its users see it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::MATRIX;
use crate::tiny_checkpoint::{TinyCheckpoint, stored};

fn inspect(directory: &Path, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loquent"));
    command.arg("inspect").arg(directory).args(options);
    // No test asks the real hub.
    command.env("HF_HUB_OFFLINE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Stdout of a run that ends with `code`.
#[track_caller]
fn stdout(directory: &Path, options: &[&str], code: i32) -> String {
    let Output { status, stdout, stderr } = inspect(directory, options).output().expect("the binary runs");
    assert_eq!(status.code(), Some(code), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// Stderr of a run that ends with `code` and says nothing on stdout.
#[track_caller]
fn failure(directory: &Path, options: &[&str], code: i32) -> String {
    let Output { status, stdout, stderr } = inspect(directory, options).output().expect("the binary runs");
    let message = String::from_utf8(stderr).unwrap();
    assert_eq!((status.code(), &stdout[..]), (Some(code), &b""[..]), "{message}");
    message
}

/// The one object of a run that ends with `code`.
#[track_caller]
fn object(directory: &Path, options: &[&str], code: i32) -> Value {
    let text = stdout(directory, &[options, &["--json"]].concat(), code);
    assert_eq!(text.lines().count(), 1, "one object on one line");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_json_object_has_all_there_is_to_say() {
    let tiny = TinyCheckpoint::new();
    let found = object(tiny.path(), &["--context", "10"], 0);
    assert_eq!((&found["event"], &found["ok"]), (&json!("inspected"), &json!(true)));
    assert_eq!((&found["problems"], &found["warnings"]), (&json!([]), &json!([])));
    assert_eq!(found["model"]["layers"], 4);
    assert_eq!(found["model"]["rotation_seed"], Value::Null);
    let tensors = found["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), tiny.tensors.len());
    // The two ends of the model come first.
    assert_eq!(
        (&tensors[0]["name"], &tensors[1]["name"]),
        (&json!("model.embed_tokens.weight"), &json!("lm_head.weight"))
    );
    let matrix = json!({"name": MATRIX, "type": "F32", "shape": [8, 12], "bytes": 384, "file": "model.safetensors",
        "used": true, "why_unused": null});
    assert!(tensors.contains(&matrix), "{tensors:#?}");
    for file in found["files"].as_array().unwrap() {
        assert_eq!(file["sha256"].as_str().unwrap().len(), 64, "{file}");
    }
    let memory = &found["memory"];
    assert_eq!(memory["context"], 10);
    // Keys and values of one layer with one head of 8, in single precision, in blocks of 32 positions.
    assert_eq!(memory["kv_cache"], 2 * 8 * 4 * 32);
    let parts = ["mapped", "packed", "vectors", "kv_cache", "delta_state", "activations"];
    let sum: u64 = parts.iter().map(|part| memory[part].as_u64().unwrap()).sum();
    assert_eq!(memory["total"], sum);
    let backend = &found["backends"][0];
    assert!(backend["instruction_sets"].as_array().unwrap().contains(&backend["used"]), "{backend}");
    assert!(found["seconds"].as_f64().unwrap() > 0.0);
    assert!(found.get("symmetry").is_none() && found.get("compared").is_none(), "nobody asked");
    // The model has 64 positions.
    assert_eq!(object(tiny.path(), &[], 0)["memory"]["context"], 64);
}

/// What there is to say of adapters, on any machine.
#[cfg(feature = "gpu")]
#[test]
fn adapters_are_listed_with_their_limits_and_what_the_model_needs_of_them() {
    let tiny = TinyCheckpoint::new();
    let found = object(tiny.path(), &["--context", "10"], 0);
    let gpu = &found["backends"][1];
    assert_eq!(gpu["backend"], "gpu");
    // Keys and values are as on the CPU.
    assert_eq!(gpu["memory"]["kv_cache"], found["memory"]["kv_cache"]);
    let parts = ["matrices", "vectors", "kv_cache", "delta_state", "activations"];
    let sum: u64 = parts.iter().map(|part| gpu["memory"][part].as_u64().unwrap()).sum();
    assert_eq!(gpu["memory"]["total"], sum);
    let text = stdout(tiny.path(), &[], 0);
    for adapter in gpu["adapters"].as_array().unwrap() {
        assert!(adapter["max_storage_buffer_binding_size"].as_u64().unwrap() > 0, "{adapter}");
        assert!(adapter["limits_allow_model"].is_boolean() && adapter["memory"].is_null(), "{adapter}");
        assert!(text.contains(adapter["name"].as_str().unwrap()), "{adapter} in {text}");
    }
    assert!(text.lines().last().unwrap().contains(": no problems; "), "{text}");
}

#[cfg(all(feature = "gpu", target_os = "linux"))]
#[test]
fn a_vulkan_that_does_not_work_is_no_adapter_and_no_problem() {
    let tiny = TinyCheckpoint::new();
    // What the loader takes for a driver is none.
    let driver = tiny.file("config.json");
    let mut command = inspect(tiny.path(), &[]);
    command.env("VK_DRIVER_FILES", &driver).env("VK_ICD_FILENAMES", &driver);
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("gpu: no adapter that Vulkan, Metal or DirectX 12 can reach"), "{text}");
}

#[test]
fn problems_are_all_in_the_output_and_end_with_1() {
    let mut tiny = TinyCheckpoint::new();
    tiny.tensors.remove("model.norm.weight");
    tiny.tensors.get_mut(MATRIX).unwrap().bytes[..4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    tiny.tensors.insert("model.\u{1b}[2Jsurplus".into(), stored(&[3], 0));
    tiny.write_weights();
    tiny.write("chat_template.jinja", "{{");
    let found = object(tiny.path(), &["--symmetry"], 1);
    let problems = found["problems"].as_array().unwrap();
    assert_eq!((found["ok"].as_bool(), problems.len(), &found["memory"]), (Some(false), 2, &Value::Null));
    let figures = found["symmetry"].as_array().unwrap();
    let matrix = figures.iter().find(|tensor| tensor["tensor"] == "layers.0.mlp.down_proj.weight").unwrap();
    assert_eq!(matrix["figures"], Value::Null, "no figures of what is not finite");
    let text = stdout(tiny.path(), &[], 1);
    for message in problems.iter().chain(found["warnings"].as_array().unwrap()) {
        assert!(text.contains(message.as_str().unwrap()), "{message} in {text}");
    }
    assert!(text.contains("surplus  (not used: no place in the model)") && !text.contains('\u{1b}'), "{text}");
    assert!(text.lines().last().unwrap().contains(": 2 problems; "), "{text}");
}

#[test]
fn figures_of_two_directories_stand_side_by_side() {
    let (first, mut second) = (TinyCheckpoint::new(), TinyCheckpoint::multimodal());
    second.tensors.get_mut("model.language_model.layers.0.mlp.down_proj.weight").unwrap().bytes.fill(0);
    second.write_weights();
    let other = second.path().to_str().unwrap();
    let found = object(first.path(), &["--symmetry", "--compare", other], 0);
    let row = |found: &Value, name: &str| {
        let rows = found["symmetry"].as_array().unwrap();
        rows.iter().find(|row| row["tensor"] == name).unwrap_or_else(|| panic!("{name} in {rows:#?}")).clone()
    };
    let matrix = row(&found, "layers.0.mlp.down_proj.weight");
    assert!(matrix["figures"]["rms"].as_f64().unwrap() > 0.0 && matrix["compared"]["rms"] == 0.0, "{matrix}");
    assert_eq!((&matrix["matrix"], &matrix["figures"]["material"]), (&json!(true), &json!(true)));
    assert_eq!(matrix["compared"]["material"], false);
    // The second is tied: it has no head of its own.
    let head = row(&found, "lm_head.weight");
    assert!(head["figures"].is_object() && head["compared"].is_null(), "{head}");
    assert_eq!(found["compared"], json!({"directory": other, "problems": [], "warnings": []}));
    let found = object(second.path(), &["--symmetry", "--compare", first.path().to_str().unwrap()], 0);
    let head = row(&found, "lm_head.weight");
    assert!(head["figures"].is_null() && head["compared"].is_object(), "{head}");

    let text = stdout(first.path(), &["--symmetry", "--compare", other], 0);
    let line = text.lines().rfind(|line| line.contains(" lm_head.weight")).unwrap();
    let cells: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((cells[1], cells[3], cells[5], cells[6]), ("-", "-", "-", "lm_head.weight"), "{line}");
    // Problems of the second count as well.
    second.remove("config.json");
    assert!(stdout(first.path(), &["--symmetry", "--compare", other], 1).contains("config.json: expected"));
}

#[test]
fn matrices_whose_rows_lie_aside_are_marked() {
    let mut tiny = TinyCheckpoint::new();
    let [one, minus] = [1f32, -1.0].map(f32::to_le_bytes);
    let embedding = &mut tiny.tensors.get_mut("model.embed_tokens.weight").unwrap().bytes;
    *embedding = [one, minus].concat().repeat(embedding.len() / 8);
    let head = &mut tiny.tensors.get_mut("lm_head.weight").unwrap().bytes;
    *head = one.repeat(head.len() / 4);
    tiny.write_weights();
    let text = stdout(tiny.path(), &["--symmetry"], 0);
    let marked: Vec<&str> = text.lines().filter(|line| line.ends_with(" lm_head.weight  (asymmetric)")).collect();
    assert!(matches!(marked[..], [line] if line.trim_start().starts_with("100.00 ")), "{text}");
    assert!(text.lines().any(|line| line.ends_with(" embed_tokens.weight")), "this one is not");
    assert!(!text.contains(" layers.0.input_layernorm.weight"), "a vector is never in four bits");
}

#[test]
fn the_histogram_is_written_whole_or_not_at_all() {
    let tiny = TinyCheckpoint::new();
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("weights.svg");
    let path = file.to_str().unwrap();
    stdout(tiny.path(), &["--symmetry", "--histogram", path], 0);
    let svg = std::fs::read_to_string(&file).unwrap();
    assert_eq!((svg.ends_with("</svg>\n"), svg.matches("<g ").count()), (true, 14));
    std::fs::remove_file(&file).unwrap();
    let message = failure(&folder.path().join("absent"), &["--symmetry", "--histogram", path], 1);
    assert!(message.contains("absent: cannot open: "), "{message}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let message = failure(tiny.path(), &["--symmetry", "--histogram", "/absent/weights.svg"], 1);
    assert!(message.starts_with("error: cannot write /absent/weights.svg: "), "{message}");
}

#[test]
fn errors_go_to_stderr_and_end_with_their_code() {
    let tiny = TinyCheckpoint::new();
    let bad_usage: [&[&str]; 5] =
        [&["--context", "0"], &["--histogram", "x.svg"], &["--compare", "x"], &["--threads", "0"], &["another path"]];
    for options in bad_usage {
        failure(tiny.path(), options, 2);
    }
    let message = failure(&tiny.file("absent"), &["--json"], 1);
    assert!(message.starts_with("error: ") && message.contains("absent: cannot open: "), "{message}");
    assert_eq!(message.matches("os error").count(), 1, "the cause is said once: {message}");
    let message = failure(&tiny.file("model.safetensors"), &[], 1);
    assert!(
        message.contains("model.safetensors: expected a checkpoint's directory or a GGUF file, found"),
        "{message}"
    );
    let message = failure(tiny.path(), &["--context", "65"], 1);
    assert!(message.contains("--context: expected at most 64, the max_position_embeddings of"), "{message}");
    assert!(message.ends_with("config.json, found 65\n"), "{message}");
}

/// What `/proc` has on a process.
#[cfg(target_os = "linux")]
fn figure(process: u32, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_file_and_an_interrupt_ends_with_130() {
    use std::fs::File;
    use std::time::{Duration, Instant};

    const ROWS: u64 = 1 << 28;
    const EMBEDDING: &str = "model.embed_tokens.weight";
    let tiny = TinyCheckpoint::new().with_field("vocab_size", json!(ROWS));
    // Eight gigabytes of zeros that take no room on disk; what else is promised is missing.
    let data = ROWS * 8 * 4;
    let header = json!({EMBEDDING: {"dtype": "F32", "shape": [ROWS, 8], "data_offsets": [0, data]}}).to_string();
    let bytes = crate::tiny_checkpoint::file_with_header(&header, &[]);
    tiny.write("model.safetensors", &bytes);
    let file = File::options().write(true).open(tiny.file("model.safetensors")).unwrap();
    file.set_len(bytes.len() as u64 + data).unwrap();

    let mut child = inspect(tiny.path(), &["--symmetry"]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while figure(child.id(), "io", "rchar:") < 512 << 20 {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it reads half a gigabyte");
        std::thread::sleep(Duration::from_millis(5));
    }
    let kilobytes = figure(child.id(), "status", "VmHWM:");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!((1..96 << 10).contains(&kilobytes), "{kilobytes} kB");
}
