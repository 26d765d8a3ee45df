//! Weights that are packed when they are first read: those of experts, of which a text may never need most. Until then they
//! are bytes of a file, so that a model larger than memory starts.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::kernels::{self, PackedFormat, PanelBox, Panels};
use crate::checkpoint::Tensor;

/// A matrix `[rows, cols]` in blocks, packed or not yet.
#[derive(Debug)]
pub struct LazyPanels {
    packed: OnceLock<PanelBox>,
    /// What is packed, and where.
    waiting: Mutex<Option<(Tensor, PanelBox)>>,
    format: PackedFormat,
    pub(super) rows: usize,
    pub(super) cols: usize,
}

impl LazyPanels {
    /// Packs `tensor`, whose elements are blocks of this format, into `panels` when it is first read.
    pub(super) fn new(tensor: Tensor, format: PackedFormat, panels: PanelBox) -> Self {
        let &[rows, cols] = tensor.shape() else { unreachable!("a matrix was packed as one") };
        let waiting = Mutex::new(Some((tensor, panels)));
        Self { packed: OnceLock::new(), waiting, format, rows, cols }
    }

    /// The packed weights, which are packed now if they are not yet, on the threads of the current pool.
    pub(super) fn panels(&self) -> Panels<'_> {
        let packed = self.packed.get_or_init(|| {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some((tensor, mut panels)) = waiting else { unreachable!("packed once") };
            if let Some(blocks) = tensor.any_blocks() {
                kernels::pack(blocks, self.cols, &mut panels);
            }
            panels
        });
        Panels::new(packed, self.format, self.rows, self.cols)
    }

    /// Whether it was read yet.
    #[cfg(test)]
    pub(super) fn is_packed(&self) -> bool {
        self.packed.get().is_some()
    }
}
