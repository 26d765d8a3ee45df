//! What goes to stdout, stderr and files, and in which form.

use std::path::Path;

use loquent::cpu::Isa;
use serde_json::Value;

use crate::{fixture, json_lines, run, run_into_closed_pipe, stderr, stdout, success};

#[test]
fn a_prompt_is_continued_on_stdout_and_the_seed_is_named_on_stderr() {
    let output = run(&["generate", "Once upon a time", "-n", "20"]);
    assert!(output.status.success());
    let text = stdout(&output);
    assert!(text.starts_with("Once upon a time") && text.len() > "Once upon a time".len() + 20, "{text}");
    assert!(text.ends_with('\n'));
    assert!(stderr(&output).contains("seed "), "{}", stderr(&output));
}

#[test]
fn the_same_seed_gives_the_same_text_on_any_number_of_threads() {
    let text =
        |seed, threads| success(&["generate", "The dog", "-n", "60", "-s", seed, "-t", threads, "--temp", "1.2"]);
    let first = text("7", "1");
    assert_eq!(first, text("7", "2"));
    assert_eq!(first, text("7", "5"));
    assert_ne!(first, text("8", "1"), "another seed is another text");
}

#[test]
fn a_random_seed_is_printed_and_repeats_the_text() {
    let lines = json_lines(&success(&["generate", "The dog", "-n", "40", "--temp", "1.5", "--json"]));
    let seed = lines.last().expect("a line")["seed"].to_string();
    let again = json_lines(&success(&["generate", "The dog", "-n", "40", "--temp", "1.5", "--json", "-s", &seed]));
    let ids = |lines: &[Value]| lines.iter().map(|line| line["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&lines), ids(&again));
}

#[test]
fn json_says_how_it_was_computed_in_fact() {
    let computed = |arguments: &[&str]| {
        let text = success(&[&["generate", "Once", "-n", "1", "--json"], arguments].concat());
        let done = json_lines(&text).pop().expect("a line");
        ["numerics", "cache_type"].map(|field| done[field].as_str().expect("a word").to_owned())
    };
    assert_eq!(computed(&[]), ["fast", "f16"]);
    assert_eq!(computed(&["--cache-type", "f32"]), ["fast", "f32"]);
    assert_eq!(computed(&["--exact"]), ["exact", "f32"]);
    assert_eq!(computed(&["--exact", "--cache-type", "f16"]), ["exact", "f16"]);
    let in_bf16 = if Isa::widest().multiplies_bf16() { ["fast", "f16"] } else { ["exact", "f32"] };
    assert_eq!(computed(&["-m", "assets/demo"]), in_bf16, "no weight has four bits");
    assert_eq!(computed(&["-m", "assets/demo", "--exact"]), ["exact", "f32"]);
    assert_eq!(computed(&["-m", "assets/demo", "--exact", "--cache-type", "f16"]), ["exact", "f16"]);
}

#[test]
fn json_has_a_line_for_each_token_and_one_at_the_end() {
    let text = success(&["generate", "Once upon a time", "-n", "12", "--json", "--temp", "0", "--ignore-eos"]);
    let lines = json_lines(&text);
    assert_eq!(lines.len(), 13);
    for (index, line) in lines[..12].iter().enumerate() {
        assert_eq!((&line["event"], &line["index"]), (&"token".into(), &index.into()));
        assert!(line["id"].is_u64() && line["text"].is_string(), "{line}");
    }
    let done = &lines[12];
    assert_eq!(done["event"], "done");
    assert_eq!(done["finish_reason"], "length");
    assert_eq!(done["new_tokens"], 12);
    assert_eq!(done["backend"], "cpu");
    for field in [
        "prompt_tokens",
        "load_seconds",
        "prefill_seconds",
        "decode_seconds",
        "prefill_tokens_per_second",
        "decode_tokens_per_second",
        "seed",
    ] {
        assert!(done[field].as_f64().is_some_and(|number| number > 0.0) || field == "seed", "{field}: {done}");
    }
}

#[test]
fn text_and_json_say_the_same() {
    let arguments = ["generate", "The little bird", "-n", "50", "-s", "3"];
    let text = success(&arguments);
    let json = success(&[&arguments[..], &["--json"]].concat());
    let joined: String = json_lines(&json).iter().map(|line| line["text"].as_str().expect("text").to_owned()).collect();
    assert_eq!(text, format!("The little bird{joined}\n"));
}

#[test]
fn logits_are_written_whole_as_little_endian_f32() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("logits.f32");
    let model = fixture("untied-odd-f32");
    let path = file.to_str().expect("a path");
    success(&["generate", "-m", &model, "--prompt-ids", "5", "-n", "0", "--logits", path]);
    let golden = std::fs::read(Path::new(&model).join("golden.f32")).expect("golden.f32");
    let found = std::fs::read(&file).expect("the logits");
    assert_eq!(found.len(), golden.len() / 4, "golden.f32 has four prompts");
    let values = found.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    assert!(values.into_iter().all(f32::is_finite));
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1, "no temporary file is left");
}

