//! Connections that break off, and downloads that go on.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::server::{Reply, Request};
use super::stand_in::{NAME, StandIn, etag, files};
use crate::stderr;

const WEIGHTS: &str = "model.safetensors";
const CUT: usize = 100_000;

/// What breaks off the first `times` answers with weights, and after that does not answer, or does.
fn cut(times: usize, fails: bool) -> impl Fn(&Request, &mut Reply) + Clone + Send + Sync {
    let asked = Arc::new(AtomicUsize::new(0));
    move |request: &Request, reply: &mut Reply| {
        if request.path.starts_with("/stored/") {
            match asked.fetch_add(1, Relaxed) {
                before if before < times => reply.cut = Some(CUT),
                before if fails && before < times + 2 => reply.status = 503,
                _ => {}
            }
        }
    }
}

fn offsets(hub: &StandIn) -> Vec<Option<usize>> {
    hub.storage.requests().iter().map(|request| request.from).collect()
}

#[test]
fn a_connection_that_breaks_off_is_made_again() {
    let hub = StandIn::with(files("tokenizer-bf16"), cut(2, false));
    hub.inspect(NAME);
    assert_eq!(offsets(&hub), [None, Some(CUT), Some(2 * CUT)]);
    assert_eq!(fs::read(hub.fetched(WEIGHTS)).unwrap(), hub.files[WEIGHTS]);
}

#[test]
fn the_next_run_goes_on_where_one_failed() {
    let hub = StandIn::with(files("tokenizer-bf16"), cut(1, true));
    let error = hub.refusal(NAME);
    assert!(error.contains("Ann/sea-1.5: model.safetensors: expected 200, \"OK\", found 503"), "{error}");
    assert_eq!(fs::metadata(hub.incomplete(WEIGHTS)).unwrap().len(), CUT as u64);
    assert!(!hub.fetched(WEIGHTS).exists());
    hub.inspect(NAME);
    assert_eq!(offsets(&hub), [None, Some(CUT), Some(CUT), Some(CUT)]);
    assert_eq!(fs::read(hub.fetched(WEIGHTS)).unwrap(), hub.files[WEIGHTS]);
    assert!(!hub.incomplete(WEIGHTS).exists());
}

#[test]
fn a_server_that_knows_no_ranges_sends_all_anew() {
    let hub = StandIn::with(files("tokenizer-bf16"), |request, reply| {
        if request.path.starts_with("/stored/") && request.from.is_some() {
            // What the server makes of 200 is 206.
            reply.status = 203;
        }
    });
    fs::create_dir_all(hub.incomplete(WEIGHTS).parent().unwrap()).unwrap();
    fs::write(hub.incomplete(WEIGHTS), [7; 1000]).unwrap();
    hub.inspect(NAME);
    assert_eq!(offsets(&hub), [Some(1000)]);
    assert_eq!(fs::read(hub.fetched(WEIGHTS)).unwrap(), hub.files[WEIGHTS]);
}

#[test]
fn what_is_not_the_beginning_of_a_file_is_thrown_away() {
    let hub = StandIn::of(files("tokenizer-bf16"));
    let length = hub.files[WEIGHTS].len();
    fs::create_dir_all(hub.incomplete(WEIGHTS).parent().unwrap()).unwrap();
    fs::write(hub.incomplete(WEIGHTS), [7; 1000]).unwrap();
    let error = hub.refusal(NAME);
    let expected = format!("expected SHA-256 {}, found ", etag(WEIGHTS, &hub.files[WEIGHTS]));
    assert!(error.contains(&expected), "{error}");
    // Neither what is too long nor a file in the place of the whole one that is too short helps.
    fs::write(hub.incomplete(WEIGHTS), vec![7; length + 1]).unwrap();
    fs::write(hub.incomplete(WEIGHTS).with_extension(""), [7; 1000]).unwrap();
    hub.inspect(NAME);
    assert_eq!(offsets(&hub), [Some(1000), None]);
}

#[test]
fn a_file_of_another_length_is_none() {
    for length in ["300000", "200000"] {
        let hub = StandIn::with(files("tokenizer-bf16"), move |_, reply| {
            for (name, value) in &mut reply.headers {
                if *name == "X-Linked-Size" {
                    *value = length.into();
                }
            }
        });
        let error = hub.refusal(NAME);
        let expected = format!("Ann/sea-1.5: model.safetensors: expected {length} bytes, found ");
        let no_more = "Ann/sea-1.5: model.safetensors: expected 200, \"OK\", found 416";
        assert!(error.contains(&expected) || error.contains(no_more), "{error}");
        assert!(!hub.fetched(WEIGHTS).exists());
        assert!(!hub.incomplete(WEIGHTS).with_extension("").exists());
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_what_has_come() {
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::Duration;

    let hub = StandIn::with(files("tokenizer-bf16"), |request, reply| {
        if request.path.starts_with("/stored/") && request.from.is_none() {
            (reply.cut, reply.drips) = (Some(CUT), true);
        }
    });
    let child = hub.command(&["inspect", NAME]).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    while fs::metadata(hub.incomplete(WEIGHTS)).map_or(0, |file| file.len()) < CUT as u64 {
        thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("model.safetensors: interrupted"), "{}", stderr(&output));
    assert!(!hub.fetched(WEIGHTS).exists());
    hub.inspect(NAME);
    assert!(offsets(&hub)[1].is_some_and(|from| from >= CUT), "{:?}", offsets(&hub));
    assert_eq!(fs::read(hub.fetched(WEIGHTS)).unwrap(), hub.files[WEIGHTS]);
}
