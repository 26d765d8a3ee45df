//! The numbers of caches, in single or half precision.

use half::f16;

use super::computer::Precision;
use super::header::Contents;
use crate::cpu::kernels::round_to_half;

/// How many bytes a number takes that is kept in `precision`; `None` where there are none.
pub(super) fn width(contents: Contents, precision: Precision) -> Option<usize> {
    match (contents, precision) {
        (Contents::Tokens, _) => None,
        (Contents::AsStored, Precision::F32) => Some(size_of::<f32>()),
        (Contents::AsStored, Precision::F16) | (Contents::Half, _) => Some(size_of::<f16>()),
    }
}

/// Numbers that are being written.
pub(super) struct Writer {
    contents: Contents,
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn new(contents: Contents) -> Self {
        Self { contents, bytes: Vec::new() }
    }

    /// Appends them.
    pub(super) fn write(&mut self, numbers: &[f32]) {
        match self.contents {
            Contents::AsStored => self.bytes.extend_from_slice(bytemuck::cast_slice(numbers)),
            Contents::Half => {
                let mut halves = [f16::ZERO; 256];
                for numbers in numbers.chunks(halves.len()) {
                    let halves = &mut halves[..numbers.len()];
                    round_to_half(numbers, halves);
                    self.write_halves(halves);
                }
            }
            Contents::Tokens => {}
        }
    }

    /// Appends numbers that are in half precision already.
    pub(super) fn write_halves(&mut self, halves: &[f16]) {
        if self.contents != Contents::Tokens {
            self.bytes.extend_from_slice(bytemuck::cast_slice(halves));
        }
    }
}

/// Numbers that are being read.
pub(super) struct Reader<'a> {
    contents: Contents,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(contents: Contents, bytes: &'a [u8]) -> Self {
        Self { contents, bytes }
    }

    /// The next `count` of them, which are kept in single precision; `None` if there are not so many.
    pub(super) fn read(&mut self, count: usize) -> Option<Box<[f32]>> {
        if self.contents == Contents::Half {
            return Some(self.read_halves(count)?.iter().map(|half| half.to_f32()).collect());
        }
        let words = self.take(count, Precision::F32)?.as_chunks().0;
        Some(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
    }

    /// The next `count` of them, which are kept in half precision; `None` if there are not so many.
    pub(super) fn read_halves(&mut self, count: usize) -> Option<Box<[f16]>> {
        let halves = self.take(count, Precision::F16)?.as_chunks().0;
        Some(halves.iter().map(|&half| f16::from_le_bytes(half)).collect())
    }

    fn take(&mut self, count: usize, precision: Precision) -> Option<&'a [u8]> {
        let (numbers, rest) = self.bytes.split_at_checked(count.checked_mul(width(self.contents, precision)?)?)?;
        self.bytes = rest;
        Some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_or_as_near_as_half_precision_is() {
        let numbers = [0.0, -0.0, 1.0, 0.1, -65504.0, 1e9, f32::NEG_INFINITY, 1e-9];
        let read = |contents| {
            let mut writer = Writer::new(contents);
            writer.write(&numbers[..5]);
            writer.write(&numbers[5..]);
            assert_eq!(Some(writer.bytes.len()), width(contents, Precision::F32).map(|width| 8 * width));
            let mut reader = Reader::new(contents, &writer.bytes);
            let read = [reader.read(3).unwrap(), reader.read(5).unwrap()].concat();
            assert!(reader.read(1).is_none());
            read
        };
        let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read(Contents::AsStored)), bits(&numbers));
        let half = [0.0, -0.0, 1.0, 0.099_975_586, -65504.0, 65504.0, -65504.0, 0.0];
        assert_eq!(bits(&read(Contents::Half)), bits(&half));
        let halves = [f16::ONE, f16::MAX, f16::NAN];
        for contents in [Contents::AsStored, Contents::Half] {
            let mut writer = Writer::new(contents);
            writer.write_halves(&halves);
            assert_eq!(Some(writer.bytes.len()), width(contents, Precision::F16).map(|width| 3 * width));
            let read = Reader::new(contents, &writer.bytes).read_halves(3).unwrap();
            assert_eq!(read.iter().map(|half| half.to_bits()).collect::<Vec<_>>(), halves.map(f16::to_bits));
        }
    }
}
