//! How much one call of [`advance`](super::advance()) may do.

use std::time::{Duration, Instant};

/// How much [`advance`](super::advance()) may do before it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// To the end of the step.
    Step,
    /// As many pieces (layers, slices of the head, picks) of as many steps as are expected to fit, by what such pieces have
    /// cost so far; at least one. A step that begins has as many rows as let a piece fit twice.
    Time(Duration),
    /// This many pieces, at least one, and not beyond the end of the step.
    Pieces(usize),
}

/// Holds a call to its budget.
pub(super) struct Meter {
    budget: Budget,
    /// `None` if it is so far off that no clock can say when.
    deadline: Option<Instant>,
    pieces: usize,
    last_piece: Instant,
    /// What a piece takes on a device, beside the host.
    on_device: Duration,
}

impl Meter {
    pub(super) fn new(budget: Budget, on_device: Duration) -> Self {
        let started = Instant::now();
        let deadline = if let Budget::Time(limit) = budget { started.checked_add(limit) } else { None };
        Self { budget, deadline, pieces: 0, last_piece: started, on_device }
    }

    /// How long a piece of a step is to take.
    pub(super) fn piece(&self) -> Option<Duration> {
        if let Budget::Time(limit) = self.budget { Some(limit / 2) } else { None }
    }

    /// The seconds since the last piece.
    pub(super) fn lap(&mut self) -> f64 {
        let now = Instant::now();
        (now - std::mem::replace(&mut self.last_piece, now)).as_secs_f64()
    }

    pub(super) fn piece_done(&mut self) {
        self.pieces += 1;
    }

    /// Whether a piece that is expected to take so many seconds is too much; nothing is known of the first of its kind.
    pub(super) fn is_spent(&self, expected: Option<f64>) -> bool {
        self.pieces > 0
            && match self.budget {
                Budget::Step => false,
                Budget::Time(limit) => {
                    let on_device = self.on_device.saturating_mul(self.pieces as u32 + 1);
                    let expected = Duration::try_from_secs_f64(expected.unwrap_or(0.0)).unwrap_or(Duration::MAX);
                    let ends = self.last_piece.checked_add(expected);
                    let late = self.deadline.is_some_and(|deadline| ends.is_none_or(|ends| ends > deadline));
                    late || on_device > limit
                }
                Budget::Pieces(limit) => self.pieces >= limit,
            }
    }

    /// Whether it may go on beyond the end of a step.
    pub(super) fn outlasts_steps(&self) -> bool {
        matches!(self.budget, Budget::Time(_))
    }

    /// Whether nothing may interrupt.
    pub(super) fn is_unlimited(&self) -> bool {
        self.budget == Budget::Step
    }
}
