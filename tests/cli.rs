//! What the binary promises to its users: what goes where, what it exits with, and what it says when it cannot.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn loquent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loquent"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    loquent(arguments).output().expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8 on stdout")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8 on stderr")
}

/// Stdout of a run that must succeed.
fn success(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// Stderr of a run that must fail with `code` and write nothing to stdout.
fn failure(arguments: &[&str], code: i32) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    assert_eq!(stdout(&output), "", "{arguments:?}");
    let message = stderr(&output);
    assert!(!message.contains("panicked"), "{message}");
    message
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

fn fixture(name: &str) -> String {
    format!("tests/fixtures/{name}")
}

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
    let numerics = |arguments: &[&str]| {
        let text = success(&[&["generate", "Once", "-n", "1", "--json"], arguments].concat());
        json_lines(&text).last().expect("a line")["numerics"].clone()
    };
    assert_eq!(numerics(&[]), "fast");
    assert_eq!(numerics(&["--exact"]), "exact");
    assert_eq!(numerics(&["-m", "assets/demo"]), "exact", "no weight has four bits");
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
fn a_stop_string_ends_the_text_before_it_even_across_tokens() {
    let whole = success(&["generate", "Once upon a time", "-n", "60", "--temp", "0"]);
    // From the middle of a word to the middle of another: no token holds all of it.
    let start = "Once upon a time".len() + 40;
    let stop = &whole[start..start + 15];
    let first = whole["Once upon a time".len()..].find(stop).expect("there") + "Once upon a time".len();
    let cut = success(&["generate", "Once upon a time", "-n", "60", "--temp", "0", "--stop", stop]);
    assert_eq!(cut, format!("{}\n", &whole[..first]));
    let json = success(&["generate", "Once upon a time", "-n", "60", "--temp", "0", "--stop", stop, "--json"]);
    assert_eq!(json_lines(&json).last().expect("a line")["finish_reason"], "stop");
}

#[test]
fn end_of_sequence_ends_the_text_unless_ignored() {
    let ends = json_lines(&success(&["generate", "Once upon a time", "--json", "-s", "1"]));
    let done = ends.last().expect("a line");
    assert_eq!(done["finish_reason"], "stop", "a story of the demo ends by itself");
    let length = done["new_tokens"].as_u64().expect("a count") + 5;
    let arguments = ["generate", "Once upon a time", "--json", "-s", "1", "--ignore-eos", "-n", &length.to_string()];
    let goes_on = json_lines(&success(&arguments));
    assert_eq!(goes_on.last().expect("a line")["finish_reason"], "length");
}

#[test]
fn a_chat_answers_without_repeating_the_question() {
    let text = success(&["generate", "--chat", "Tell me a story about a cat.", "-n", "30", "-s", "1"]);
    assert!(!text.contains("Tell me") && text.trim().len() > 20, "{text}");
}

#[test]
fn token_ids_work_without_a_tokenizer() {
    let model = fixture("tied-bf16");
    let arguments = ["generate", "-m", &model, "--prompt-ids", "1, 2,3", "-n", "5", "--temp", "0"];
    let text = success(&arguments);
    let ids: Vec<u32> = text.split_whitespace().map(|id| id.parse().expect("an id")).collect();
    assert_eq!(ids.len(), 5);
    let json = json_lines(&success(&[&arguments[..], &["--json"]].concat()));
    assert_eq!(json[4]["id"], ids[4]);
    assert_eq!(json[4]["text"], "");
}

#[test]
fn the_prompt_may_come_from_a_file_or_stdin() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("prompt.txt");
    std::fs::write(&file, "The little bird\n").expect("a file");
    let expected = success(&["generate", "The little bird", "-n", "9", "-s", "3"]);
    assert_eq!(success(&["generate", "-f", file.to_str().expect("a path"), "-n", "9", "-s", "3"]), expected);
    let piped = loquent(&["generate", "-n", "9", "-s", "3"])
        .stdin(std::fs::File::open(&file).expect("a file"))
        .output()
        .expect("the binary runs");
    assert_eq!(stdout(&piped), expected);
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

/// A run whose reader closes the pipe before anything is written.
fn run_into_closed_pipe(arguments: &[&str]) -> Output {
    let mut child = loquent(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let output = run_into_closed_pipe(&["generate", "Once upon a time", "--ignore-eos", "-n", "400"]);
    assert!(!stderr(&output).contains("panicked") && !stderr(&output).contains("error"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_closed_pipe_ends_a_benchmark_quietly() {
    for form in [&["--json"][..], &[]] {
        let output = run_into_closed_pipe(&[&["bench", "-p", "4", "-n", "4", "-r", "3"], form].concat());
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    }
}

#[cfg(unix)]
#[test]
fn a_device_stays_a_device_when_logits_are_written_to_it() {
    use std::os::unix::fs::FileTypeExt;
    success(&["generate", "a", "-n", "1", "--logits", "/dev/null"]);
    assert!(std::fs::metadata("/dev/null").expect("a device").file_type().is_char_device());
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_generated_and_exits_with_130() {
    let mut child = loquent(&["generate", "Once upon a time", "--ignore-eos", "--json", "-n", "1500"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout"));
    let mut first = String::new();
    lines.read_line(&mut first).expect("a token");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(killed.success());
    let mut rest = String::new();
    lines.read_to_string(&mut rest).expect("what is left");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let done = json_lines(&rest).pop().expect("a last line");
    assert_eq!((&done["event"], &done["finish_reason"]), (&"done".into(), &"interrupted".into()));
    assert_eq!(done["new_tokens"], rest.lines().count(), "a line for each token, the first and the last");
}

#[test]
fn what_cannot_fit_the_context_is_an_error_before_any_work() {
    let message = failure(&["generate", "Once upon a time", "-n", "60", "-c", "40"], 1);
    assert!(message.contains("context would overflow") && message.contains("60 new ones, where 40 fit"), "{message}");
    let message = failure(&["generate", "Once upon a time", "-n", "1000000"], 1);
    assert!(message.contains("context would overflow"), "{message}");
    let message = failure(&["generate", "Once upon a time", "-c", "1000000"], 1);
    assert!(message.contains("--ctx-size is 1000000: expected 1 to"), "{message}");
    let message = failure(&["generate", "Once upon a time", "-c", "2"], 1);
    assert!(message.contains("where 2 fit"), "{message}");
}

#[test]
fn a_wrong_prompt_is_named() {
    let model = fixture("tied-bf16");
    let message = failure(&["generate", "-m", &model, "--prompt-ids", "1,288"], 1);
    assert!(message.contains("prompt token 1 is 288: expected an id below the vocabulary size, 288"), "{message}");
    let message = failure(&["generate", ""], 1);
    assert!(message.contains("the prompt is empty"), "{message}");
    let message = failure(&["generate", "-m", &model, "text"], 1);
    assert!(message.contains("a text prompt needs a tokenizer") && message.contains("tokenizer.json"), "{message}");
    let message = failure(&["generate", "-m", &model, "--prompt-ids", "1", "--stop", "x"], 1);
    assert!(message.contains("--stop needs a tokenizer"), "{message}");
    let message = failure(&["generate", "-f", "no/such/file"], 1);
    assert!(message.contains("cannot read no/such/file"), "{message}");
    let folder = tempfile::tempdir().expect("a folder");
    let file: PathBuf = folder.path().join("bytes");
    std::fs::write(&file, b"abc\xff").expect("a file");
    let message = failure(&["generate", "-f", file.to_str().expect("a path")], 1);
    assert!(message.contains("is not UTF-8 text: byte 3 is 0xff"), "{message}");
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["generate", "--no-such-flag"][..],
        &["generate", "a", "-t", "0"],
        &["generate", "a", "-t", "5000"],
        &["generate", "a", "-n", "-1"],
        &["generate", "a", "-c", "0"],
        &["generate", "a", "--temp", "nan"],
        &["generate", "a", "-n", "many"],
        &["generate", "a", "--prompt-ids", "1"],
        &["generate", "--prompt-ids", "1,x"],
        &["generate", "a", "--system", "b"],
        &["generate", "a", "--backend", "gpu"],
        &["generate", "a", "--temp", "warm"],
        &["bench", "--random"],
        &["bench", "--config", "x.json"],
        &["bench", "-p", "0", "-n", "0"],
        &["bench", "-r", "0"],
        &["no-such-command"],
        &[],
    ] {
        failure(arguments, 2);
    }
}

#[test]
fn a_setting_out_of_range_or_a_place_that_cannot_be_written_is_an_error_before_any_work() {
    let message = failure(&["generate", "a", "--top-p", "1.5"], 2);
    assert!(message.contains("top_p is 1.5: expected a number above 0 and at most 1"), "{message}");
    let message = failure(&["generate", "a", "--temp", "-1"], 2);
    assert!(message.contains("temperature is -1: expected a number of at least 0"), "{message}");
    let message = failure(&["generate", "a", "--logits", "no/such/folder/logits"], 1);
    assert!(message.contains("cannot write no/such/folder/logits"), "{message}");
    let message = failure(&["generate", "a", "--trace", "tests"], 1);
    assert!(message.contains("cannot write tests: it is a directory"), "{message}");
    let message = failure(&["generate", "a", "-m", "no/such/model"], 1);
    assert!(message.starts_with("error: no/such/model: cannot open: "), "{message}");
    assert_eq!(message.matches("os error").count(), 1, "the cause is said once: {message}");
}

#[test]
fn bench_ends_with_the_medians_as_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.json");
    std::fs::copy("tests/fixtures/tied-bf16/config.json", &config).expect("a copy");
    let config = config.to_str().expect("a path");
    for dtype in ["bf16", "f16", "f32"] {
        let arguments =
            ["bench", "--random", "--config", config, "--dtype", dtype, "-p", "20", "-n", "4", "-r", "2", "--json"];
        let lines = json_lines(&success(&arguments));
        assert_eq!(lines.len(), 3, "two repetitions and the medians");
        for field in ["prefill_tokens_per_second", "decode_tokens_per_second", "read_bandwidth_bytes_per_second"] {
            assert!(lines[2][field].as_f64().is_some_and(|number| number > 0.0), "{field}: {}", lines[2]);
        }
        assert!(lines[2]["decode_bandwidth_share"].as_f64().is_some_and(|share| share > 0.0));
    }
}

#[test]
fn bench_profiles_the_prompt_and_what_follows_it_apart() {
    let output = run(&["bench", "-p", "40", "-n", "6", "-r", "2", "--profile"]);
    let tables = stderr(&output);
    let calls = |part: &str, system: &str| {
        let rows = tables.lines().skip_while(|line| *line != part).skip(1);
        let mut rows =
            rows.take_while(|line| line.contains(' ')).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.find(|row| row[0] == system).map(|row| row[2].parse::<u64>().expect("calls"))
    };
    for (system, prompt, decode) in [("fill_batch", 2, 12), ("compute_logits", 2, 12)] {
        assert_eq!(calls("prompt", system), Some(prompt), "{tables}");
        assert_eq!(calls("decode", system), Some(decode), "{tables}");
    }
}

#[test]
fn bench_refuses_what_it_cannot_measure() {
    let config = "tests/fixtures/tied-bf16/config.json";
    let message = failure(&["bench", "--random", "--config", config, "-p", "600"], 1);
    assert!(message.contains("max_position_embeddings"), "{message}");
    let folder = tempfile::tempdir().expect("a folder");
    let huge = folder.path().join("config.json");
    let text = std::fs::read_to_string(config)
        .expect("a config")
        .replace(r#""vocab_size": 288"#, r#""vocab_size": 900000000000"#);
    std::fs::write(&huge, text).expect("a file");
    let message = failure(&["bench", "--random", "--config", huge.to_str().expect("a path")], 1);
    assert!(message.contains("embed_tokens.weight") || message.contains("vocab_size"), "{message}");
}
