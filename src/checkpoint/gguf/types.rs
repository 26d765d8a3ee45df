//! The types of tensors that files have: how large each is, and whether we read it.

use std::fmt;

use crate::checkpoint::tensor::ElementType;

/// A type that the format has or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TensorType {
    id: u32,
    name: &'static str,
    /// Elements that are stored together.
    pub(super) block: usize,
    /// Bytes that they take.
    bytes: usize,
    /// `None` where we do not read it.
    pub(super) element: Option<ElementType>,
}

const fn read(id: u32, name: &'static str, block: usize, bytes: usize, element: ElementType) -> TensorType {
    TensorType { id, name, block, bytes, element: Some(element) }
}

const fn known(id: u32, name: &'static str, block: usize, bytes: usize) -> TensorType {
    TensorType { id, name, block, bytes, element: None }
}

/// All types of llama.cpp's `ggml.h` that a file may hold. Ids that are not here were removed, or are none.
const TYPES: [TensorType; 33] = [
    read(0, "F32", 1, 4, ElementType::F32),
    read(1, "F16", 1, 2, ElementType::F16),
    read(30, "BF16", 1, 2, ElementType::Bf16),
    read(2, "Q4_0", 32, 18, ElementType::Q4_0),
    read(3, "Q4_1", 32, 20, ElementType::Q4_1),
    known(6, "Q5_0", 32, 22),
    known(7, "Q5_1", 32, 24),
    read(8, "Q8_0", 32, 34, ElementType::Q8_0),
    known(9, "Q8_1", 32, 36),
    known(10, "Q2_K", 256, 84),
    known(11, "Q3_K", 256, 110),
    read(12, "Q4_K", 256, 144, ElementType::Q4K),
    read(13, "Q5_K", 256, 176, ElementType::Q5K),
    read(14, "Q6_K", 256, 210, ElementType::Q6K),
    known(15, "Q8_K", 256, 292),
    known(16, "IQ2_XXS", 256, 66),
    known(17, "IQ2_XS", 256, 74),
    known(18, "IQ3_XXS", 256, 98),
    known(19, "IQ1_S", 256, 50),
    known(20, "IQ4_NL", 32, 18),
    known(21, "IQ3_S", 256, 110),
    known(22, "IQ2_S", 256, 82),
    known(23, "IQ4_XS", 256, 136),
    known(24, "I8", 1, 1),
    known(25, "I16", 1, 2),
    known(26, "I32", 1, 4),
    known(27, "I64", 1, 8),
    known(28, "F64", 1, 8),
    known(29, "IQ1_M", 256, 56),
    known(34, "TQ1_0", 256, 54),
    known(35, "TQ2_0", 256, 66),
    known(39, "MXFP4", 32, 17),
    known(40, "NVFP4", 64, 36),
];

impl TensorType {
    pub(super) fn of(id: u32) -> Option<Self> {
        TYPES.into_iter().find(|kind| kind.id == id)
    }

    /// The bytes of `count` elements in whole blocks, if they can be counted.
    pub(super) fn bytes_for(self, count: usize) -> Option<usize> {
        (count / self.block).checked_mul(self.bytes)
    }

    /// The types that are read, in a message's words.
    pub(super) fn all_read() -> String {
        let names: Vec<&str> = TYPES.iter().filter(|kind| kind.element.is_some()).map(|kind| kind.name).collect();
        let (last, others) = names.split_last().expect("some are read");
        format!("{} or {last}", others.join(", "))
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_is_read_is_as_large_as_it_is_elsewhere() {
        for kind in TYPES {
            let Some(element) = kind.element else { continue };
            let count = 4 * kind.block;
            assert_eq!(kind.bytes_for(count), element.bytes_for(count), "{kind}");
        }
    }

    #[test]
    fn ids_and_names_are_unique() {
        for (index, kind) in TYPES.iter().enumerate() {
            let others = &TYPES[index + 1..];
            assert!(others.iter().all(|other| other.id != kind.id && other.name != kind.name), "{kind}");
        }
    }
}
