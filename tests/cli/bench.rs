//! `bench`.

use crate::{failure, json_lines, run, run_into_closed_pipe, stderr, success};

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

#[test]
fn a_closed_pipe_ends_a_benchmark_quietly() {
    for form in [&["--json"][..], &[]] {
        let output =
            run_into_closed_pipe(&[&["bench", "-p", "4", "-n", "4", "-r", "3", "--backend", "cpu"], form].concat());
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    }
}

#[test]
fn bench_profiles_the_prompt_and_what_follows_it_apart() {
    let output = run(&["bench", "-p", "40", "-n", "6", "-r", "2", "--profile"]);
    let tables = stderr(&output);
    let calls = |part: &str, system: &str| {
        let rows = tables.lines().skip_while(|line| !line.starts_with(&format!("{part}: "))).skip(1);
        let mut rows =
            rows.take_while(|line| line.contains(' ')).map(|line| line.split_whitespace().collect::<Vec<_>>());
        rows.find(|row| row[0] == system).map(|row| row[2].parse::<u64>().expect("calls"))
    };
    for (system, prompt, decode) in [("fill_batch", 2, 12), ("compute_logits", 2, 12)] {
        assert_eq!(calls("prompt", system), Some(prompt), "{tables}");
        assert_eq!(calls("decode", system), Some(decode), "{tables}");
    }
}
