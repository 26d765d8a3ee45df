//! How many guesses a step has rows for: as many as give the most tokens a second, by how often guesses were right of late and
//! by what passes with so many rows have taken on this machine. What is said does not depend on it.

use bevy_ecs::prelude::*;

use super::fill::RunsItem;
use super::pace::Pace;
use crate::checkpoint::{LayerType, ModelConfig};
use crate::world::cache::DeltaState;
use crate::world::draft::MOST_DRAFTS;
use crate::world::sequence::Running;
use crate::world::storage::Shapes;
use crate::world::tokens::Tokens;

/// Guesses are to make a step worth so many times itself without: less is lost in what times differ by.
const WORTH: f64 = 1.05;

/// How likely each guess for a sequence of a model of `config` is to be taken, of those that there is room for; none, unless
/// its last token alone is still to be read.
pub(super) fn likelihoods(runs: &RunsItem<'_, '_>, config: &ModelConfig) -> Vec<f32> {
    let Some((drafted, drafts)) = runs.drafting else { return Vec::new() };
    let tokens = runs.tokens;
    if runs.logits_from.is_some() || drafted.after != tokens.len() || !tokens.is_at_last() {
        return Vec::new();
    }
    let of_vocabulary = drafted.tokens.iter().take_while(|&&token| (token as usize) < config.vocab_size).count();
    let most = room(runs.running, tokens).min(of_vocabulary).min(most_to_take_back(tokens.len(), config));
    drafts.likelihoods(drafted).take(most).collect()
}

/// How many guesses a sequence may have before it ends.
pub(super) fn room(running: &Running, tokens: &Tokens) -> usize {
    running.room.saturating_sub(tokens.generated.len() + 1).min(MOST_DRAFTS)
}

/// How many rows after the first `read` can be taken back again: those before the next multiple of positions at which a delta
/// net has its state go on.
pub(super) fn most_to_take_back(read: usize, config: &ModelConfig) -> usize {
    const CHUNK: usize = DeltaState::<Shapes>::CHUNK;
    let has_states = config.layer_types.contains(&LayerType::LinearAttention);
    if has_states { CHUNK - 1 - read % CHUNK } else { usize::MAX }
}

/// How many guesses of each sequence get a row, of a step that has `rows` already and may have `most`: `likely` says how likely
/// each guess is to be taken. As many tokens come of the `rows` as there are sequences, or so.
pub(super) fn worth_a_row(likely: &[Vec<f32>], model: Entity, rows: usize, most: usize, pace: &Pace) -> Vec<usize> {
    let guesses = likely.iter().enumerate().flat_map(|(of, likely)| likely.iter().map(move |&likely| (likely, of)));
    let mut guesses: Vec<(f32, usize)> = guesses.collect();
    // Of one sequence they stay in order, since none is likelier than the one before it.
    guesses.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    guesses.truncate(most.saturating_sub(rows));
    let seconds = |taken: usize| pace.pass(model, rows + taken).or((taken == 0).then_some(1.0));
    let worth = most_worth(likely.len(), guesses.iter().map(|&(likely, _)| likely), seconds).unwrap_or(0);
    let mut counts = vec![0; likely.len()];
    guesses[..worth].iter().for_each(|&(_, of)| counts[of] += 1);
    counts
}

/// How many guesses are worth asking another model for, by how likely each is to be taken: `drafter` takes a pass of its own for
/// each of so many sequences of `model` that generate, and then they are read together.
pub(super) fn worth_asking(
    likely: impl Iterator<Item = f32>,
    [model, drafter]: [Entity; 2],
    sequences: usize,
    pace: &Pace,
) -> usize {
    let asking = pace.pass(drafter, sequences).unwrap_or(0.0);
    let seconds = |guesses: usize| Some(pace.pass(model, sequences * (1 + guesses))? + asking * guesses as f64);
    most_worth(1, likely, seconds).unwrap_or(1)
}

