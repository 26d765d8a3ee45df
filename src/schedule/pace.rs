//! What the pieces of a step have cost so far on this machine: by what is known of them, the rows of a step and the pieces of a
//! call are chosen, so that a host's budget holds. What is computed does not depend on it.

use std::collections::HashMap;
use std::time::Duration;

use bevy_ecs::prelude::*;

use crate::checkpoint::LayerType;

/// What a piece does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Piece {
    /// Admits, fills the batch, and embeds it.
    Begin,
    /// Passes over a layer of this model that mixes like this.
    Layer(Entity, LayerType),
    /// Multiplies with [`HEAD_SLICE`] rows of this model's head matrix.
    Head(Entity),
    /// Picks from a row of this model's logits.
    Pick(Entity),
}

impl Piece {
    /// What of the work its cost depends on: only attention looks back.
    fn counts(self, work: Work) -> Work {
        if matches!(self, Self::Layer(_, LayerType::FullAttention)) { work } else { Work::of_rows(work.rows) }
    }
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
    /// How many steps have begun.
    step: u64,
    /// How long that in hand has taken as yet.
    spent: f64,
    /// What whole steps of a model have cost, by how many rows they had, up to [`FEW`].
    passes: HashMap<Entity, Vec<Mean>>,
}

/// After so many steps it is tried again what a number of rows costs.
const REMEMBERED: u64 = 256;

/// Up to so many rows, what a step costs is known for each number.
const FEW: usize = 64;

/// The numbers of rows that a step with too little time for all of them chooses from. Kernels take rows by fours, eights
/// and sixteens: 7 rows of a layer of the 0.8B shape took longer than 8, and 14 than 16.
const MEASURES: [usize; 13] = [1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256];
/// A row of a layer may take this long, before it is known.
const GUESS: Duration = Duration::from_micros(100);

impl Pace {
    /// Notes that a step with so much work begins.
    pub(super) fn begin_step(&mut self, work: Work) {
        self.work = work;
        self.step += 1;
        self.spent = 0.0;
    }

    /// Counts this as time that the step in hand has taken.
    pub(super) fn spend(&mut self, took: f64) {
        self.spent += took;
    }

    /// Notes that the step in hand, of `model`, has come to its end.
    pub(super) fn end_step(&mut self, model: Entity) {
        self.record_pass(model, self.work.rows, self.spent);
    }

    /// Notes what a step of so many rows took.
    pub(super) fn record_pass(&mut self, model: Entity, rows: usize, took: f64) {
        let passes = self.passes.entry(model).or_insert_with(|| vec![Mean::default(); FEW + 1]);
        let Some(mean) = passes.get_mut(rows) else { return };
        if self.step - mean.step > REMEMBERED {
            *mean = Mean::default();
        }
        mean.step = self.step;
        mean.count = (mean.count + 1).min(LATEST);
        match mean.count {
            1 => mean.seconds = took,
            // The first of its kind finds nothing in its caches.
            2 => mean.seconds = mean.seconds.min(took),
            count => mean.seconds += (took.min(HELD_UP * mean.seconds) - mean.seconds) / f64::from(count),
        }
    }

    /// How many seconds a step of `model` takes with so many rows, of which all give logits: what it took of late, or would
    /// between fewer and more, or if more cost nothing. Nothing, where not half as many were tried, or they are not
    /// [few](FEW).
    pub(super) fn pass(&self, model: Entity, rows: usize) -> Option<f64> {
        let passes = self.passes.get(&model).filter(|passes| rows < passes.len())?;
        let known = |rows: &usize| passes[*rows].count > 1 && self.step - passes[*rows].step <= REMEMBERED;
        let fewer = (0..=rows).rev().find(known)?;
        let Some(more) = (rows..passes.len()).find(known) else {
            return (rows <= 2 * fewer).then_some(passes[fewer].seconds);
        };
        let share = (rows - fewer) as f64 / (more - fewer).max(1) as f64;
        Some(passes[fewer].seconds + share * (passes[more].seconds - passes[fewer].seconds))
    }

    /// Notes what a piece took.
    pub(super) fn record(&mut self, piece: Piece, work: Work, took: f64) {
        self.costs.entry(piece).or_default().record(piece.counts(work), took, self.step);
    }

    /// How many seconds a piece will take, deviations included; nothing, if there was none like it.
    pub(super) fn expected(&self, piece: Piece, work: Work) -> Option<f64> {
        self.costs.get(&piece)?.expected(piece.counts(work))
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
        known.all(|(piece, costs)| costs.may_fit(piece.counts(work), limit.as_secs_f64(), self.step))
    }

    /// The most rows, of those that steps choose from and at most `most`, of which `work` says that each layer of `model`
    /// can be passed over in the time that a piece may take.
    pub(super) fn rows_that_fit(&self, model: Entity, most: usize, work: impl Fn(usize) -> Work) -> usize {
        let measures = MEASURES.into_iter().take_while(|&rows| rows < most).chain([most]);
        measures.take_while(|&rows| self.fits(model, work(rows))).last().unwrap_or(1)
    }
}

/// What pieces of one kind have cost, by their rows: a machine's speed with few rows says little of that with many.
#[derive(Debug, Default)]
struct Costs {
    /// Of as many rows as each measure or more, and fewer than the next.
    by_rows: [Mean; MEASURES.len()],
    /// How cost and depth a row vary together, and how depth does: their quotient is what a position costs.
    covariance: f64,
    variance: f64,
}

/// A mean of the latest.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    count: u32,
    /// In which step the latest was.
    step: u64,
    rows: f64,
    depth: f64,
    seconds: f64,
    /// The mean distance from the mean.
    deviation: f64,
}

