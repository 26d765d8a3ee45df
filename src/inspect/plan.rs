//! A directory that was looked through, before anyone has looked at its weights.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::checksums::Checksums;
use super::error::InspectError;
use super::input::Contents;
use super::options::InspectOptions;
use super::pass::{self, InspectProgress};
use super::report::{FileReport, InspectReport, InspectedTensor, Purpose};
use crate::checkpoint::{
    CheckpointError, EMBEDDING, ElementType, Examination, HEAD, ModelConfig, OtherModel, Placement, TensorEntry,
    open_regular, stack_of,
};
use crate::world::promised::{PromisedTensor, promised_tensors};

/// An inspection that has not looked at weights yet.
#[derive(Debug)]
pub struct Inspection {
    report: InspectReport,
    /// Where the elements of each tensor of the report lie; `None` if that is not known.
    placements: Vec<Option<Placement>>,
    checksums: Checksums,
    /// Those that loading reads beside those with tensors.
    files: Vec<PathBuf>,
}

impl Inspection {
    /// Looks through the configuration, the text side and the headers of all weights in `path`: a directory, or a GGUF file.
    ///
    /// # Errors
    /// If `path` is neither. Whatever else is wrong will be in the report.
    pub fn plan(path: &Path) -> Result<Self, InspectError> {
        let mut examination = Examination::of(path)?;
        let mut faults = std::mem::take(&mut examination.faults);
        let mut warnings = std::mem::take(&mut examination.warnings);
        let config = examination.config.clone();

        let mut entries: BTreeMap<String, TensorEntry> =
            examination.published().map(|(name, entry)| (name.to_owned(), entry)).collect();
        let (mut tensors, mut placements) = (Vec::new(), Vec::new());
        let mut add = |entry, placement: Option<Placement>, purpose, name| {
            let element = placement.map(|placement| placement.element);
            tensors.push(InspectedTensor { entry, element, purpose, name, statistics: None });
            placements.push(placement);
        };
        let mut complete = true;
        for promised in config.iter().flat_map(promised) {
            let is_matrix = promised.is_matrix();
            let PromisedTensor { name, shape, .. } = promised;
            let full = examination.names().full(&name);
            let placement = examination.place(&full, &shape).and_then(|placed| kept(placed, &mut faults));
            complete &= placement.is_some();
            let holder = examination.holder(&full);
            let Some(entry) = entries.remove(&holder) else { continue };
            let purpose = if is_matrix { Purpose::Matrix } else { Purpose::Vector };
            if holder == full {
                add(entry, placement, purpose, name);
                continue;
            }
            // The first of several that share it.
            let whole = examination.place(&holder, &entry.shape).and_then(Result::ok);
            let name = stack_of(&name).map_or(name, |(stack, _)| stack);
            add(entry, whole, purpose, name);
        }
        for (name, entry) in entries {
            let placed = examination.place(&name, &entry.shape);
            let placement = placed.and_then(|placed| kept(placed, &mut warnings));
            let is_head = name == examination.names().full(HEAD);
            add(entry, placement, purpose(&name, is_head, config.as_ref()), name);
        }

        let beside = if path.is_file() { path.parent().unwrap_or(Path::new("")) } else { path };
        let checksums = Checksums::read(beside, &mut warnings);
        let report = InspectReport {
            directory: path.into(),
            metadata: std::mem::take(&mut examination.metadata),
            complete: complete && config.is_some(),
            config,
            tensors,
            files: Vec::new(),
            histograms: BTreeMap::new(),
            problems: faults.into_iter().map(InspectError::from).collect(),
            warnings: warnings.into_iter().map(InspectError::from).collect(),
        };
        Ok(Self { report, placements, checksums, files: examination.files().to_vec() })
    }

    /// The configuration, unless it was refused.
    #[must_use]
    pub fn config(&self) -> Option<&ModelConfig> {
        self.report.config.as_ref()
    }

    /// Reads every file of the checkpoint on the threads of the current rayon pool. `progress` is told how far it is, many
    /// times a second, and may stop it.
    ///
    /// # Errors
    /// [`InspectError::Stopped`]. What is wrong with the checkpoint is in the report.
    pub fn run(
        self,
        options: InspectOptions,
        progress: impl FnMut(InspectProgress<'_>) -> ControlFlow<()> + Send,
    ) -> Result<InspectReport, InspectError> {
        let contents = self.contents();
        let Self { mut report, checksums, .. } = self;
        let passed = pass::run(&contents, &mut report, options, progress)?;
        for (tensor, fault) in passed.faults {
            let is_used = tensor.is_none_or(|index| report.tensors[index].purpose.is_used());
            let faults = if is_used { &mut report.problems } else { &mut report.warnings };
            faults.push(fault.into());
        }
        for (file, sha256) in contents.into_iter().zip(passed.sha256) {
            let mut confirmed_by = Vec::new();
            for (list, expected) in checksums.of(&file.path) {
                match &sha256 {
                    Some(found) if *found == expected => confirmed_by.push(list),
                    Some(found) => {
                        let (file, found) = (file.path.clone(), found.clone());
                        report.problems.push(InspectError::Checksum { file, list, expected, found });
                    }
                    None => {}
                }
            }
            report.files.push(FileReport { path: file.path, bytes: file.bytes, sha256, confirmed_by });
        }
        Ok(report)
    }

    /// Every file that can be opened, and which tensors lie where in it.
    fn contents(&self) -> Vec<Contents> {
        let mut paths: BTreeSet<PathBuf> = self.files.iter().cloned().collect();
        let mut tensors: BTreeMap<&Path, Vec<(usize, u64, ElementType, u64)>> = BTreeMap::new();
        for (index, (tensor, placement)) in self.report.tensors.iter().zip(&self.placements).enumerate() {
            let TensorEntry { file, bytes, .. } = &tensor.entry;
            paths.insert(file.clone());
            if let (Some(Placement { element, offset }), Some(bytes)) = (placement, bytes) {
                tensors.entry(file).or_default().push((index, *offset, *element, *bytes));
            }
        }
        let mut contents = Vec::new();
        for path in paths {
            // One that cannot be opened is among the problems already.
            let Ok(Some((_, bytes))) = open_regular(&path) else { continue };
            let inside = tensors.remove(path.as_path()).unwrap_or_default();
            contents.push(Contents::new(path, bytes, inside));
        }
        contents
    }
}

/// What `config` promises, the head right behind the embedding.
fn promised(config: &ModelConfig) -> Vec<PromisedTensor> {
    let mut promised = promised_tensors(config);
    promised.sort_by_key(|tensor| match &*tensor.name {
        EMBEDDING => 0,
        HEAD => 1,
        _ => 2,
    });
    promised
}

fn purpose(name: &str, is_head: bool, config: Option<&ModelConfig>) -> Purpose {
    match (OtherModel::of(name), config) {
        (Some(other), _) => Purpose::Other(other),
        (None, None) => Purpose::Unknown,
        (None, Some(config)) if is_head && config.tie_word_embeddings => Purpose::TiedHead,
        (None, Some(_)) => Purpose::LeftOver,
    }
}

fn kept<T>(result: Result<T, CheckpointError>, faults: &mut Vec<CheckpointError>) -> Option<T> {
    result.map_err(|fault| faults.push(fault)).ok()
}
