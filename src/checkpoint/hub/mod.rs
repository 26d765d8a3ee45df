//! Models by the names that they have on the Hugging Face hub, where its own programs have put them: in a cache of
//! repositories, each with its revisions as folders of links
//! (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).

#![forbid(unsafe_code)]

mod choice;
#[cfg(feature = "hub")]
mod download;
#[cfg(feature = "hub")]
mod error;
#[cfg(feature = "hub")]
mod fetch;
#[cfg(feature = "hub")]
mod listing;
mod needed;
#[cfg(feature = "hub")]
mod repository;
#[cfg(feature = "hub")]
mod server;

use std::env;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use choice::NoChoice;
#[cfg(feature = "hub")]
pub use error::HubError;
#[cfg(feature = "hub")]
pub use fetch::Fetching;
pub(crate) use needed::TEXTS;

use super::error::{CheckpointError, Excerpt};
use super::source::{Source, is_plain_name};

/// `OWNER/NAME[:FILE or QUANT][@REVISION]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    owner: String,
    name: String,
    /// A file in the repository, or a part of the name of a GGUF file, `Q4_K_M` for example.
    wanted: Option<String>,
    revision: String,
}

/// What is meant where no revision is named.
const MAIN: &str = "main";

impl HubName {
    /// Reads a name; `None` if it is not of this form.
    ///
    /// ```
    /// use loquent::checkpoint::HubName;
    ///
    /// let name = HubName::parse("Qwen/Qwen3.5-0.8B:Q4_K_M@main").unwrap();
    /// assert_eq!(name.to_string(), "Qwen/Qwen3.5-0.8B");
    /// assert_eq!(HubName::parse("./models/qwen"), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (text, revision) = text.rsplit_once('@').unwrap_or((text, MAIN));
        let (repository, wanted) = match text.split_once(':') {
            Some((repository, wanted)) => (repository, Some(wanted)),
            None => (text, None),
        };
        let (owner, name) = repository.split_once('/')?;
        let is_name = |text: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            text.chars().all(allowed) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        };
        let is_right = is_name(owner) && is_name(name) && wanted.is_none_or(is_inside) && is_inside(revision);
        let [owner, name, revision] = [owner, name, revision].map(str::to_owned);
        is_right.then(|| Self { owner, name, wanted: wanted.map(str::to_owned), revision })
    }

    /// Where the model is in the `cache`: the folder of its revision, or a GGUF file in it; `None` if the cache has not this
    /// revision of it.
    ///
    /// # Errors
    /// If the file that is named is not there, or several might be meant, or a reference leads nowhere.
    pub fn find(&self, cache: &Path) -> Result<Option<PathBuf>, CheckpointError> {
        let Some(snapshot) = self.snapshot(cache)? else { return Ok(None) };
        match self.choose_in(&snapshot) {
            Ok(choice) => Ok(Some(choice.within(snapshot))),
            Err(NoChoice { expected, found }) => Err(CheckpointError::file(&snapshot, expected, found)),
        }
    }

    /// The same, if every file is there that the model consists of: one that other programs have fetched in part, or that an
    /// interrupted download has left, is none.
    ///
    /// # Errors
    /// If what says which files those are cannot be read.
    pub fn find_whole(&self, cache: &Path) -> Result<Option<PathBuf>, CheckpointError> {
        let Some(snapshot) = self.snapshot(cache)? else { return Ok(None) };
        let Ok(choice) = self.choose_in(&snapshot) else { return Ok(None) };
        let missing = needed::missing(&snapshot, &choice)?;
        if let [first, ..] = &missing[..] {
            tracing::debug!("{} has no {first}", snapshot.display());
            return Ok(None);
        }
        Ok(Some(choice.within(snapshot)))
    }

    /// The folder of the revision, if it is there.
    fn snapshot(&self, cache: &Path) -> Result<Option<PathBuf>, CheckpointError> {
        let repository = cache.join(self.folder());
        let snapshots = repository.join("snapshots");
        if snapshots.join(&self.revision).is_dir() {
            return Ok(Some(snapshots.join(&self.revision)));
        }
        let snapshot = self.referenced(&repository)?.map(|commit| snapshots.join(commit));
        Ok(snapshot.filter(|snapshot| snapshot.is_dir()))
    }

    /// What the repository's folder is called in a cache.
    fn folder(&self) -> String {
        format!("models--{}--{}", self.owner, self.name)
    }

    /// What the revision stands for.
    fn referenced(&self, repository: &Path) -> Result<Option<String>, CheckpointError> {
        /// A commit's name has 40 letters.
        const LONGEST: u64 = 256;
        let references = repository.join("refs");
        let Some(commit) = Source::Directory(&references).text(&self.revision, LONGEST)? else { return Ok(None) };
        let commit = commit.trim();
        if is_plain_name(commit) {
            return Ok(Some(commit.to_owned()));
        }
        let file = references.join(&self.revision);
        Err(CheckpointError::file(&file, "the name of a commit", Excerpt(commit).to_string()))
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)
    }
}

