//! What is fetched, what is not, and who is asked.

use std::fs;

use super::stand_in::{COMMIT, NAME, StandIn, etag, files};
use crate::{fixture, stderr, stdout, success};

const ASKED: [&str; 5] = ["the sea", "-n", "4", "--temp", "0"];

#[test]
fn a_model_is_fetched_once() {
    let hub = StandIn::of(files("tokenizer-bf16"));
    let expected = success(&[&["generate", "-m", &fixture("tokenizer-bf16")], &ASKED[..]].concat());
    let arguments = [&["generate", "-m", NAME], &ASKED[..]].concat();
    let output = hub.run(&arguments);
    assert_eq!(stdout(&output), expected, "{}", stderr(&output));
    assert_eq!(fs::read_to_string(hub.repository().join("refs/main")).unwrap(), COMMIT);
    for file in
        ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"]
    {
        assert_eq!(fs::read(hub.fetched(file)).unwrap(), hub.files[file], "{file}");
    }
    #[cfg(unix)]
    {
        let link = fs::read_link(hub.fetched("model.safetensors")).unwrap();
        let content = etag("model.safetensors", &hub.files["model.safetensors"]);
        assert_eq!(link.to_str().unwrap(), format!("../../blobs/{content}"));
    }
    for other in ["README.md", ".gitattributes", "golden.f32", "tokenizer_golden.json"] {
        assert!(!hub.fetched(other).exists(), "{other}");
    }
    let blobs = fs::read_dir(hub.repository().join("blobs")).unwrap();
    assert!(blobs.flatten().all(|blob| !blob.file_name().to_str().unwrap().contains('.')));

    let asked = hub.connections();
    for name in [NAME, "Ann/sea-1.5@main", &format!("{NAME}@{COMMIT}")] {
        let output = hub.run(&[&["generate", "-m", name], &ASKED[..]].concat());
        assert_eq!(stdout(&output), expected, "{}", stderr(&output));
    }
    assert_eq!(hub.connections(), asked);
}

#[test]
fn a_repository_without_a_tokenizer_is_asked_for_one_once() {
    let hub = StandIn::of(files("tied-bf16"));
    hub.inspect(NAME);
    let asked = hub.connections();
    hub.inspect(NAME);
    assert_eq!(hub.connections(), asked);
}

#[test]
fn what_others_have_fetched_in_part_is_completed() {
    let hub = StandIn::of(files("sharded-bf16"));
    hub.put("config.json");
    hub.put("model.safetensors.index.json");
    hub.put("model-00002-of-00004.safetensors");
    for offline in [&["inspect", NAME, "--offline"][..], &["--offline", "inspect", NAME]] {
        let output = hub.run(offline);
        let told = stdout(&output) + &stderr(&output);
        assert!(!output.status.success() && told.contains("model-00001-of-00004.safetensors"), "{told}");
    }
    assert_eq!(hub.connections(), 0);
    hub.inspect("Ann/sea-1.5@refs/pr/7");
    hub.inspect(NAME);
    assert_eq!(fs::read_to_string(hub.repository().join("refs/refs/pr/7")).unwrap(), COMMIT);
    for shard in 1..=4 {
        let file = format!("model-0000{shard}-of-00004.safetensors");
        assert_eq!(fs::read(hub.fetched(&file)).unwrap(), hub.files[&file], "{file}");
        let asked = hub.storage.requests().iter().filter(|request| request.path.ends_with(&file)).count();
        assert_eq!(asked > 0, shard != 2, "{file}");
    }
}

#[test]
fn a_converted_model_is_fetched_by_its_index() {
    let hub = StandIn::of(files("q4-tied"));
    hub.inspect(NAME);
}

#[test]
fn of_gguf_files_only_the_one_that_is_meant_is_fetched() {
    let mut files = files("gguf");
    let model = files.remove("tokenizer-bf16.gguf").unwrap();
    // As in many such repositories, the configuration of the original is there as well.
    files.insert("config.json".into(), b"{}".to_vec());
    for file in [
        "sea-Q4_K_M.gguf",
        "sea-Q8_0.gguf",
        "mmproj-sea.gguf",
        "F16/sea-F16-00001-of-00002.gguf",
        "F16/sea-F16-00002-of-00002.gguf",
    ] {
        files.insert(file.into(), model.clone());
    }
    let hub = StandIn::of(files);
    hub.inspect("Ann/sea-1.5:Q8_0");
    assert!(hub.fetched("sea-Q8_0.gguf").is_file() && !hub.fetched("sea-Q4_K_M.gguf").exists());
    hub.inspect("Ann/sea-1.5:sea-Q4_K_M.gguf");
    assert!(hub.fetched("sea-Q4_K_M.gguf").is_file() && !hub.fetched("config.json").exists());
    let asked = hub.connections();
    hub.inspect(NAME);
    assert_eq!(hub.connections(), asked);
    // They are no parts of a model: that is said once both are there. What they have in common is fetched once.
    assert!(!hub.run(&["inspect", "Ann/sea-1.5:F16"]).status.success());
    assert_eq!(hub.storage.requests().len(), 1);
    for part in 1..=2 {
        assert!(hub.fetched(&format!("F16/sea-F16-0000{part}-of-00002.gguf")).is_file());
    }
    let error = hub.refusal("Ann/sea-1.5:Q5_K_M");
    assert!(
        error.contains("one GGUF file with Q5_K_M in its name, found F16/sea-F16-00001-of-00002.gguf, "),
        "{error}"
    );
}

#[test]
fn offline_nobody_is_asked() {
    let hub = StandIn::of(files("tokenizer-bf16"));
    let mut commands = [hub.command(&["inspect", NAME, "--offline"]), hub.command(&["inspect", NAME])];
    commands[1].env("HF_HUB_OFFLINE", "TRUE");
    for command in &mut commands {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("{NAME}: no such file or directory, and none in ");
        assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    }
    assert_eq!(hub.connections(), 0);
}

#[test]
fn the_token_is_for_the_hub_alone() {
    let hub = StandIn::of(files("tokenizer-bf16"));
    fs::write(hub.home.path().join("token"), "hf_file\n").unwrap();
    hub.inspect(NAME);
    fs::remove_dir_all(hub.repository()).unwrap();
    let from_file = hub.hub.requests().len();
    assert!(hub.command(&["inspect", NAME]).env("HF_TOKEN", "hf_set").output().unwrap().status.success());
    for (index, request) in hub.hub.requests().iter().enumerate() {
        let expected = if index < from_file { "Bearer hf_file" } else { "Bearer hf_set" };
        assert_eq!(request.authorization.as_deref(), Some(expected), "{request:?}");
    }
    assert!(!hub.storage.requests().is_empty());
    assert!(hub.storage.requests().iter().all(|request| request.authorization.is_none()));
}

#[test]
fn weights_that_cannot_be_run_are_not_fetched() {
    let mut files = files("tokenizer-bf16");
    let config = String::from_utf8(files["config.json"].clone()).unwrap();
    files.insert("config.json".into(), config.replace("qwen3_5", "whale").into_bytes());
    let hub = StandIn::of(files);
    let error = hub.refusal(NAME);
    assert!(error.contains("config.json") && error.contains("whale"), "{error}");
    assert_eq!(hub.storage.requests().len(), 0);
}
