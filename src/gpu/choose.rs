//! Which adapter a model is computed on.

use super::adapters::{Adapter, adapters};
use super::description::Description;
use super::error::GpuError;

/// Which adapter is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum GpuRequest {
    /// The best there is, of those that are hardware.
    #[default]
    Best,
    /// The one with this in its name, in capitals or not; it may be software.
    Named(String),
}

/// Finds the adapter of a request.
///
/// # Errors
/// As [`choose_among`].
pub fn choose(request: &GpuRequest) -> Result<Adapter, GpuError> {
    let mut adapters = adapters();
    let found: Vec<Description> = adapters.iter().map(|adapter| adapter.description.clone()).collect();
    Ok(adapters.swap_remove(choose_among(request, &found)?))
}

/// Which of these adapters, best first, a request means.
///
/// # Errors
/// There is none, or only software that was not named, or the name is of none or of several, or the shaders would not run
/// on it.
pub fn choose_among(request: &GpuRequest, found: &[Description]) -> Result<usize, GpuError> {
    if found.is_empty() {
        return Err(GpuError::NoAdapter);
    }
    let candidates = match request {
        GpuRequest::Best => hardware(found)?,
        GpuRequest::Named(asked) => named(asked, found)?,
    };
    let runs = candidates.iter().copied().find(|&index| found[index].too_small().is_none());
    runs.ok_or_else(|| {
        let best = &found[candidates[0]];
        GpuError::TooSmall { adapter: best.to_string(), limit: best.too_small().unwrap_or_default() }
    })
}

/// At least one.
fn hardware(found: &[Description]) -> Result<Vec<usize>, GpuError> {
    let hardware: Vec<usize> = (0..found.len()).filter(|&index| found[index].is_hardware()).collect();
    if hardware.is_empty() { Err(GpuError::OnlySoftware { found: names(found) }) } else { Ok(hardware) }
}

/// At least one, all of one name: a card that several drivers reach, or several equal cards.
fn named(asked: &str, found: &[Description]) -> Result<Vec<usize>, GpuError> {
    let lower = asked.to_lowercase();
    let with = |has: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..found.len()).filter(|&index| has(&found[index].name.to_lowercase())).collect()
    };
    // A whole name means itself, even where it is a part of another.
    let mut matching = with(&|name| name == lower);
    if matching.is_empty() {
        matching = with(&|name| name.contains(&lower));
    }
    let Some(&first) = matching.first() else {
        return Err(GpuError::NotNamed { asked: asked.to_owned(), found: names(found) });
    };
    if matching.iter().any(|&index| found[index].name != found[first].name) {
        let found = names(matching.iter().map(|&index| &found[index]));
        return Err(GpuError::Ambiguous { asked: asked.to_owned(), found });
    }
    Ok(matching)
}

fn names<'a>(adapters: impl IntoIterator<Item = &'a Description>) -> Vec<String> {
    adapters.into_iter().map(Description::to_string).collect()
}
