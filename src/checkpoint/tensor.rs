//! A tensor as it is stored: a name, an element type, a shape, and bytes that lie in a mapped file wherever possible.

#![forbid(unsafe_code)]

use std::fmt;
use std::path::Path;

use bytes::Bytes;
use half::{bf16, f16};

use super::aligned::AlignedBytes;
use super::error::CheckpointError;
use crate::quant::ggml::{BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5K, BlockQ6K, BlockQ8_0, QK_K};
use crate::quant::{BLOCK_LEN, Block, Blocks, Weight};

#[cfg(target_endian = "big")]
compile_error!("checkpoints are little-endian and read in place: big-endian machines are not supported");

/// Twice as many as any tensor of a published model has.
pub(super) const MOST_DIMENSIONS: usize = 10;

/// What the elements of a tensor are stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single: 8 bits of exponent, 7 of fraction.
    Bf16,
    /// Four bits each, in [`Block`]s over the flat tensor, the last of which need not be full.
    Q4,
    /// Eight bits each, in [`BlockQ8_0`]s, of which rows are a whole number, as of all that follow.
    Q8_0,
    /// Four bits each, in [`BlockQ4_0`]s.
    Q4_0,
    /// Four bits each, in [`BlockQ4_1`]s.
    Q4_1,
    /// Four bits each, in [`BlockQ4K`]s.
    Q4K,
    /// Five bits each, in [`BlockQ5K`]s.
    Q5K,
    /// Six bits each, in [`BlockQ6K`]s.
    Q6K,
}

impl ElementType {
    /// Elements that are only stored together: 1, unless they are blocks.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => 1,
            Self::Q4 | Self::Q8_0 | Self::Q4_0 | Self::Q4_1 => BLOCK_LEN,
            Self::Q4K | Self::Q5K | Self::Q6K => QK_K,
        }
    }

    /// The bytes of so many elements.
    #[must_use]
    pub const fn block_size(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::F16 | Self::Bf16 => size_of::<f16>(),
            Self::Q4 => size_of::<Block>(),
            Self::Q8_0 => size_of::<BlockQ8_0>(),
            Self::Q4_0 => size_of::<BlockQ4_0>(),
            Self::Q4_1 => size_of::<BlockQ4_1>(),
            Self::Q4K => size_of::<BlockQ4K>(),
            Self::Q5K => size_of::<BlockQ5K>(),
            Self::Q6K => size_of::<BlockQ6K>(),
        }
    }

    /// The bytes that `count` elements take, if they can be counted. The last block need not be full.
    #[must_use]
    pub const fn bytes_for(self, count: usize) -> Option<usize> {
        count.div_ceil(self.block_len()).checked_mul(self.block_size())
    }

    /// Whether a tensor of this shape can be stored so: in ggml's types, a row is whole blocks.
    #[must_use]
    pub fn can_store(self, shape: &[usize]) -> bool {
        self == Self::Q4 || shape.last().copied().unwrap_or(1).is_multiple_of(self.block_len())
    }

    /// What a tensor is stored as in files of this type. Vectors are in half precision beside blocks, and so are matrices
    /// that cannot be stored in these, as converters have it.
    #[must_use]
    pub fn of_tensor(self, shape: &[usize], is_matrix: bool) -> Self {
        if self.block_len() == 1 || (is_matrix && self.can_store(shape)) { self } else { Self::F16 }
    }

    /// The blocks that `bytes` are, if they are blocks. Panics if they are not aligned, or not whole blocks.
    pub(crate) fn blocks(self, bytes: &[u8]) -> Option<Blocks<'_>> {
        Some(match self {
            Self::F32 | Self::F16 | Self::Bf16 => return None,
            Self::Q4 => Blocks::Q4(bytemuck::cast_slice(bytes)),
            Self::Q8_0 => Blocks::Q8_0(bytemuck::cast_slice(bytes)),
            Self::Q4_0 => Blocks::Q4_0(bytemuck::cast_slice(bytes)),
            Self::Q4_1 => Blocks::Q4_1(bytemuck::cast_slice(bytes)),
            Self::Q4K => Blocks::Q4K(bytemuck::cast_slice(bytes)),
            Self::Q5K => Blocks::Q5K(bytemuck::cast_slice(bytes)),
            Self::Q6K => Blocks::Q6K(bytemuck::cast_slice(bytes)),
        })
    }

    /// Writes the elements from flat index `first` on in single precision, as many as `out` holds; exact. Panics if there
    /// are not so many, or if `bytes` are not aligned.
    pub(crate) fn widen(self, bytes: &[u8], first: usize, out: &mut [f32]) {
        if let Some(blocks) = self.blocks(bytes) {
            return blocks.dequantize(first, out);
        }
        match self {
            Self::F16 => f16::widen(&bytemuck::cast_slice(bytes)[first..first + out.len()], out),
            Self::Bf16 => bf16::widen(&bytemuck::cast_slice(bytes)[first..first + out.len()], out),
            _ => out.copy_from_slice(&bytemuck::cast_slice(bytes)[first..first + out.len()]),
        }
    }

    /// What the bytes' address must be divisible by.
    const fn alignment(self) -> usize {
        match self {
            Self::F32 => align_of::<f32>(),
            _ => align_of::<f16>(),
        }
    }
}

/// The types' names in files.
impl fmt::Display for ElementType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4 => "Q4",
            Self::Q8_0 => "Q8_0",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        })
    }
}

