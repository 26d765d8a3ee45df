//! Tensors that are read piece by piece into memory that is used again, for programs that pass over a checkpoint once
//! and must not fill memory with it. Mapped pages count as a process's own as soon as they are touched; read ones do not.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};

use super::aligned::AlignedBytes;
use super::directory::Checkpoint;
use super::error::CheckpointError;
use super::found::Entry;
use super::gguf::Transposed;
use super::source::open_regular;
use super::tensor::ElementType;
use crate::quant::Blocks;

/// A tensor that has the shape it must have and a type we read, and where it lies. Its elements were not looked at.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    name: String,
    element: ElementType,
    shape: Vec<usize>,
    file: PathBuf,
    /// Of the first element, in bytes from the beginning of the file.
    offset: u64,
    /// How its bytes are in another order in the file, if they are.
    order: Option<Transposed>,
    /// What undoes what was done to its values, if anything was.
    undo: Option<Undo>,
}

/// What undoes what a converter did to the values of a small tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undo {
    /// One was added: a norm's weight.
    Shift,
    /// `−exp` was taken: the logarithm of a rate of decay.
    Decay,
}

impl Undo {
    fn apply(self, values: &mut [f32]) {
        match self {
            Self::Shift => values.iter_mut().for_each(|value| *value -= 1.0),
            Self::Decay => values.iter_mut().for_each(|value| *value = (-*value).ln()),
        }
    }
}

impl Checkpoint {
    /// Finds a tensor by its name in the text model, as [`Checkpoint::take`] does, but looks at none of its elements. It
    /// counts as taken.
    ///
    /// # Errors
    /// If there is no such tensor, its shape is not `shape`, or its element type is none we read.
    pub fn find(&mut self, name: &str, shape: &[usize]) -> Result<StoredTensor, CheckpointError> {
        let entry = self.entry(name, shape)?;
        let (name, element, offset, order) = match &entry {
            Entry::InShard(entry) => (entry.name.clone(), entry.element(shape)?, entry.offset, None),
            Entry::InGguf(entry) => (entry.name().to_owned(), entry.element(shape)?, entry.offset(), entry.order()?),
            Entry::Converted(entry) => {
                let expected = "a tensor that was not converted";
                return Err(CheckpointError::tensor(&entry.place.path, &entry.name, expected, "a file of its own"));
            }
        };
        Ok(StoredTensor {
            name,
            element,
            shape: shape.to_vec(),
            file: entry.file().to_owned(),
            offset,
            order,
            undo: None,
        })
    }
}

impl StoredTensor {
    /// The full name in its file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same with values as they were published, which a converter has changed.
    pub(crate) fn undone(self, undo: Undo) -> Result<Self, CheckpointError> {
        if self.element != ElementType::F32 {
            let expected = "element type F32, as all small tensors that are changed";
            return Err(CheckpointError::tensor(&self.file, &self.name, expected, self.element.to_string()));
        }
        Ok(Self { undo: Some(undo), ..self })
    }

    /// What the elements are stored as.
    #[must_use]
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// The dimensions, outermost first.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The file it lies in.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The number of elements.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no tensor of a model is empty")]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// How many elements may be read at once so that they take no more than `bytes`: a power of two, and whole blocks.
    #[must_use]
    pub fn elements_in(&self, bytes: usize) -> usize {
        let blocks = (bytes / self.element.block_size()).max(1);
        self.element.block_len() << blocks.ilog2()
    }

    /// The bytes of all elements.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of_elements(self.element, self.len())
    }

    /// Opens its file, to read it from its first element on.
    ///
    /// # Errors
    /// If the file cannot be opened; of a checkpoint that is compiled into the program there is none.
    pub fn open(&self) -> Result<TensorReader, CheckpointError> {
        self.open_at(0)
    }

    /// Opens its file, to read it from the element with flat index `first` on.
    ///
    /// # Errors
    /// As [`StoredTensor::open`].
    ///
    /// # Panics
    /// If there are not so many elements, or it lies within a block.
    pub fn open_at(&self, first: usize) -> Result<TensorReader, CheckpointError> {
        assert!(first <= self.len(), "element {first} of {}", self.len());
        assert!(first.is_multiple_of(self.element.block_len()), "element {first}, within a block");
        let io = |action| move |source| CheckpointError::Io { file: self.file.clone(), action, source };
        let Some((file, _)) = open_regular(&self.file)? else {
            return Err(CheckpointError::file(&self.file, "the checkpoint's weights", "no such file"));
        };
        let before = size_of_elements(self.element, first);
        let mut bytes = InOrder { file, offset: self.offset, order: self.order, at: before, run: 0 };
        bytes.seek().map_err(io("read"))?;
        Ok(TensorReader {
            path: self.file.clone(),
            bytes,
            element: self.element,
            left: self.len() - first,
            undo: self.undo,
        })
    }
}

/// The bytes of `count` elements of a tensor, which lies in a file and so can be counted.
fn size_of_elements(element: ElementType, count: usize) -> usize {
    count.div_ceil(element.block_len()) * element.block_size()
}

/// Reads one tensor from its first element to its last.
#[derive(Debug)]
pub struct TensorReader {
    path: PathBuf,
    bytes: InOrder,
    element: ElementType,
    /// Elements that were not read yet.
    left: usize,
    undo: Option<Undo>,
}

impl TensorReader {
    /// Fills `piece` with the next elements, `most` or as many as are left; with none at the end. `most` must be whole
    /// blocks.
    ///
    /// # Errors
    /// If the file cannot be read, or has become shorter since the checkpoint was opened.
    pub fn read(&mut self, piece: &mut Piece, most: usize) -> Result<(), CheckpointError> {
        let count = self.left.min(most);
        (piece.element, piece.len) = (self.element, count);
        let read = piece.bytes.read(&mut self.bytes, size_of_elements(self.element, count));
        read.map_err(|source| CheckpointError::Io { file: self.path.clone(), action: "read", source })?;
        self.left -= count;
        if let Some(undo) = self.undo {
            undo.apply(bytemuck::cast_slice_mut(piece.bytes.as_mut()));
        }
        Ok(())
    }
}

