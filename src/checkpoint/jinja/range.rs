//! Python's `range`.

#![forbid(unsafe_code)]

use super::error::Error;

/// The most that Jinja's sandbox allows.
const LONGEST: usize = 100_000;

#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) start: i128,
    pub(super) stop: i128,
    pub(super) step: i128,
    len: usize,
}

impl Range {
    pub(super) fn new(start: i128, stop: i128, step: i128) -> Result<Self, Error> {
        let too_long = || Error::operation(format!("a range of more than {LONGEST} items"));
        let distance = match step {
            0 => return Err(Error::operation("range() arg 3 must not be zero")),
            1.. => stop.checked_sub(start),
            _ => start.checked_sub(stop),
        };
        let distance = distance.ok_or_else(too_long)?.max(0).unsigned_abs();
        let len = usize::try_from(distance.div_ceil(step.unsigned_abs())).map_err(|_| too_long())?;
        if len > LONGEST {
            return Err(too_long());
        }
        Ok(Self { start, stop, step, len })
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, index: usize) -> Option<i128> {
        (index < self.len).then(|| self.start + self.step * index as i128)
    }

    pub(super) fn items(&self) -> impl DoubleEndedIterator<Item = i128> + use<> {
        let Range { start, step, len, .. } = *self;
        (0..len).map(move |index| start + step * index as i128)
    }
}
