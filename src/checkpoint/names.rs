//! What a checkpoint calls its tensors. Within the text model names are the same everywhere; what stands before them
//! depends on which part of the whole model was saved, and with what around it.

#![forbid(unsafe_code)]

use std::path::Path;

use super::config::Layout;
use super::error::{CheckpointError, Faults};
use super::gguf::Family;

/// The matrix that turns the last hidden state into logits.
pub(crate) const HEAD: &str = "lm_head.weight";
/// The matrix whose rows tokens become.
pub(crate) const EMBEDDING: &str = "embed_tokens.weight";
/// The last norm, which every text model has, too.
const NORM: &str = "norm.weight";
/// What the names of the head that predicts several tokens begin with, which is no part of the text model where it was published.
pub(crate) const MTP: &str = "mtp.";
/// What stands before names, in any number and order: a model saved alone has none, one that was wrapped has several.
const WRAPPERS: [&str; 2] = ["model.", "language_model."];

/// How the names in a checkpoint's files come about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TensorNames {
    /// Before the names of all tensors of the text model but the head.
    prefix: String,
    embedding: String,
    head: String,
    /// Before the names of the head that predicts several tokens.
    before_mtp: String,
    /// Whose other names tensors have in the files, if they have, and how many layers the model has.
    family: Option<(Family, usize)>,
}

impl TensorNames {
    /// Looks for them among the full names of all tensors, of which `file` tells. Where the embedding or the head is not
    /// among them, it is called as in a published checkpoint. `tied` is whether one may stand for the other.
    ///
    /// # Errors
    /// If there are two text models and `faults` does not bear it; otherwise the first is taken.
    pub(super) fn find<'a>(
        file: &Path,
        layout: Layout,
        tied: bool,
        names: impl Iterator<Item = &'a str> + Clone,
        faults: Faults<'_>,
    ) -> Result<Self, CheckpointError> {
        let mut only = |tensor: &str| {
            let mut found = names.clone().filter(|name| unwrapped(name) == tensor);
            let (first, second) = (found.next(), found.next());
            if let (Some(first), Some(second)) = (first, second) {
                let expected = format!("one {tensor}, of one text model");
                faults(CheckpointError::tensor(file, second, expected, format!("{first} as well")))?;
            }
            Ok(first)
        };
        let (embedding, head) = (only(EMBEDDING)?, only(HEAD)?);
        let before = |full: Option<&str>, name| full.and_then(|full| full.strip_suffix(name)).map(str::to_owned);
        let prefix = match before(embedding, EMBEDDING) {
            Some(prefix) => prefix,
            None => before(only(NORM)?, NORM).unwrap_or_else(|| layout.tensor_prefix().to_owned()),
        };
        let embedding = match (embedding, head) {
            // Programs that save a tensor under one of its names only may save it under this one.
            (None, Some(head)) if tied => head.to_owned(),
            _ => format!("{prefix}{EMBEDDING}"),
        };
        let of_mtp = names.clone().find(|name| unwrapped(name).starts_with(MTP)).unwrap_or_default();
        let before_mtp = of_mtp[..of_mtp.len() - unwrapped(of_mtp).len()].to_owned();
        Ok(Self { prefix, embedding, head: head.unwrap_or(HEAD).to_owned(), before_mtp, family: None })
    }

    /// The same where files have other names, those of `family` for a model of so many layers.
    pub(super) fn of_family(self, family: Option<Family>, layers: usize) -> Self {
        Self { family: family.map(|family| (family, layers)), ..self }
    }

    /// What messages call the tensor with this full name: what its file does.
    pub(super) fn shown(&self, full: &str) -> String {
        self.family.and_then(|(family, layers)| family.in_files(full, layers)).unwrap_or_else(|| full.to_owned())
    }

    /// The name in the files of what is called `name` in the text model, e.g. `layers.0.mlp.up_proj.weight`.
    pub(crate) fn full(&self, name: &str) -> String {
        match name {
            EMBEDDING => self.embedding.clone(),
            name => self.own(name),
        }
    }

    /// The same where no tensor goes by another one's name.
    pub(crate) fn own(&self, name: &str) -> String {
        match name {
            HEAD => self.head.clone(),
            name if name.starts_with(MTP) => format!("{}{name}", self.before_mtp),
            name => format!("{}{name}", self.prefix),
        }
    }
}

/// The name without what stands before it.
fn unwrapped(mut name: &str) -> &str {
    while let Some(rest) = WRAPPERS.into_iter().find_map(|wrapper| name.strip_prefix(wrapper)) {
        name = rest;
    }
    name
}

/// A model beside the text model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OtherModel {
    /// What sees.
    VisionTower,
    /// What predicts several tokens at once, `mtp`. One that we read is part of the model.
    MultiTokenHead,
}

impl OtherModel {
    /// That of the tensor with this full name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match unwrapped(name) {
            name if name.starts_with("visual.") => Some(Self::VisionTower),
            name if name.starts_with(MTP) => Some(Self::MultiTokenHead),
            _ => None,
        }
    }
}