#[test]
fn a_profile_lists_our_systems_and_a_trace_is_a_timeline() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("trace.json");
    let path = file.to_str().expect("a path");
    let output = run(&["generate", "The dog", "-n", "4", "--ignore-eos", "--profile", "--trace", path]);
    let table = stderr(&output);
    for system in ["mix_with_delta_net", "mix_with_attention", "run_mlp", "compute_logits", "emit_picks"] {
        assert!(table.contains(system), "{system} is not in {table}");
    }
    let trace: Value = serde_json::from_slice(&std::fs::read(&file).expect("a trace")).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    // Four steps of four layers.
    assert_eq!(events.iter().filter(|event| event["name"] == "run_mlp").count(), 16);
    assert!(events.windows(2).all(|pair| pair[0]["ts"].as_f64() <= pair[1]["ts"].as_f64()));
}

#[test]
fn a_profile_has_prompts_and_decoding_apart_and_its_page_appears_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("profile.html");
    let path = file.to_str().expect("a path");
    let arguments =
        ["generate", "The dog", "-n", "4", "--ignore-eos", "--backend", "cpu", "--profile", "--profile-html"];
    let output = run(&[&arguments[..], &[path]].concat());
    let tables = stderr(&output);
    for heading in ["prompt: 1 step of ", "decode: 3 steps of "] {
        assert!(tables.lines().any(|line| line.starts_with(heading)), "{tables}");
    }
    let page = std::fs::read_to_string(&file).expect("a page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
    assert!(page.contains("mix_with_delta_net") && page.contains("the demo"));
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 1, "no temporary file is left");
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let output =
        run_into_closed_pipe(&["generate", "Once upon a time", "--ignore-eos", "-n", "400", "--backend", "cpu"]);
    assert!(!stderr(&output).contains("panicked") && !stderr(&output).contains("error"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0));
}

#[cfg(unix)]
#[test]
fn a_device_stays_a_device_when_logits_are_written_to_it() {
    use std::os::unix::fs::FileTypeExt;
    success(&["generate", "a", "-n", "1", "--logits", "/dev/null"]);
    assert!(std::fs::metadata("/dev/null").expect("a device").file_type().is_char_device());
}

#[test]
fn a_seed_of_minus_one_is_a_random_one() {
    let seed = || {
        let text = success(&["generate", "The dog", "-n", "1", "--json", "-s", "-1"]);
        json_lines(&text).pop().expect("a line")["seed"].as_u64().expect("a seed")
    };
    assert_ne!(seed(), seed());
}

#[test]
fn keeping_no_share_of_the_probability_keeps_the_likeliest_token() {
    let text = |arguments: &[&str]| success(&[&["generate", "Once upon a time", "-n", "20"], arguments].concat());
    assert_eq!(text(&["--temp", "1.5", "--top-p", "0"]), text(&["--temp", "0"]));
}
