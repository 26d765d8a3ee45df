//! Models by the names that they have on the hub.

#[cfg(feature = "hub")]
mod answers;
#[cfg(feature = "hub")]
mod cuts;
#[cfg(feature = "hub")]
mod fetch;
#[cfg(feature = "hub")]
mod server;
#[cfg(feature = "hub")]
mod stand_in;

use std::fs;
use std::path::Path;

use crate::{loquent, stderr, stdout, success};

/// A cache with the demo in it, as links to files elsewhere.
#[cfg(unix)]
fn cache() -> tempfile::TempDir {
    let cache = tempfile::tempdir().unwrap();
    let repository = cache.path().join("models--loquent--demo.q4");
    let snapshot = repository.join("snapshots/0123456789abcdef");
    fs::create_dir_all(&snapshot).unwrap();
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-q4")).unwrap() {
        let file = file.unwrap();
        std::os::unix::fs::symlink(file.path(), snapshot.join(file.file_name())).unwrap();
    }
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), "0123456789abcdef").unwrap();
    cache
}

#[cfg(unix)]
#[test]
fn a_model_in_the_cache_of_the_hub_is_found_by_its_name() {
    const ASKED: [&str; 5] = ["Once upon a time", "-n", "12", "--temp", "0"];
    let expected = success(&[&["generate"], &ASKED[..]].concat());
    let cache = cache();
    for name in ["loquent/demo.q4", "loquent/demo.q4@main", "loquent/demo.q4@0123456789abcdef"] {
        let mut command = loquent(&[&["generate", "-m", name], &ASKED[..]].concat());
        let output = command.env("HF_HUB_CACHE", cache.path()).output().unwrap();
        assert_eq!(stdout(&output), expected, "{name}: {}", stderr(&output));
    }
    for arguments in [&["inspect", "loquent/demo.q4"][..], &["quantize", "--dry-run", "loquent/demo.q4", "never"]] {
        let output = loquent(arguments).env("HF_HUB_CACHE", cache.path()).output().unwrap();
        assert!(stderr(&output).is_empty() || stderr(&output).contains("demo.q4"), "{}", stderr(&output));
    }
}

#[test]
fn a_name_that_is_neither_here_nor_in_the_cache_says_where_it_was_looked_for() {
    for name in ["loquent/demo.q4", "models/no-such-folder"] {
        let mut command = loquent(&["generate", "-m", name, "x"]);
        let output = command.env("HF_HUB_CACHE", "/nothing/here").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let expected = format!("{name}: no such file or directory, and none in /nothing/here: `hf download {name}`");
        assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    }
}