/// Whether it is a path that stays within a folder.
fn is_inside(path: &str) -> bool {
    let stays = |component: Component<'_>| matches!(component, Component::Normal(part) if part.to_str().is_some_and(is_plain_name));
    !path.is_empty() && Path::new(path).components().all(stays)
}

/// Where the hub's programs keep what they have downloaded, by the variables that they go by: `HF_HUB_CACHE`, else `hub` in
/// `HF_HOME`, else in `huggingface` in the user's cache. `None` where there is none of all that.
#[must_use]
pub fn hub_cache() -> Option<PathBuf> {
    set("HF_HUB_CACHE").or_else(|| Some(hub_home()?.join("hub")))
}

/// Where the hub's programs keep what is theirs.
fn hub_home() -> Option<PathBuf> {
    let home = || set("HOME").or_else(|| set("USERPROFILE"));
    let own = || set("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache"))).map(|cache| cache.join("huggingface"));
    set("HF_HOME").or_else(own)
}

/// A variable of the environment that is not empty.
fn set(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A cache with a repository of these files.
    fn cache(files: &[&str]) -> tempfile::TempDir {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join("models--Ann--sea-1.5");
        for file in files {
            let path = repository.join("snapshots/abc123").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::create_dir_all(repository.join("refs/refs/pr")).unwrap();
        fs::write(repository.join("refs/main"), "abc123").unwrap();
        fs::write(repository.join("refs/refs/pr/7"), "abc123\n").unwrap();
        fs::write(repository.join("refs/lost"), "def").unwrap();
        fs::write(repository.join("refs/hostile"), "../../..").unwrap();
        cache
    }

    fn found(cache: &tempfile::TempDir, name: &str) -> Result<Option<String>, String> {
        let found = HubName::parse(name).unwrap_or_else(|| panic!("{name}")).find(cache.path());
        let snapshots = cache.path().join("models--Ann--sea-1.5/snapshots");
        let relative = |path: PathBuf| path.strip_prefix(&snapshots).unwrap().display().to_string();
        found.map(|found| found.map(relative)).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_told_from_paths() {
        for name in ["Qwen/Qwen3.5-0.8B", "a/b:c.gguf", "a/b:Q4_K_M@v1", "a/b@refs/pr/7", "a/b:sub/c.gguf", "1/2_3"] {
            assert!(HubName::parse(name).is_some(), "{name}");
        }
        let paths = [
            "", "a", "/a/b", "./a", "../a", "a/b/c", "a/", "a//b", "a/b:", "a/b@", "a/b:../c", "a/b@/etc", "a/b c",
            "~/a",
        ];
        for path in paths {
            assert_eq!(HubName::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_revision_is_found_by_its_name_or_its_commit() {
        let cache = cache(&["config.json"]);
        for name in ["Ann/sea-1.5", "Ann/sea-1.5@abc123", "Ann/sea-1.5@refs/pr/7"] {
            assert_eq!(found(&cache, name), Ok(Some("abc123".into())), "{name}");
        }
        for name in ["Ann/sea-1.5@other", "Ann/sea-1.5@lost", "Ann/lake"] {
            assert_eq!(found(&cache, name), Ok(None), "{name}");
        }
        assert!(found(&cache, "Ann/sea-1.5@hostile").unwrap_err().contains("expected the name of a commit"));
    }

    #[test]
    fn of_gguf_files_the_one_that_is_named_or_usual_is_meant() {
        let all = ["sea-Q4_K_M.gguf", "sea-Q8_0.gguf", "mmproj-sea.gguf", "f16/sea-f16-00001-of-00002.gguf"];
        let several = cache(&[all[0], all[1], all[2], all[3], "f16/sea-f16-00002-of-00002.gguf", "README.md"]);
        let expected = [
            ("Ann/sea-1.5", all[0]),
            ("Ann/sea-1.5:q8_0", all[1]),
            ("Ann/sea-1.5:F16", all[3]),
            ("Ann/sea-1.5:sea-Q8_0.gguf@main", all[1]),
            ("Ann/sea-1.5:mmproj-sea.gguf", all[2]),
        ];
        for (name, file) in expected {
            assert_eq!(found(&several, name), Ok(Some(format!("abc123/{file}"))), "{name}");
        }
        let error = found(&several, "Ann/sea-1.5:Q4_K").unwrap_err();
        assert!(error.contains("with Q4_K in its name") && error.contains("sea-Q8_0.gguf"), "{error}");
        for only in ["only.gguf", "best-of-sea.gguf"] {
            assert_eq!(found(&cache(&[only]), "Ann/sea-1.5"), Ok(Some(format!("abc123/{only}"))));
        }
        let error = found(&cache(&["a-q3.gguf", "a-q5.gguf"]), "Ann/sea-1.5").unwrap_err();
        assert!(error.contains("as in Ann/sea-1.5:Q4_K_M"), "{error}");
        assert!(found(&cache(&["README.md"]), "Ann/sea-1.5").unwrap_err().ends_with("found none"));
    }
}
