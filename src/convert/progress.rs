//! How far a conversion is, and whether it is to go on.

use std::ops::ControlFlow;
use std::sync::Mutex;

use super::error::ConvertError;

/// How far a conversion is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ConvertProgress<'a> {
    /// Bytes that were read of the source.
    pub done: u64,
    /// Bytes that there are to read of it; weights that are checked before they are converted count each time.
    pub total: u64,
    /// The full name of the tensor in hand.
    pub tensor: &'a str,
}

/// Counts what was read, and tells whoever asked for the conversion.
pub(super) struct Meter<F> {
    state: Mutex<(u64, F)>,
    total: u64,
}

impl<F: FnMut(ConvertProgress<'_>) -> ControlFlow<()>> Meter<F> {
    pub(super) fn new(total: u64, tell: F) -> Self {
        Self { state: Mutex::new((0, tell)), total }
    }

    /// Counts some bytes more.
    pub(super) fn advance(&self, bytes: usize, tensor: &str) -> Result<(), ConvertError> {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (done, tell) = &mut *state;
        *done += bytes as u64;
        match tell(ConvertProgress { done: *done, total: self.total, tensor }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(ConvertError::Stopped),
        }
    }
}
