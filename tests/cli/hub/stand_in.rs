//! A stand-in for the hub, with a repository of some files: small ones it has itself, at the end of a relative redirect, and
//! large ones elsewhere, at another port.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::server::{Reply, Request, Server};
use crate::{fixture, loquent, stderr};

pub(super) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(super) const NAME: &str = "Ann/sea-1.5";
const FOLDER: &str = "models--Ann--sea-1.5";

pub(super) type Files = BTreeMap<String, Vec<u8>>;

pub(super) struct StandIn {
    pub(super) hub: Server,
    pub(super) storage: Server,
    /// Where what is fetched goes.
    pub(super) home: TempDir,
    pub(super) files: Files,
}

/// What the files of a fixture are, and some that no model needs.
pub(super) fn files(name: &str) -> Files {
    let mut files = Files::from([(".gitattributes".into(), b"x".to_vec()), ("README.md".into(), b"# Sea".to_vec())]);
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture(name))).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            files.insert(path.file_name().unwrap().to_str().unwrap().into(), fs::read(path).unwrap());
        }
    }
    files
}

/// What the server calls a content: of large ones the SHA-256, of others something shorter.
pub(super) fn etag(file: &str, content: &[u8]) -> String {
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    if is_large(file) { hash } else { hash[..40].to_owned() }
}

fn is_large(file: &str) -> bool {
    file.ends_with(".safetensors") || file.ends_with(".gguf")
}

impl StandIn {
    /// One that is well.
    pub(super) fn of(files: Files) -> Self {
        Self::with(files, |_, _| {})
    }

    /// One whose answers are made worse by `tweak`, those of the storage as well.
    pub(super) fn with(files: Files, tweak: impl Fn(&Request, &mut Reply) + Clone + Send + Sync + 'static) -> Self {
        let (stored, worsen) = (files.clone(), tweak.clone());
        let storage = Server::start(move |request| {
            let file = request.path.trim_start_matches("/stored/");
            let mut reply =
                stored.get(file).map_or_else(|| Reply::new(404, ""), |content| Reply::new(200, &content[..]));
            worsen(request, &mut reply);
            reply
        });
        let (listed, elsewhere) = (files.clone(), storage.url.clone());
        let hub = Server::start(move |request| {
            let mut reply = answer(&listed, &elsewhere, request);
            tweak(request, &mut reply);
            reply
        });
        Self { hub, storage, home: tempfile::tempdir().unwrap(), files }
    }

    /// The program, which asks this hub.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = loquent(arguments);
        for name in
            ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN_PATH", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        {
            command.env_remove(name);
        }
        command.env("HF_ENDPOINT", &self.hub.url).env("HF_HOME", self.home.path()).env("HF_TOKEN", "");
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// An inspection that must succeed.
    pub(super) fn inspect(&self, name: &str) {
        let output = self.run(&["inspect", name]);
        assert!(output.status.success(), "{}", stderr(&output));
    }

    /// What an inspection says that must fail for want of a model.
    pub(super) fn refusal(&self, name: &str) -> String {
        let output = self.run(&["inspect", name]);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
        stderr(&output)
    }

    pub(super) fn connections(&self) -> usize {
        self.hub.requests().len() + self.storage.requests().len()
    }

    pub(super) fn repository(&self) -> PathBuf {
        self.home.path().join("hub").join(FOLDER)
    }

    /// Where a file of the revision is, or would be.
    pub(super) fn fetched(&self, file: &str) -> PathBuf {
        self.repository().join("snapshots").join(COMMIT).join(file)
    }

    /// What of a file has come so far.
    pub(super) fn incomplete(&self, file: &str) -> PathBuf {
        self.repository().join("blobs").join(format!("{}.incomplete", etag(file, &self.files[file])))
    }

    /// Puts a file into the cache, as another program would have.
    pub(super) fn put(&self, file: &str) {
        let path = self.fetched(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &self.files[file]).unwrap();
        fs::create_dir_all(self.repository().join("refs")).unwrap();
        fs::write(self.repository().join("refs/main"), COMMIT).unwrap();
    }
}

fn answer(files: &Files, storage: &str, request: &Request) -> Reply {
    let revision = format!("/api/models/{NAME}/revision/");
    if let Some(revision) = request.path.strip_prefix(&revision) {
        if !["main", COMMIT, "refs%2Fpr%2F7"].contains(&revision) {
            return Reply::new(404, "{}").header("X-Error-Code", "RevisionNotFound");
        }
        let siblings: Vec<_> = files.keys().map(|file| json!({"rfilename": file})).collect();
        return Reply::new(200, json!({"id": NAME, "sha": COMMIT, "siblings": siblings}).to_string());
    }
    if let Some(file) = request.path.strip_prefix("/api/resolve-cache/") {
        let content = &files[file];
        let reply = Reply::new(200, &content[..]).header("X-Repo-Commit", COMMIT);
        return reply.header("ETag", format!("\"{}\"", etag(file, content)));
    }
    let resolved = format!("/{NAME}/resolve/{COMMIT}/");
    let Some(file) = request.path.strip_prefix(&resolved) else {
        return Reply::new(404, "{}").header("X-Error-Code", "RepoNotFound");
    };
    let Some(content) = files.get(file) else { return Reply::new(404, "").header("X-Error-Code", "EntryNotFound") };
    if !is_large(file) {
        return Reply::new(307, "").header("Location", format!("/api/resolve-cache/{file}"));
    }
    Reply::new(302, "elsewhere")
        .header("Location", format!("{storage}/stored/{file}"))
        .header("X-Repo-Commit", COMMIT)
        .header("X-Linked-Size", content.len().to_string())
        .header("X-Linked-Etag", format!("\"{}\"", etag(file, content)))
}
