//! A model from the hub into the cache: first what is small and says what the rest is, then the weights.

#![forbid(unsafe_code)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::choice::{Choice, NoChoice};
use super::download::{Partial, Remote};
use super::error::HubError;
use super::listing::Listing;
use super::repository::{Repository, io};
use super::server::Server;
use super::{HubName, needed};
use crate::checkpoint::config::ModelConfig;
use crate::checkpoint::directory::CONFIG;
use crate::checkpoint::source::Source;
use crate::checkpoint::{converted, huggingface};

/// How far a download is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Fetching<'a> {
    /// What is being fetched.
    pub file: &'a str,
    /// Bytes of all files so far, those of earlier tries among them.
    pub done: u64,
    /// Bytes of all files that are known to be needed: an index may add to them.
    pub total: u64,
}

/// What is told of it, and says whether to go on.
type Tell<'a> = &'a mut dyn FnMut(Fetching<'_>) -> ControlFlow<()>;

impl HubName {
    /// Where the model is in the `cache`, as [`HubName::find`] has it, with what is not there fetched from the hub. If all is
    /// there, nobody is asked. Which hub it is, and who asks, is in `HF_ENDPOINT`, and in `HF_TOKEN` or where else the hub's programs
    /// look for a token. `tell` is told how far it is, and says whether to go on; what has come stays for the next time.
    ///
    /// ```no_run
    /// use std::ops::ControlFlow;
    ///
    /// use loquent::checkpoint::{Checkpoint, HubName, hub_cache};
    ///
    /// let name = HubName::parse("Qwen/Qwen3.5-0.8B").expect("a name");
    /// let cache = hub_cache().expect("a home");
    /// let path = name.fetch(&cache, &mut |fetching| {
    ///     println!("{}: {} of {} bytes", fetching.file, fetching.done, fetching.total);
    ///     ControlFlow::Continue(())
    /// })?;
    /// let checkpoint = Checkpoint::open(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the hub cannot be reached, has no such model or does not let us have it, if its answers are not what they should be, or
    /// the cache cannot be written.
    pub fn fetch(
        &self,
        cache: &Path,
        tell: &mut dyn FnMut(Fetching<'_>) -> ControlFlow<()>,
    ) -> Result<PathBuf, HubError> {
        match self.find_whole(cache) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => tracing::debug!("{error}: asking the hub"),
        }
        let server = Server::of_environment()?;
        let listing = patiently(|| Listing::ask(&server, self))?;
        let wanted = self.to_string();
        let choice = self.choose(&listing.files);
        let choice = choice.map_err(|NoChoice { expected, found }| HubError::answer(&wanted, expected, found))?;
        let repository = Repository::new(cache, &self.folder(), &listing.commit);
        let snapshot = repository.snapshot();
        let mut fetch = Fetch { name: self, server, repository, listing, tell, done: 0, total: 0 };
        match &choice {
            Choice::File(file) => fetch.all(needed::parts(file))?,
            Choice::Folder => fetch.folder()?,
        }
        fetch.repository.refer(&wanted, &self.revision)?;
        Ok(choice.within(snapshot))
    }
}

struct Fetch<'a> {
    name: &'a HubName,
    server: Server,
    repository: Repository,
    listing: Listing,
    tell: Tell<'a>,
    done: u64,
    total: u64,
}

impl Fetch<'_> {
    /// Those of a folder.
    fn folder(&mut self) -> Result<(), HubError> {
        let snapshot = self.repository.snapshot();
        let has = |file: &str| self.listing.files.iter().any(|other| other == file);
        let mut texts: Vec<String> = needed::TEXTS.into_iter().filter(|text| has(text)).map(str::to_owned).collect();
        let index = [converted::INDEX, huggingface::SINGLE, huggingface::INDEX].into_iter().find(|file| has(file));
        texts.extend(index.filter(|&file| file != huggingface::SINGLE).map(str::to_owned));
        let note = needed::note_lacking(&snapshot, has);
        note.map_err(io(&self.name.to_string(), &snapshot, "take notes beside"))?;
        self.all(texts)?;
        // Gigabytes of what cannot be run would help nobody.
        ModelConfig::load(Source::Directory(&snapshot), CONFIG)?;
        self.all(needed::weights(&snapshot)?)
    }

    /// These, as far as they are not there.
    fn all(&mut self, files: impl IntoIterator<Item = String>) -> Result<(), HubError> {
        let snapshot = self.repository.snapshot();
        let mut remotes = Vec::new();
        for file in files.into_iter().filter(|file| !snapshot.join(file).is_file()) {
            tell(self.tell, &format!("{}: {file}", self.name), &file, self.done, self.total)?;
            let remote = patiently(|| Remote::ask(&self.server, self.name, &self.listing.commit, &file))?;
            self.total += remote.size;
            remotes.push(remote);
        }
        for remote in &remotes {
            self.one(remote)?;
            self.done += remote.size;
        }
        Ok(())
    }

    fn one(&mut self, remote: &Remote) -> Result<(), HubError> {
        let Self { name, server, repository, tell: told, done, total, .. } = self;
        let Remote { wanted, file, etag, .. } = remote;
        let mut tell = |come: u64| tell(*told, wanted, file, *done + come, *total);
        let _lock = repository.lock(wanted, etag, || tell(0))?;
        let blob = repository.blob(etag);
        if blob.metadata().is_ok_and(|blob| blob.is_file() && blob.len() == remote.size) {
            return repository.link(wanted, etag, file);
        }
        let mut partial = Partial::open(remote, repository.incomplete(etag))?;
        patiently(|| remote.fetch(server, name, &mut partial, &mut tell))?;
        partial.finish(blob)?;
        repository.link(wanted, etag, file)
    }
}

fn tell(tell: Tell<'_>, wanted: &str, file: &str, done: u64, total: u64) -> Result<(), HubError> {
    match tell(Fetching { file, done, total }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(HubError::Interrupted { wanted: wanted.into() }),
    }
}

/// Tries again, after a while, what may have failed by chance.
fn patiently<T>(mut attempt: impl FnMut() -> Result<T, HubError>) -> Result<T, HubError> {
    const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(1)];
    for pause in PAUSES {
        match attempt() {
            Err(error) if error.may_pass() => {
                tracing::info!("{error}: trying again");
                thread::sleep(pause);
            }
            done => return done,
        }
    }
    attempt()
}
