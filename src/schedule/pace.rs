//! What the pieces of a step have cost so far on this machine: by what is known of them, the rows of a step and the pieces of a
//! call are chosen, so that a host's budget holds. What is computed does not depend on it.

use std::collections::HashMap;
use std::time::Duration;

use bevy_ecs::archetype::ArchetypeId;
use bevy_ecs::prelude::*;

/// What a piece does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Piece {
    /// Admits, fills the batch, and embeds it.
    Begin,
    /// Passes over a layer of this model. Layers of one archetype mix alike.
    Layer(Entity, ArchetypeId),
    /// Multiplies with [`HEAD_SLICE`] rows of this model's head matrix.
    Head(Entity),
    /// Picks from a row of this model's logits.
    Pick(Entity),
}

/// The rows of the head matrix that costs are counted for.
pub(super) const HEAD_SLICE: usize = 16_384;

/// What of a batch a piece's cost depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Work {
    /// How many rows there are, at least one.
    pub(super) rows: usize,
    /// The sum of their positions: what attention looks back at.
    pub(super) depth: usize,
}

impl Work {
    /// That of so many rows, whatever they look back at.
    pub(super) fn of_rows(rows: usize) -> Self {
        Self { rows, depth: 0 }
    }
}

/// What pieces have cost, and how long one may take.
#[derive(Resource, Default)]
pub struct Pace {
    costs: HashMap<Piece, Costs>,
    /// How long a piece of the next step is to take at most; nothing, where no time is set.
    pub(super) piece: Option<Duration>,
    /// That of the step in hand.
    pub(super) work: Work,
}

/// A row of a layer may take this long, before it is known.
const GUESS: Duration = Duration::from_micros(100);

impl Pace {
    /// Notes what a piece took.
    pub(super) fn record(&mut self, piece: Piece, work: Work, took: f64) {
        self.costs.entry(piece).or_default().record(work, took);
    }

    /// How many seconds a piece will take, deviations included; nothing, if there was none like it.
    pub(super) fn expected(&self, piece: Piece, work: Work) -> Option<f64> {
        self.costs.get(&piece)?.expected(work)
    }

    /// Whether each layer of `model` can be passed over with this much work in the time that a piece may take. One row always
    /// can.
    pub(super) fn fits(&self, model: Entity, work: Work) -> bool {
        let Some(limit) = self.piece.filter(|_| work.rows > 1) else { return true };
        let of_model = |piece: &Piece| matches!(piece, Piece::Layer(of, _) if *of == model);
        let mut known = self.costs.iter().filter(|(piece, _)| of_model(piece)).peekable();
        if known.peek().is_none() {
            return GUESS.saturating_mul(work.rows as u32) <= limit;
        }
        known.all(|(_, costs)| costs.expected(work).is_none_or(|expected| expected <= limit.as_secs_f64()))
    }
}

/// What pieces of one kind have cost, by their rows: a machine's speed with few rows says little of that with many.
#[derive(Debug, Default)]
struct Costs {
    /// Of 1 row, of 2 and 3, of 4 to 7, and so on.
    by_rows: [Mean; 12],
    /// How cost and depth vary together, and how depth does: their quotient is what a position costs.
    covariance: f64,
    variance: f64,
}

/// A mean of the latest.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    count: u32,
    rows: f64,
    depth: f64,
    seconds: f64,
    /// The mean distance from the mean.
    deviation: f64,
}

/// The latest costs that a mean is of, about.
const LATEST: u32 = 8;
/// A piece that takes so many times what is usual was held up by something else.
const HELD_UP: f64 = 4.0;

impl Costs {
    fn bucket(&self, work: Work) -> usize {
        (work.rows.max(1).ilog2() as usize).min(self.by_rows.len() - 1)
    }

    /// What a position costs.
    fn slope(&self) -> f64 {
        if self.variance > 0.0 { (self.covariance / self.variance).max(0.0) } else { 0.0 }
    }