/// The latest costs that a mean is of, about.
const LATEST: u32 = 16;
/// What is left of what is known of depth, with each cost: texts grow slowly.
const SLOPE_KEPT: f64 = 0.999;
/// A piece that takes so many times what is usual was held up by something else.
const HELD_UP: f64 = 2.0;
/// After so many steps a number of rows that took too long is tried again: the machine may have become quieter.
const FORGOTTEN: u64 = 16;

impl Mean {
    fn is_of_late(&self, step: u64) -> bool {
        self.count > 0 && step - self.step <= FORGOTTEN
    }
}

impl Costs {
    fn measure(work: Work) -> usize {
        MEASURES.partition_point(|&rows| rows <= work.rows.max(1)) - 1
    }

    /// What a position costs.
    fn slope(&self) -> f64 {
        if self.variance > 0.0 { (self.covariance / self.variance).max(0.0) } else { 0.0 }
    }

    fn record(&mut self, work: Work, seconds: f64, step: u64) {
        let slope = self.slope();
        let mean = &mut self.by_rows[Self::measure(work)];
        let (rows, depth) = (work.rows as f64, work.depth as f64);
        if !mean.is_of_late(step) {
            *mean = Mean { count: 1, step, rows, depth, seconds, deviation: 0.0 };
            return;
        }
        let usual = mean.count >= LATEST / 2;
        let seconds = if usual { seconds.min(HELD_UP * mean.seconds) } else { seconds };
        let deeper = depth - mean.depth;
        let missed = seconds - mean.seconds;
        if usual {
            self.covariance = SLOPE_KEPT * self.covariance + (deeper / rows) * (missed / rows);
            self.variance = SLOPE_KEPT * self.variance + (deeper / rows).powi(2);
        }
        mean.step = step;
        mean.count = (mean.count + 1).min(LATEST);
        let share = 1.0 / f64::from(mean.count);
        mean.rows += share * (rows - mean.rows);
        mean.depth += share * deeper;
        mean.seconds += share * missed;
        mean.deviation += share * ((missed - slope * deeper).abs() - mean.deviation);
    }

    fn expected(&self, work: Work) -> Option<f64> {
        let nearest = self.nearest(work)?;
        Some(self.usual(nearest, work) + 2.0 * nearest.deviation)
    }

    /// Of as many rows, or else of fewer, or else of more.
    fn nearest(&self, work: Work) -> Option<&Mean> {
        let (fewer, more) = self.by_rows.split_at(Self::measure(work) + 1);
        fewer.iter().rev().chain(more).find(|mean| mean.count > 0)
    }

    /// What it takes where nothing deviates.
    fn usual(&self, mean: &Mean, work: Work) -> f64 {
        // More rows cost no more than in proportion.
        let more = (work.rows as f64 / mean.rows).max(1.0);
        let deeper = work.depth as f64 - mean.depth * more;
        mean.seconds * more + (self.slope() * deeper).max(-0.5 * mean.seconds)
    }

    /// Whether it takes no more than the limit, or is worth trying because fewer rows do: twice as many take at most twice as
    /// long, and a piece is to fit twice, which leaves room for deviations too.
    fn may_fit(&self, work: Work, limit: f64, step: u64) -> bool {
        let index = Self::measure(work);
        match self.by_rows[..=index].iter().rposition(|mean| mean.is_of_late(step)) {
            Some(fewer) if fewer < index => {
                let mean = &self.by_rows[fewer];
                let share = mean.rows / work.rows as f64;
                let fewer = Work { rows: mean.rows as usize, depth: (work.depth as f64 * share) as usize };
                share >= 0.5 && self.usual(mean, fewer) <= limit
            }
            _ => self.nearest(work).is_none_or(|mean| self.usual(mean, work) <= limit),
        }
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
                costs.record(work(rows, 10 * step), layer(work(rows, 10 * step)), 0);
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
        (0..20).for_each(|_| costs.record(work(4, 100), 1e-3, 0));
        costs.record(work(4, 100), 1.0, 0);
        assert!(costs.expected(work(4, 100)).unwrap() < 3e-3);
    }

    #[test]
    fn more_rows_are_tried_while_fewer_fit_and_again_after_a_while() {
        let model = Entity::from_raw_u32(7).unwrap();
        let piece = Piece::Layer(model, LayerType::FullAttention);
        let mut pace = Pace { piece: Some(Duration::from_micros(700)), ..Pace::default() };
        let steps = |pace: &mut Pace, count: usize, held_up: f64| -> Vec<usize> {
            let mut step = || {
                let rows = pace.rows_that_fit(model, 256, |rows| work(rows, 100));
                pace.begin_step(work(rows, 100));
                (0..10).for_each(|_| pace.record(piece, work(rows, 100), held_up * layer(work(rows, 100))));
                rows
            };
            (0..count).map(|_| step()).collect()
        };
        pace.record(piece, work(1, 100), layer(work(1, 100)));
        assert_eq!(steps(&mut pace, 6, 1.0), [2, 4, 8, 16, 8, 8], "16 rows take 0.82 ms");
        assert!(steps(&mut pace, 20, 3.0).ends_with(&[1, 1]), "on a busy machine");
        assert!(steps(&mut pace, 200, 1.0).contains(&8), "when it is quiet again");
    }

    #[test]
    fn as_many_rows_fit_as_the_time_of_a_piece_allows() {
        let model = Entity::from_raw_u32(7).unwrap();
        let mut pace = Pace { piece: Some(Duration::from_millis(1)), ..Pace::default() };
        assert!(pace.fits(model, work(10, 0)) && !pace.fits(model, work(11, 0)), "a guess");
        let piece = Piece::Layer(model, LayerType::FullAttention);
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