/// A tensor's bytes in the published order, whichever they have in the file.
#[derive(Debug)]
struct InOrder {
    file: File,
    /// Of the tensor, in the file.
    offset: u64,
    order: Option<Transposed>,
    /// How many were read, or passed over.
    at: usize,
    /// How many may be read from where the file is.
    run: usize,
}

impl InOrder {
    /// Goes to where the next byte is in the file.
    fn seek(&mut self) -> io::Result<()> {
        let (from, run) = self.order.map_or((self.at, usize::MAX), |order| order.find(self.at));
        self.run = run;
        self.file.seek(SeekFrom::Start(self.offset + from as u64)).map(drop)
    }
}

impl Read for InOrder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.run == 0 {
            self.seek()?;
        }
        let most = into.len().min(self.run);
        let count = self.file.read(&mut into[..most])?;
        (self.at, self.run) = (self.at + count, self.run - count);
        Ok(count)
    }
}

/// Some consecutive elements of a tensor.
#[derive(Debug)]
pub struct Piece {
    element: ElementType,
    len: usize,
    bytes: AlignedBytes,
}

/// Elements as they are stored.
#[derive(Clone, Copy, Debug)]
pub enum Elements<'a> {
    /// In single precision.
    F32(&'a [f32]),
    /// In half precision.
    F16(&'a [f16]),
    /// The upper halves of singles.
    Bf16(&'a [bf16]),
    /// In blocks.
    Blocks {
        /// All blocks that the elements lie in.
        blocks: Blocks<'a>,
        /// How many elements there are.
        len: usize,
    },
}

impl Elements<'_> {
    /// Writes the elements from index `first` on to `out`, as many as it holds; exact, whatever they are stored as.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn read(&self, first: usize, out: &mut [f64]) {
        fn widen<T: Copy>(elements: &[T], out: &mut [f64], exact: impl Fn(T) -> f64) {
            for (to, &from) in out.iter_mut().zip(elements) {
                *to = exact(from);
            }
        }
        let range = first..first + out.len();
        match self {
            Self::F32(elements) => widen(&elements[range], out, f64::from),
            Self::F16(elements) => widen(&elements[range], out, f64::from),
            Self::Bf16(elements) => {
                widen(&elements[range], out, |element| f32::from_bits(u32::from(element.to_bits()) << 16).into());
            }
            Self::Blocks { blocks, .. } => {
                let mut single = [0.0; 1 << 10];
                for (index, out) in out.chunks_mut(single.len()).enumerate() {
                    let single = &mut single[..out.len()];
                    blocks.dequantize(first + (index << 10), single);
                    widen(single, out, f64::from);
                }
            }
        }
    }

    /// The number of elements.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a piece says whether it is empty")]
    pub fn len(&self) -> usize {
        match self {
            Self::F32(elements) => elements.len(),
            Self::F16(elements) => elements.len(),
            Self::Bf16(elements) => elements.len(),
            Self::Blocks { len, .. } => *len,
        }
    }
}

impl Default for Piece {
    fn default() -> Self {
        Self { element: ElementType::F32, len: 0, bytes: AlignedBytes::default() }
    }
}

impl Piece {
    /// The elements.
    #[must_use]
    pub fn elements(&self) -> Elements<'_> {
        let bytes = self.bytes.as_ref();
        if let Some(blocks) = self.element.blocks(bytes) {
            return Elements::Blocks { blocks, len: self.len };
        }
        match self.element {
            ElementType::F16 => Elements::F16(bytemuck::cast_slice(bytes)),
            ElementType::Bf16 => Elements::Bf16(bytemuck::cast_slice(bytes)),
            _ => Elements::F32(bytemuck::cast_slice(bytes)),
        }
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes of these elements.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.as_ref().len()
    }

    /// Whether there are no elements: the tensor has ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.size() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::checkpoint::Tensor;
    use crate::quant::ggml::testing::AnyBlocks;

    #[test]
    fn blocks_are_read_in_pieces_from_any_block_on() {
        let (blocks, element, shape) = (AnyBlocks::random(5, 1, 4096), ElementType::Q6K, vec![4, 1024]);
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[7; 32]).unwrap();
        file.write_all(blocks.bytes()).unwrap();
        let stored = StoredTensor {
            name: "t".into(),
            element,
            shape: shape.clone(),
            file: file.path().into(),
            offset: 32,
            order: None,
            undo: None,
        };
        assert_eq!(stored.size(), blocks.bytes().len());
        assert_eq!([1, 210, 1000].map(|bytes| stored.elements_in(bytes)), [256, 256, 1024]);

        let exact = Tensor::new("t", element, shape, blocks.bytes().to_vec().into()).unwrap().to_f32();
        for first in [0, 512] {
            let (mut reader, mut piece, mut at) = (stored.open_at(first).unwrap(), Piece::default(), first);
            loop {
                reader.read(&mut piece, 768).unwrap();
                if piece.is_empty() {
                    break;
                }
                assert_eq!((piece.len(), piece.size()), (768.min(4096 - at), piece.len() / 256 * 210));
                let mut values = vec![0.0; piece.len() - 5];
                piece.elements().read(5, &mut values);
                let expected: Vec<f64> = exact[at + 5..at + piece.len()].iter().copied().map(f64::from).collect();
                assert_eq!(values, expected);
                at += piece.len();
            }
            assert_eq!(at, 4096);
        }
    }
}
