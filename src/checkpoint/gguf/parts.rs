//! A model that is split over several files, as `llama-gguf-split` writes them: `NAME-00001-of-00003.gguf` and so on.
//! The first has the metadata and may have no tensor; each of the others says which it is.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::cursor::Cursor;
use super::header::Header;
use super::metadata::Metadata;
use super::tensors::{Info, Tensors};
use crate::checkpoint::error::{CheckpointError, Faults};
use crate::checkpoint::source::Source;

const COUNT: &str = "split.count";
const NUMBER: &str = "split.no";
const TENSORS: &str = "split.tensors.count";
/// Ten times the largest published models' parts.
const MOST: u64 = 999;

/// All parts of a model together.
pub(super) struct Parts {
    pub(super) files: Vec<PathBuf>,
    /// The first one's.
    pub(super) metadata: Metadata,
    pub(super) infos: Vec<Info>,
    /// Names of tensors that `faults` had to be told of.
    pub(super) unread: BTreeSet<String>,
    /// Whether there may be more of those.
    pub(super) is_partial: bool,
}

impl Parts {
    /// Reads the file `name` in `directory`, and those that belong to it; any of them may be named.
    pub(super) fn read(directory: Source<'_>, name: &str, faults: Faults<'_>) -> Result<Self, CheckpointError> {
        let Some(split) = SplitName::of(name) else {
            let whole = Part::read(directory, name, faults)?;
            if let Some(count) = whole.metadata.integer(COUNT)?.filter(|&count| count > 1) {
                let expected = format!("a name that ends in -00001-of-{count:05}.gguf, for a model in {count} parts");
                return Err(CheckpointError::file(&whole.file, expected, "another name"));
            }
            let Part { file, metadata, tensors } = whole;
            let Tensors { infos, unread } = tensors;
            return Ok(Self { files: vec![file], metadata, infos, unread, is_partial: false });
        };
        let first = Part::read(directory, &split.name(1), faults)?;
        first.check(&split, 1)?;
        let Part { file, metadata, tensors: Tensors { infos, unread } } = first;
        let mut all = Self { files: vec![file], metadata, infos, unread, is_partial: false };
        for number in 2..=split.count {
            let read = Part::read(directory, &split.name(number), faults).and_then(|part| {
                part.check(&split, number)?;
                Ok(part)
            });
            match read {
                Ok(part) => all.add(part, faults)?,
                Err(error) => {
                    faults(error)?;
                    all.is_partial = true;
                }
            }
        }
        all.check_count(faults)?;
        Ok(all)
    }

    fn add(&mut self, part: Part, faults: Faults<'_>) -> Result<(), CheckpointError> {
        self.files.push(part.file);
        self.unread.extend(part.tensors.unread);
        let others: HashMap<&str, &Path> = self.infos.iter().map(|info| (&*info.name, &*info.file)).collect();
        for info in &part.tensors.infos {
            if let Some(other) = others.get(&*info.name) {
                let found = format!("it in {} as well", other.display());
                faults(CheckpointError::tensor(&info.file, &info.name, "it in one part", found))?;
            }
        }
        self.infos.extend(part.tensors.infos);
        Ok(())
    }

    /// Refuses parts that have not as many tensors together as the first one says.
    fn check_count(&self, faults: Faults<'_>) -> Result<(), CheckpointError> {
        let found = (self.infos.len() + self.unread.len()) as u64;
        match self.metadata.integer(TENSORS)? {
            Some(count) if count != found && !self.is_partial => {
                let expected = format!("as many tensors as all parts have, which is {found}");
                faults(self.metadata.error(TENSORS, expected))
            }
            _ => Ok(()),
        }
    }
}

/// One file.
struct Part {
    file: PathBuf,
    metadata: Metadata,
    tensors: Tensors,
}

impl Part {
    fn read(directory: Source<'_>, name: &str, faults: Faults<'_>) -> Result<Self, CheckpointError> {
        let file = directory.path(name);
        let Some(bytes) = directory.map(name)? else {
            return Err(CheckpointError::file(&file, "a GGUF file", "no such file"));
        };
        Self::parse(file, &bytes, faults)
    }

    fn parse(file: PathBuf, bytes: &Bytes, faults: Faults<'_>) -> Result<Self, CheckpointError> {
        let mut cursor = Cursor::new(&file, bytes);
        let header = Header::read(&file, bytes, &mut cursor)?;
        let metadata = Metadata::read(&file, bytes, &mut cursor, header.pairs, faults)?;
        let tensors = Tensors::read(&metadata, bytes, &mut cursor, header.tensors, faults)?;
        Ok(Self { file, metadata, tensors })
    }

    /// Whether the file is the part that its name says it is.
    fn check(&self, split: &SplitName<'_>, number: u64) -> Result<(), CheckpointError> {
        for (key, expected) in [(COUNT, split.count), (NUMBER, number - 1)] {
            if self.metadata.integer(key)? != Some(expected) {
                return Err(self.metadata.error(key, format!("{expected}, as the file's name says")));
            }
        }
        Ok(())
    }
}

/// Whether a file of this name is a part of a model behind the first one.
pub(in crate::checkpoint) fn is_later_part(name: &str) -> bool {
    SplitName::of(name).is_some_and(|split| split.index > 1)
}

/// The names of all parts of the model that a file of this name is one of: its own, if it is the only one.
pub(in crate::checkpoint) fn names_of_parts(name: &str) -> Vec<String> {
    match SplitName::of(name) {
        Some(split) => (1..=split.count).map(|number| split.name(number)).collect(),
        None => vec![name.to_owned()],
    }
}

/// The name of a part: `STEM-00001-of-00003.gguf`.
#[derive(Debug, PartialEq, Eq)]
struct SplitName<'a> {
    stem: &'a str,
    /// From 1 on.
    index: u64,
    count: u64,
}

impl<'a> SplitName<'a> {
    fn of(name: &'a str) -> Option<Self> {
        const DIGITS: usize = 5;
        let number = |digits: &str| {
            (digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
        };
        let (rest, count) = name.strip_suffix(".gguf")?.rsplit_once("-of-")?;
        let (stem, index) = rest.rsplit_once('-')?;
        let (index, count): (u64, u64) = (number(index)?, number(count)?);
        ((1..=count).contains(&index) && count <= MOST).then_some(Self { stem, index, count })
    }

    fn name(&self, number: u64) -> String {
        format!("{}-{number:05}-of-{:05}.gguf", self.stem, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_parts_are_told_from_others() {
        let part = SplitName::of("a-b-00002-of-00003.gguf").unwrap();
        assert_eq!(part, SplitName { stem: "a-b", index: 2, count: 3 });
        assert_eq!(part.name(1), "a-b-00001-of-00003.gguf");
        for other in [
            "a.gguf",
            "a-00000-of-00003.gguf",
            "a-00004-of-00003.gguf",
            "a-2-of-3.gguf",
            "a-00001-of-00003.bin",
            "a-00001-of-99999.gguf",
            "a-+0001-of-00003.gguf",
        ] {
            assert_eq!(SplitName::of(other), None, "{other}");
            assert_eq!(names_of_parts(other), [other]);
        }
        assert_eq!(names_of_parts("a-00002-of-00002.gguf"), ["a-00001-of-00002.gguf", "a-00002-of-00002.gguf"]);
    }
}
