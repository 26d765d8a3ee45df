//! Answers that are no models.

use super::server::Reply;
use super::stand_in::{COMMIT, NAME, StandIn, files};
use crate::stderr;

/// What is said where every answer whose path has `part` in it is this one.
fn refusal(part: &'static str, reply: Reply) -> String {
    let hub = StandIn::with(files("tokenizer-bf16"), move |request, usual| {
        if request.path.contains(part) {
            *usual = reply.clone();
        }
    });
    let error = hub.refusal(NAME);
    assert!(!hub.fetched("model.safetensors").exists());
    error
}

#[test]
fn who_may_not_read_it_is_told_how_they_may() {
    let denied =
        [("/api/models", 401, "Ann/sea-1.5: expected"), ("resolve/", 403, "Ann/sea-1.5: config.json: expected")];
    for (part, status, wanted) in denied {
        let reply = Reply::new(status, "").header("X-Error-Message", "Access to model Ann/sea-1.5 is restricted");
        let error = refusal(part, reply);
        assert!(error.contains(wanted) && error.contains(&format!("found {status}")), "{error}");
        assert!(error.contains("HF_TOKEN") && error.contains("/Ann/sea-1.5 and set"), "{error}");
        assert!(error.contains("is restricted"), "{error}");
    }
}

#[test]
fn what_is_not_there_is_named() {
    let hub = StandIn::of(files("tokenizer-bf16"));
    let error = hub.refusal("Ann/lake");
    assert!(error.contains("Ann/lake: no such repository on http://127.0.0.1:"), "{error}");
    assert!(error.contains("error: Ann/lake: no such file or directory"), "{error}");
    let error = hub.refusal("Ann/sea-1.5@v2");
    assert!(error.contains("Ann/sea-1.5@v2: no such revision on "), "{error}");
    let error = hub.refusal("Ann/sea-1.5:Q4_K_M");
    assert!(error.contains("expected one file named Q4_K_M, or one GGUF file"), "{error}");
    let error = refusal("resolve/", Reply::new(404, ""));
    assert!(error.contains("Ann/sea-1.5: config.json: no such file on "), "{error}");
}

#[test]
fn lists_of_files_that_lead_elsewhere_are_refused() {
    let list = |sha: &str, file: &str| {
        Reply::new(
            200,
            format!(r#"{{"sha": "{sha}", "siblings": [{{"rfilename": "config.json"}}, {{"rfilename": "{file}"}}]}}"#),
        )
    };
    for file in ["../x", "/etc/passwd", "a/../../x.gguf"] {
        let error = refusal("/api/models", list(COMMIT, file));
        assert!(error.contains("expected names of files in the repository, found"), "{error}");
    }
    let error = refusal("/api/models", list("../../x", "a"));
    assert!(error.contains("expected the name of a commit"), "{error}");
    let error = refusal("/api/models", Reply::new(200, "<html>"));
    assert!(error.contains("expected a list of files in JSON"), "{error}");
    let error = refusal("/api/models", Reply::new(200, vec![b' '; (16 << 20) + 1]));
    assert!(error.contains("expected a list of files in 16777216 bytes at most"), "{error}");
}

#[test]
fn what_the_server_says_of_a_file_is_checked() {
    let head = || Reply::new(200, "{}").header("X-Repo-Commit", COMMIT);
    for etag in ["../../x", "", "\"a/b\""] {
        let error = refusal("resolve/", head().header("ETag", etag));
        assert!(error.contains("Ann/sea-1.5: config.json: expected an ETag that can be a file's name"), "{error}");
    }
    let error = refusal("resolve/", Reply::new(200, "{}").header("X-Repo-Commit", "other").header("ETag", "x"));
    assert!(error.contains(&format!("expected commit {COMMIT}, found \"other\"")), "{error}");
    let error = refusal("resolve/", head().header("ETag", "x").header("X-Linked-Size", "-1"));
    assert!(error.contains("expected the file's size, found \"-1\""), "{error}");
    for location in ["file:///etc/passwd", ""] {
        let error = refusal("resolve/", Reply::new(302, "").header("Location", location));
        assert!(error.contains("expected a redirect to an address"), "{error}");
    }
    let error = refusal("resolve/", Reply::new(302, "").header("Location", "/Ann/sea-1.5/resolve/again"));
    assert!(error.contains("expected 10 redirects at most, found more"), "{error}");
}

#[test]
fn without_a_network_the_host_is_named() {
    // A port that nobody listens at any more.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hub = StandIn::of(files("tokenizer-bf16"));
    let said = |endpoint: &str, token: &str| {
        let mut command = hub.command(&["inspect", NAME]);
        stderr(&command.env("HF_ENDPOINT", endpoint).env("HF_TOKEN", token).output().unwrap())
    };
    let error = said(&format!("http://{gone}/"), "");
    assert!(error.contains(&format!("Ann/sea-1.5: no answer from http://{gone}: ")), "{error}");
    let error = said("huggingface.co", "");
    assert!(error.contains("HF_ENDPOINT: expected an address that begins with https://"), "{error}");
    let error = said(&hub.hub.url, "two words");
    assert!(error.contains("HF_TOKEN: expected a token") && !error.contains("words"), "{error}");
    assert_eq!(hub.connections(), 0);
}
