//! Keys and values as [`attend`](super::attend()) reads them: some positions of all heads in one piece of memory.

/// The positions in a block.
pub const KV_BLOCK: usize = 32;

/// Keys and values of [`KV_BLOCK`] positions: for each key and value head, keys `[positions, head_dim]`, then values.
#[derive(Clone, Debug)]
pub struct KvBlock {
    elements: Box<[f32]>,
    head_dim: usize,
}

impl KvBlock {
    /// A block of zeros.
    #[must_use]
    pub fn new(kv_heads: usize, head_dim: usize) -> Self {
        Self { elements: vec![0.0; 2 * kv_heads * KV_BLOCK * head_dim].into(), head_dim }
    }

    /// A block of these numbers, in the order of [`elements`](Self::elements).
    ///
    /// # Panics
    /// If they are not those of whole heads.
    #[must_use]
    pub fn of_elements(elements: Box<[f32]>, head_dim: usize) -> Self {
        assert!(
            head_dim > 0 && elements.len().is_multiple_of(2 * KV_BLOCK * head_dim),
            "keys and values of whole heads"
        );
        Self { elements, head_dim }
    }

    /// All its numbers: for each key and value head, keys `[positions, head_dim]`, then values.
    #[must_use]
    pub fn elements(&self) -> &[f32] {
        &self.elements
    }

    /// The bytes of a block; the largest number where they cannot be counted.
    #[must_use]
    pub fn bytes(kv_heads: usize, head_dim: usize) -> u64 {
        let sizes = [2, kv_heads, KV_BLOCK, head_dim, size_of::<f32>()];
        sizes.iter().fold(1, |product: u64, &size| product.saturating_mul(size as u64))
    }

    /// The bytes that this block takes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of_val(&*self.elements)
    }

    /// Writes the keys and values of one position, both `[kv_heads, head_dim]`.
    ///
    /// # Panics
    /// Where a block has no such place, or the sizes are not those that it was made for.
    pub fn write(&mut self, place: usize, keys: &[f32], values: &[f32]) {
        assert!(place < KV_BLOCK && keys.len() == values.len() && 2 * keys.len() * KV_BLOCK == self.elements.len());
        let parts = keys.chunks_exact(self.head_dim).zip(values.chunks_exact(self.head_dim));
        let halves = self.elements.chunks_exact_mut(KV_BLOCK * self.head_dim);
        for (half, part) in halves.zip(parts.flat_map(|(keys, values)| [keys, values])) {
            half[place * self.head_dim..][..self.head_dim].copy_from_slice(part);
        }
    }

    /// What is in it.
    pub(super) fn view(&self) -> KvView<'_> {
        KvView { elements: &self.elements, half: KV_BLOCK * self.head_dim }
    }
}

/// The elements of a block.
#[derive(Clone, Copy)]
pub(super) struct KvView<'a> {
    elements: &'a [f32],
    /// The keys, or the values, of a head.
    half: usize,
}

impl<'a> KvView<'a> {
    /// The keys of a head, `[positions, head_dim]`.
    #[inline(always)]
    pub(super) fn keys(self, kv_head: usize) -> &'a [f32] {
        &self.elements[2 * kv_head * self.half..][..self.half]
    }

    /// The values of a head, `[positions, head_dim]`.
    #[inline(always)]
    pub(super) fn values(self, kv_head: usize) -> &'a [f32] {
        &self.elements[(2 * kv_head + 1) * self.half..][..self.half]
    }
}
