//! Keys and values as [`attend`](super::attend()) reads them: some positions of all heads in one piece of memory.
//!
//! Of each key and value head, keys come first, `[head_dim, positions]`, so that a vector has one element of the keys of
//! sixteen positions, and then values, `[positions, head_dim]`.

use half::f16;

use super::halves::round_to_half;

/// The positions in a block.
pub const KV_BLOCK: usize = 32;

/// What keys and values are kept as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheType {
    /// In half precision: half of the memory, and of what a token reads of it. Each number is rounded once, when it is
    /// written; sums are in single precision.
    F16,
    /// In single precision, as they were computed.
    F32,
}

impl CacheType {
    /// What it is called: `f16` or `f32`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
        }
    }

    /// The bytes of a number.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F16 => size_of::<f16>(),
            Self::F32 => size_of::<f32>(),
        }
    }
}

/// Keys and values of [`KV_BLOCK`] positions.
#[derive(Clone, Debug)]
pub struct KvBlock {
    elements: KvElements,
    head_dim: usize,
}

/// All numbers of a block: for each key and value head, keys `[head_dim, positions]`, then values
/// `[positions, head_dim]`.
#[derive(Clone, Debug)]
pub enum KvElements {
    /// In half precision.
    F16(Box<[f16]>),
    /// In single precision.
    F32(Box<[f32]>),
}

impl KvElements {
    fn len(&self) -> usize {
        match self {
            Self::F16(elements) => elements.len(),
            Self::F32(elements) => elements.len(),
        }
    }
}

impl KvBlock {
    /// A block of zeros.
    #[must_use]
    pub fn new(cache_type: CacheType, kv_heads: usize, head_dim: usize) -> Self {
        let count = 2 * kv_heads * KV_BLOCK * head_dim;
        let elements = match cache_type {
            CacheType::F16 => KvElements::F16(vec![f16::ZERO; count].into()),
            CacheType::F32 => KvElements::F32(vec![0.0; count].into()),
        };
        Self { elements, head_dim }
    }

    /// A block of these numbers.
    ///
    /// # Panics
    /// If they are not those of whole heads.
    #[must_use]
    pub fn of_elements(elements: KvElements, head_dim: usize) -> Self {
        let whole = head_dim > 0 && elements.len().is_multiple_of(2 * KV_BLOCK * head_dim);
        assert!(whole, "keys and values of whole heads");
        Self { elements, head_dim }
    }

    /// All its numbers.
    #[must_use]
    pub fn elements(&self) -> &KvElements {
        &self.elements
    }

    /// The bytes of a block; the largest number where they cannot be counted.
    #[must_use]
    pub fn bytes(cache_type: CacheType, kv_heads: usize, head_dim: usize) -> u64 {
        let sizes = [2, kv_heads, KV_BLOCK, head_dim, cache_type.size()];
        sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(size as u64))
    }

    /// The bytes that this block takes.
    #[must_use]
    pub fn size(&self) -> usize {
        match &self.elements {
            KvElements::F16(elements) => size_of_val(&**elements),
            KvElements::F32(elements) => size_of_val(&**elements),
        }
    }

    /// Writes the keys and values of one position, both `[kv_heads, head_dim]`.
    ///
    /// # Panics
    /// Where a block has no such place, or the sizes are not those that it was made for.
    pub fn write(&mut self, place: usize, keys: &[f32], values: &[f32]) {
        assert!(place < KV_BLOCK && keys.len() == values.len() && 2 * keys.len() * KV_BLOCK == self.elements.len());
        let head_dim = self.head_dim;
        match &mut self.elements {
            KvElements::F32(elements) => scatter(elements, head_dim, place, keys, values),
            KvElements::F16(elements) => {
                let mut halves = vec![f16::ZERO; 2 * keys.len()];
                let (rounded_keys, rounded_values) = halves.split_at_mut(keys.len());
                round_to_half(keys, rounded_keys);
                round_to_half(values, rounded_values);
                scatter(elements, head_dim, place, rounded_keys, rounded_values);
            }
        }
    }

    /// What is in it.
    pub(super) fn view(&self) -> KvView<'_> {
        KvView { elements: &self.elements, half: KV_BLOCK * self.head_dim }
    }
}

/// Puts the keys and values of one position where they belong.
fn scatter<T: Copy>(elements: &mut [T], head_dim: usize, place: usize, keys: &[T], values: &[T]) {
    let heads = elements.chunks_exact_mut(2 * KV_BLOCK * head_dim);
    for ((head, key), value) in heads.zip(keys.chunks_exact(head_dim)).zip(values.chunks_exact(head_dim)) {
        let (keys, values) = head.split_at_mut(KV_BLOCK * head_dim);
        keys.iter_mut().skip(place).step_by(KV_BLOCK).zip(key).for_each(|(to, &from)| *to = from);
        values[place * head_dim..][..head_dim].copy_from_slice(value);
    }
}

/// The elements of a block.
#[derive(Clone, Copy)]
pub(super) struct KvView<'a> {
    elements: &'a KvElements,
    /// How many are the keys, or the values, of a head.
    half: usize,
}

/// The keys, or the values, of a head in a block.
#[derive(Clone, Copy)]
pub(super) enum KvSlice<'a> {
    F16(&'a [f16]),
    F32(&'a [f32]),
}

impl<'a> KvView<'a> {
    /// The keys of a head, `[head_dim, positions]`.
    #[inline(always)]
    pub(super) fn keys(self, kv_head: usize) -> KvSlice<'a> {
        self.part(2 * kv_head)
    }

    /// The values of a head, `[positions, head_dim]`.
    #[inline(always)]
    pub(super) fn values(self, kv_head: usize) -> KvSlice<'a> {
        self.part(2 * kv_head + 1)
    }

    #[inline(always)]
    fn part(self, index: usize) -> KvSlice<'a> {
        let range = index * self.half..(index + 1) * self.half;
        match self.elements {
            KvElements::F16(elements) => KvSlice::F16(&elements[range]),
            KvElements::F32(elements) => KvSlice::F32(&elements[range]),
        }
    }
}

impl<'a> KvSlice<'a> {
    /// The memory that they lie in.
    #[inline(always)]
    pub(super) fn bytes(self) -> &'a [u8] {
        match self {
            Self::F16(numbers) => bytemuck::cast_slice(numbers),
            Self::F32(numbers) => bytemuck::cast_slice(numbers),
        }
    }
}