/// A tensor in its storage type. Cheap to clone: clones share the bytes.
#[derive(Clone, Debug)]
pub struct Tensor {
    name: String,
    element: ElementType,
    shape: Vec<usize>,
    bytes: Bytes,
}

impl Tensor {
    /// A tensor of row-major, little-endian `bytes`. They are copied only if they are not aligned for `element`.
    ///
    /// # Errors
    /// If the shape's product overflows or is not the number of elements in `bytes`, or if a row is not whole blocks and
    /// must be.
    pub fn new(
        name: impl Into<String>,
        element: ElementType,
        shape: Vec<usize>,
        bytes: Bytes,
    ) -> Result<Self, CheckpointError> {
        let name = name.into();
        if !element.can_store(&shape) {
            let expected = format!("rows of whole blocks of {} for {element}", element.block_len());
            return Err(CheckpointError::tensor(Path::new("memory"), &name, expected, format!("shape {shape:?}")));
        }
        let count = shape.iter().try_fold(1usize, |count, &dimension| count.checked_mul(dimension));
        let size = count.and_then(|count| element.bytes_for(count));
        if size != Some(bytes.len()) {
            let expected = match size {
                Some(size) => format!("{size} bytes for {element} {shape:?}"),
                None => format!("a shape whose size can be counted, not {shape:?}"),
            };
            return Err(CheckpointError::tensor(
                Path::new("memory"),
                &name,
                expected,
                format!("{} bytes", bytes.len()),
            ));
        }
        Ok(Self { name, element, shape, bytes: aligned(bytes, element.alignment()) })
    }

    /// The full name in its file.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
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

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements' bytes, aligned for the element type, row-major, little-endian.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The blocks of a tensor of our own four bits.
    #[must_use]
    pub fn blocks(&self) -> Option<&[Block]> {
        (self.element == ElementType::Q4).then(|| bytemuck::cast_slice(&self.bytes))
    }

    /// The blocks of a tensor in any type that has some.
    pub(crate) fn any_blocks(&self) -> Option<Blocks<'_>> {
        self.element.blocks(&self.bytes)
    }

    /// All elements in single precision; exact, whatever they are stored as.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.element.widen(&self.bytes, 0, &mut values);
        values
    }
}

/// `bytes` at an address divisible by `alignment` (at most 4): the same ones, or a copy where a file has them elsewhere.
fn aligned(bytes: Bytes, alignment: usize) -> Bytes {
    if bytes.as_ptr().addr().is_multiple_of(alignment) {
        return bytes;
    }
    Bytes::from_owner(AlignedBytes::copy_of(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(element: ElementType, bytes: &[u8]) -> Tensor {
        let shape = vec![bytes.len() / element.bytes_for(1).unwrap()];
        Tensor::new("t", element, shape, Bytes::copy_from_slice(bytes)).unwrap()
    }

    #[test]
    fn converts_each_element_type_exactly() {
        let values = [0.0f32, -0.0, 1.0, -2.5, 0.099_975_586];
        let f32_bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(tensor(ElementType::F32, &f32_bytes).to_f32(), values);
        let f16_bytes: Vec<u8> = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        assert_eq!(tensor(ElementType::F16, &f16_bytes).to_f32(), values);
        let bf16_bytes: Vec<u8> = values[..4].iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
        assert_eq!(tensor(ElementType::Bf16, &bf16_bytes).to_f32(), values[..4]);
    }

    #[test]
    fn misaligned_bytes_are_copied_and_aligned_ones_are_not() {
        let backing = Bytes::from_owner(vec![7u8; 64]);
        let offset = backing.as_ptr().addr().wrapping_neg() % 4;
        let even = backing.slice(offset..offset + 16);
        let odd = backing.slice(offset + 1..offset + 17);
        let even_tensor = Tensor::new("t", ElementType::F32, vec![4], even.clone()).unwrap();
        assert_eq!(even_tensor.bytes().as_ptr(), even.as_ptr());
        let odd_tensor = Tensor::new("t", ElementType::F32, vec![4], odd.clone()).unwrap();
        assert_eq!(odd_tensor.bytes().as_ptr().addr() % 4, 0);
        assert_eq!(odd_tensor.bytes(), &odd[..]);
    }

    #[test]
    fn rows_are_whole_blocks_where_they_must_be() {
        let refused = |element: ElementType, shape: &[usize]| {
            let size = element.bytes_for(shape.iter().product()).unwrap();
            let error = Tensor::new("t", element, shape.to_vec(), vec![0; size].into()).err();
            error.map(|error| error.to_string())
        };
        for (element, len) in [(ElementType::Q8_0, 32), (ElementType::Q4_0, 32), (ElementType::Q6K, 256)] {
            assert_eq!((element.block_len(), refused(element, &[3, 2 * len])), (len, None));
            let error = refused(element, &[2, len / 2]).unwrap();
            let expected = format!("rows of whole blocks of {len} for {element}, found shape [2, {}]", len / 2);
            assert!(error.contains(&expected), "{error}");
        }
        assert_eq!(refused(ElementType::Q4, &[2, 16]), None);
    }

    #[test]
    fn a_shape_that_is_not_its_bytes_is_refused() {
        for shape in [vec![3], vec![], vec![usize::MAX, 2], vec![1 << 62, 4]] {
            let error = Tensor::new("t", ElementType::F32, shape, Bytes::from_static(&[0; 16])).unwrap_err();
            assert!(error.to_string().contains("16 bytes"), "{error}");
        }
    }
}
