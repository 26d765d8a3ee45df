//! The bytes of many files, one after the other, in pieces that never hold elements of two tensors.

use std::fs::File;
use std::path::PathBuf;

use crate::checkpoint::{AlignedBytes, CheckpointError, ElementType, open_regular};

/// What is read at a time.
const PIECE: u64 = 4 << 20;

/// Elements that a thread takes at a time: large enough that handing them out costs nothing, small enough that they stay
/// in a core's second cache. Sums are added up in their order, so that they are the same on any number of threads.
pub(super) const RUN: usize = 1 << 14;

/// A file and what lies in it.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) path: PathBuf,
    /// When it was first looked at.
    pub(super) bytes: u64,
    /// From its first byte to its last.
    stretches: Vec<Stretch>,
}

/// Consecutive bytes of a file.
#[derive(Debug)]
struct Stretch {
    bytes: u64,
    /// Index of the tensor whose elements they are, and how they are stored; `None` for a header and the like.
    tensor: Option<(usize, ElementType)>,
}

impl Contents {
    /// A file with `tensors`, each with its offset, its type and its bytes, which do not overlap.
    pub(super) fn new(path: PathBuf, bytes: u64, mut tensors: Vec<(usize, u64, ElementType, u64)>) -> Self {
        tensors.sort_by_key(|&(_, offset, ..)| offset);
        let mut stretches = Vec::new();
        let mut end = 0;
        for (index, offset, element, length) in tensors {
            stretches.push(Stretch { bytes: offset.saturating_sub(end), tensor: None });
            stretches.push(Stretch { bytes: length, tensor: Some((index, element)) });
            end = offset + length;
        }
        stretches.push(Stretch { bytes: bytes.saturating_sub(end), tensor: None });
        Self { path, bytes, stretches }
    }
}

/// A piece of a file.
#[derive(Default)]
pub(super) struct Piece {
    /// Index of the file; `None` where there are no more pieces.
    pub(super) file: Option<usize>,
    /// Index of the tensor whose elements these are, how they are stored, and the flat index of the first.
    pub(super) tensor: Option<(usize, ElementType, usize)>,
    /// Whether the file ends behind it, as it should or with an error.
    pub(super) is_last: bool,
    /// Why there is nothing more of this file.
    pub(super) error: Option<CheckpointError>,
    bytes: AlignedBytes,
}

impl Piece {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

/// All pieces in order.
pub(super) struct Input<'a> {
    files: &'a [Contents],
    file: usize,
    open: Option<File>,
    stretch: usize,
    /// Bytes of the stretch that were read.
    done: u64,
}

impl<'a> Input<'a> {
    pub(super) fn new(files: &'a [Contents]) -> Self {
        Self { files, file: 0, open: None, stretch: 0, done: 0 }
    }

    /// Puts the next piece into `piece`, or empties it if there is none.
    pub(super) fn fill(&mut self, piece: &mut Piece) {
        (piece.file, piece.tensor, piece.is_last, piece.error) = (None, None, false, None);
        piece.bytes.clear();
        let Some(contents) = self.files.get(self.file) else { return };
        piece.file = Some(self.file);
        piece.error = self.read(contents, piece).err();
        piece.is_last = piece.error.is_some() || self.stretch == contents.stretches.len();
        if piece.is_last {
            (self.file, self.open, self.stretch, self.done) = (self.file + 1, None, 0, 0);
        }
    }

    fn read(&mut self, contents: &Contents, piece: &mut Piece) -> Result<(), CheckpointError> {
        let io = |action| move |source| CheckpointError::Io { file: contents.path.clone(), action, source };
        let file = match &mut self.open {
            Some(file) => file,
            open => {
                let Some((file, _)) = open_regular(&contents.path)? else {
                    return Err(io("open")(std::io::ErrorKind::NotFound.into()));
                };
                open.insert(file)
            }
        };
        let Some(stretch) = contents.stretches.get(self.stretch) else { return Ok(()) };
        let most = match stretch.tensor {
            None => PIECE,
            Some((_, element)) => {
                let block = element.block_size() as u64;
                PIECE / block * block
            }
        };
        let length = usize::try_from(most.min(stretch.bytes - self.done)).unwrap_or(0);
        piece.bytes.read(file, length).map_err(io("read"))?;
        piece.tensor = stretch.tensor.map(|(index, element)| {
            let blocks = self.done / element.block_size() as u64;
            (index, element, usize::try_from(blocks).unwrap_or(0) * element.block_len())
        });
        self.done += length as u64;
        if self.done == stretch.bytes {
            (self.stretch, self.done) = (self.stretch + 1, 0);
        }
        Ok(())
    }
}
