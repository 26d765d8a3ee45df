//! Models by the names that they have on the Hugging Face hub: from the cache, and from the hub what is not there.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use loquent::checkpoint::{HubName, hub_cache};

#[cfg(feature = "hub")]
use super::{interrupt, progress};

static OFFLINE: AtomicBool = AtomicBool::new(false);

/// From now on the hub is not asked.
pub(super) fn stay_offline() {
    OFFLINE.store(true, Relaxed);
}

/// Where the model is that was named: there, in the hub's cache, or there now that it was fetched.
pub(super) fn locate(named: &Path) -> anyhow::Result<PathBuf> {
    let name = named.to_str().filter(|_| !named.exists()).and_then(HubName::parse);
    let (Some(name), Some(cache)) = (name, hub_cache()) else { return Ok(named.into()) };
    #[cfg(feature = "hub")]
    if !is_offline() {
        let whole = name.find_whole(&cache).unwrap_or_default();
        let found = whole.map_or_else(|| fetch(named, &name, &cache), Ok)?;
        tracing::debug!("{name} is {}", found.display());
        return Ok(found);
    }
    if let Some(found) = name.find(&cache)? {
        tracing::debug!("{name} is {}", found.display());
        return Ok(found);
    }
    let (named, cache) = (named.display(), cache.display());
    let otherwise = if cfg!(feature = "hub") {
        "so does this program if it is not offline"
    } else {
        "this binary was built without `hub`"
    };
    anyhow::bail!(
        "{named}: no such file or directory, and none in {cache}: `hf download {name}` brings it there; {otherwise}"
    )
}

/// Whether the environment or the command line says so.
#[cfg(feature = "hub")]
fn is_offline() -> bool {
    let says = std::env::var("HF_HUB_OFFLINE").unwrap_or_default().to_ascii_lowercase();
    OFFLINE.load(Relaxed) || matches!(&*says, "1" | "on" | "yes" | "true")
}

/// Fetches it, under a bar.
#[cfg(feature = "hub")]
fn fetch(named: &Path, name: &HubName, cache: &Path) -> anyhow::Result<PathBuf> {
    use std::ops::ControlFlow;

    use anyhow::Context;

    let bar = progress::bytes(format!("asking the hub for {name}"));
    let found = name.fetch(cache, &mut |fetching| {
        bar.set_message(format!("fetching {}", fetching.file));
        bar.set_length(fetching.total);
        bar.set_position(fetching.done);
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    found.with_context(|| format!("{}: no such file or directory, and it cannot be fetched", named.display()))
}

/// Whether it was Ctrl-C that ended a download.
pub(super) fn was_interrupted(error: &anyhow::Error) -> bool {
    #[cfg(feature = "hub")]
    if let Some(loquent::checkpoint::HubError::Interrupted { .. }) = error.downcast_ref() {
        return true;
    }
    let _ = error;
    false
}