    fn record(&mut self, work: Work, seconds: f64) {
        let (index, slope) = (self.bucket(work), self.slope());
        let mean = &mut self.by_rows[index];
        let (rows, depth) = (work.rows as f64, work.depth as f64);
        if mean.count == 0 {
            *mean = Mean { count: 1, rows, depth, seconds, deviation: 0.0 };
            return;
        }
        let usual = mean.count >= LATEST / 2;
        let seconds = if usual { seconds.min(HELD_UP * mean.seconds) } else { seconds };
        let deeper = depth - mean.depth;
        let missed = seconds - mean.seconds;
        self.covariance = 0.99 * self.covariance + deeper * missed;
        self.variance = 0.99 * self.variance + deeper * deeper;
        mean.count = (mean.count + 1).min(LATEST);
        let share = 1.0 / f64::from(mean.count);
        mean.rows += share * (rows - mean.rows);
        mean.depth += share * deeper;
        mean.seconds += share * missed;
        mean.deviation += share * ((missed - slope * deeper).abs() - mean.deviation);
    }

    fn expected(&self, work: Work) -> Option<f64> {
        let index = self.bucket(work);
        let fewer = self.by_rows[..=index].iter().rposition(|mean| mean.count > 0);
        let nearest = fewer.or_else(|| (index..self.by_rows.len()).find(|&more| self.by_rows[more].count > 0))?;
        let mean = &self.by_rows[nearest];
        // More rows cost no more than in proportion.
        let more = (work.rows as f64 / mean.rows).max(1.0);
        let deeper = work.depth as f64 - mean.depth * more;
        Some(mean.seconds * more + (self.slope() * deeper).max(-0.5 * mean.seconds) + 2.0 * mean.deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A layer that takes half a millisecond, 20 µs a row, and 10 ns a position.
    fn layer(work: Work) -> f64 {
        5e-4 + 2e-5 * work.rows as f64 + 1e-8 * work.depth as f64
    }

    fn work(rows: usize, position: usize) -> Work {
        Work { rows, depth: rows * position }
    }

    #[test]
    fn what_was_seen_is_expected_again_and_more_rows_cost_no_more_than_in_proportion() {
        let mut costs = Costs::default();
        assert_eq!(costs.expected(work(1, 0)), None);
        for step in 0..20 {
            for rows in [1, 6, 30] {
                costs.record(work(rows, 10 * step), layer(work(rows, 10 * step)));
            }
        }
        for rows in [1, 6, 30] {
            let (expected, truth) = (costs.expected(work(rows, 200)).unwrap(), layer(work(rows, 200)));
            assert!((0.95 * truth..1.1 * truth).contains(&expected), "{rows}: {expected} for {truth}");
        }
        let (far, truth) = (costs.expected(work(30, 2000)).unwrap(), layer(work(30, 2000)));
        assert!((0.8 * truth..1.3 * truth).contains(&far), "{far} for {truth}");
        let many = costs.expected(work(120, 200)).unwrap();
        assert!(many >= layer(work(120, 200)) && many <= 5.0 * layer(work(30, 200)));
    }

    #[test]
    fn one_that_was_held_up_changes_little() {
        let mut costs = Costs::default();
        (0..20).for_each(|_| costs.record(work(4, 100), 1e-3));
        costs.record(work(4, 100), 1.0);
        assert!(costs.expected(work(4, 100)).unwrap() < 3e-3);
    }

    #[test]
    fn as_many_rows_fit_as_the_time_of_a_piece_allows() {
        let model = Entity::from_raw_u32(7).unwrap();
        let mut pace = Pace { piece: Some(Duration::from_millis(1)), ..Pace::default() };
        assert!(pace.fits(model, work(10, 0)) && !pace.fits(model, work(11, 0)), "a guess");
        let piece = Piece::Layer(model, ArchetypeId::EMPTY);
        for rows in [1, 2, 5, 10, 20, 40] {
            (0..10).for_each(|_| pace.record(piece, work(rows, 100), layer(work(rows, 100))));
        }
        assert!(pace.fits(model, work(20, 100)) && !pace.fits(model, work(40, 100)));
        pace.piece = Some(Duration::ZERO);
        assert!(pace.fits(model, work(1, 100)) && !pace.fits(model, work(2, 100)));
        pace.piece = None;
        assert!(pace.fits(model, work(1000, 100)));
    }
}
