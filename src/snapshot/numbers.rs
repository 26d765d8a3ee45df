//! The numbers of caches, in single or half precision.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::header::Contents;

/// How many bytes a number takes; `None` where there are none.
pub(super) fn width(contents: Contents) -> Option<usize> {
    match contents {
        Contents::AsStored => Some(size_of::<f32>()),
        Contents::Half => Some(size_of::<f16>()),
        Contents::Tokens => None,
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
                    halves.convert_from_f32_slice(numbers);
                    for half in halves.iter_mut().filter(|half| half.is_infinite()) {
                        // A number that is large stays one: infinity would spoil all that it is added to.
                        *half = f16::MAX.copysign(*half);
                    }
                    self.bytes.extend_from_slice(bytemuck::cast_slice(halves));
                }
            }
            Contents::Tokens => {}
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

    /// The next `count` of them; `None` if there are not so many.
    pub(super) fn read(&mut self, count: usize) -> Option<Box<[f32]>> {
        let (numbers, rest) = self.bytes.split_at_checked(count.checked_mul(width(self.contents)?)?)?;
        self.bytes = rest;
        Some(match self.contents {
            Contents::AsStored => {
                numbers.chunks_exact(4).map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
            }
            _ => numbers.chunks_exact(2).map(|half| f16::from_le_bytes([half[0], half[1]]).to_f32()).collect(),
        })
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
            assert_eq!(Some(writer.bytes.len()), width(contents).map(|width| 8 * width));
            let mut reader = Reader::new(contents, &writer.bytes);
            let read = [reader.read(3).unwrap(), reader.read(5).unwrap()].concat();
            assert!(reader.read(1).is_none());
            read
        };
        let bits = |numbers: &[f32]| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read(Contents::AsStored)), bits(&numbers));
        let half = [0.0, -0.0, 1.0, 0.099_975_586, -65504.0, 65504.0, -65504.0, 0.0];
        assert_eq!(bits(&read(Contents::Half)), bits(&half));
    }
}
