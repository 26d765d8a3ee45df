//! How much one call of [`advance`](super::advance()) may do.

use std::time::{Duration, Instant};

/// How much [`advance`](super::advance()) may do before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// To the end of the step.
    Step,
    /// As many pieces (layers, slices of the head) as are expected to fit, judged by the piece before; at least one.
    Time(Duration),
    /// This many pieces, at least one.
    Pieces(usize),
}

/// Rows of the head matrix in one piece: about as many weights as a layer of the 0.8B shape has, 16 384 × 1024 beside
/// 21 million, so that pieces take similar times.
const HEAD_SLICE: usize = 16_384;

/// Holds a call to its budget.
pub(super) struct Meter {
    budget: Budget,
    /// `None` if it is so far off that no clock can say when.
    deadline: Option<Instant>,
    pieces: usize,
    last_piece: Instant,
    cost: Duration,
    /// What a piece takes on a device, beside the host.
    on_device: Duration,
}

impl Meter {
    pub(super) fn new(budget: Budget, on_device: Duration) -> Self {
        let started = Instant::now();
        let deadline = if let Budget::Time(limit) = budget { started.checked_add(limit) } else { None };
        Self { budget, deadline, pieces: 0, last_piece: started, cost: Duration::ZERO, on_device }
    }

    pub(super) fn piece_done(&mut self) {
        let now = Instant::now();
        self.cost = now - self.last_piece;
        self.last_piece = now;
        self.pieces += 1;
    }

    pub(super) fn is_spent(&self) -> bool {
        self.pieces > 0
            && match self.budget {
                Budget::Step => false,
                Budget::Time(limit) => {
                    let on_device = self.on_device.saturating_mul(self.pieces as u32 + 1);
                    self.deadline.is_some_and(|deadline| self.last_piece + self.cost > deadline) || on_device > limit
                }
                Budget::Pieces(limit) => self.pieces >= limit,
            }
    }

    /// How many rows of the head to compute at once; all, where nothing may interrupt.
    pub(super) fn head_slice(&self) -> usize {
        match self.budget {
            Budget::Step => usize::MAX,
            Budget::Time(_) | Budget::Pieces(_) => HEAD_SLICE,
        }
    }
}