/// How many guesses give the most tokens a second beside those of so many `sequences`, of the likeliest first: with so many, a
/// step takes so many `seconds`, as far as that is known. Nothing, where it is not even without.
fn most_worth(
    sequences: usize,
    likely: impl Iterator<Item = f32>,
    seconds: impl Fn(usize) -> Option<f64>,
) -> Option<usize> {
    let mut tokens = sequences as f64;
    let mut best = (0, WORTH * tokens / seconds(0)?);
    for (guesses, likely) in (1..).zip(likely) {
        tokens += f64::from(likely);
        let Some(seconds) = seconds(guesses) else { break };
        if tokens / seconds > best.1 {
            best = (guesses, tokens / seconds);
        }
    }
    Some(best.0)
}

/// As [`worth_a_row`], where it is said how many each is to have.
pub(super) fn as_many_as(wanted: usize, likely: &[Vec<f32>], rows: usize, most: usize) -> Vec<usize> {
    let mut left = most.saturating_sub(rows);
    let count = |likely: &Vec<f32>| {
        let count = likely.len().min(wanted).min(left);
        left -= count;
        count
    };
    likely.iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes of 10 ms, and 1 more for each row beyond four.
    fn pace(model: Entity) -> Pace {
        let mut pace = Pace::default();
        for rows in (1..=32_usize).chain(1..=32) {
            pace.record_pass(model, rows, 0.010 + 0.001 * rows.saturating_sub(4) as f64);
        }
        pace
    }

    #[test]
    fn guesses_get_rows_while_they_give_more_tokens_a_second() {
        let model = Entity::from_raw_u32(7).unwrap();
        let pace = pace(model);
        let worth = |likely: &[Vec<f32>], rows, most| worth_a_row(likely, model, rows, most, &pace);
        assert_eq!(worth(&[vec![0.9, 0.8, 0.7, 0.6, 0.1]], 1, 256), [4], "the fifth costs more than it brings");
        assert_eq!(worth(&[vec![0.1; 15]], 1, 256), [3], "what costs nothing is worth anything");
        assert_eq!(worth(&[vec![0.001; 15]], 1, 256), [0], "or nearly");
        assert_eq!(worth(&[vec![0.1; 15], vec![]], 5, 256), [0, 0]);
        assert_eq!(worth(&[vec![0.9, 0.5], vec![0.8, 0.7, 0.6], vec![]], 3, 7), [1, 3, 0], "the likeliest first");
        assert_eq!(worth(&[], 40, 256), [0; 0]);
    }

    #[test]
    fn what_is_not_known_to_cost_more_is_tried() {
        let model = Entity::from_raw_u32(7).unwrap();
        let mut pace = Pace::default();
        assert_eq!(worth_a_row(&[vec![0.5; 15]], model, 1, 256, &pace), [0], "nothing is known");
        (0..2).for_each(|_| pace.record_pass(model, 1, 0.010));
        assert_eq!(worth_a_row(&[vec![0.5; 15]], model, 1, 256, &pace), [1], "twice as many");
        (0..2).for_each(|_| pace.record_pass(model, 2, 0.011));
        assert_eq!(worth_a_row(&[vec![0.5; 15]], model, 1, 256, &pace), [3], "and so on");
        (0..2).for_each(|_| pace.record_pass(model, 2, 0.019));
        (0..2).for_each(|_| pace.record_pass(model, 16, 0.160));
        assert_eq!(worth_a_row(&[vec![0.5; 15]], model, 1, 256, &pace), [0], "between, in proportion");
    }

    #[test]
    fn rows_beyond_the_next_state_of_a_delta_net_are_never_guessed() {
        for read in 1..100_usize {
            let most = 15 - read % 16;
            let mut state = DeltaState::<Shapes>::new([(); 3].map(std::sync::Arc::new));
            state.advance(read - 1);
            state.advance(1 + most);
            state.truncate(read).unwrap();
        }
    }
}
