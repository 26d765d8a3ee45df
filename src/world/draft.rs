//! Guessing ahead without losing anything: a sequence's next tokens are guessed by something cheap, and its model reads the
//! guesses in one pass, as rows beside that of its last token. Its own logits, row by row, pick the tokens as they would have
//! without; rows after the first wrong guess are taken back. A guess decides how many rows are computed at once, never what
//! is said. (Speculative decoding: [Leviathan et al. 2023](https://arxiv.org/abs/2211.17192), with the pick in place of their
//! acceptance rule, so that the same seed gives the same text.)

use bevy_ecs::prelude::*;

/// Put beside a [`Prompt`](super::sequence::Prompt), it is where guesses come from. Without it there are none, unless a host
/// has a system of its own write [`Drafted`]. Where it asks for what is not there, a warning says so, and it is taken away.
#[derive(Component, Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
#[component(immutable)]
#[require(Drafted, Drafts, SitsOut)]
#[non_exhaustive]
pub enum Draft {
    /// What followed the last time that the sequence, its prompt included, came by these tokens: for texts that quote.
    Lookup,
    /// What the model's own head for it says, `mtp`, if that was [loaded](crate::LoadOptions::mtp).
    Mtp,
    /// What another model of the same vocabulary says. It reads along in the same world, in caches of its own; where it cannot,
    /// for want of memory or of positions, the sequence goes on without.
    Model(Entity),
}

/// The most guesses that a pass takes: with the last token, as many rows as a delta net has between two of its states.
pub const MOST_DRAFTS: usize = 15;

/// The guesses for the next pass, good for as long as the sequence is as long as it was then.
#[derive(Component, Clone, Debug, Default, PartialEq, Eq)]
pub struct Drafted {
    /// The tokens, in order.
    pub tokens: Vec<u32>,
    /// How many tokens the sequence had.
    pub after: usize,
    /// How good the first is, on the scale of what makes them, from 0; each after it counts as one better. For a lookup, how
    /// many tokens were found again, less one; of a model, [`TRUST_IN_MODELS`].
    pub trust: usize,
}

/// How good guesses of another model are expected to be: as those after five tokens that were found again.
pub const TRUST_IN_MODELS: usize = 4;

/// What has come of a sequence's guesses.
#[derive(Component, Clone, Debug, Default, PartialEq)]
pub struct Drafts {
    /// Passes that generated tokens.
    pub passes: u64,
    /// Guesses that went through them.
    pub drafted: u64,
    /// Those that were right.
    pub accepted: u64,
    /// By trust.
    rates: [Rate; MOST_DRAFTS + 1],
}

/// On a model whose backend takes rows back at once: drafts are passed over on others.
#[derive(Component, Clone, Copy, Debug, Default)]
pub struct TakesDrafts;

/// On a sequence that guesses for another, which it follows.
#[derive(Component, Clone, Copy, Debug)]
#[component(immutable)]
pub struct DraftsFor {
    /// The other one.
    pub sequence: Entity,
    /// What it runs on.
    pub model: Entity,
    /// How many tokens it is to guess after what it follows.
    pub wanted: usize,
}

/// On a sequence that takes no part in the next step, though it runs: it waits for guesses, or for somebody to want its own.
#[derive(Component, Clone, Copy, Debug, Default)]
pub struct SitsOut(pub bool);

/// Of a sequence that guesses with a head that predicts several tokens: what it reads beside the tokens, the hidden states of
/// the one that it follows. Its own position 0 is the other's [`start`](Self::start).
#[derive(Component, Clone, Debug, Default)]
pub struct HiddenStates {
    start: usize,
    /// The other's position of the first state that is still here.
    first: usize,
    /// From then on, one after the other.
    states: Vec<f32>,
    width: usize,
}

impl HiddenStates {
    /// Where in the other sequence its own begins: the head reads on where it has missed something.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// The other's position after the last of them.
    #[must_use]
    pub fn end(&self) -> usize {
        self.first + self.states.len().checked_div(self.width).unwrap_or(0)
    }

    /// That at one of its own positions.
    #[must_use]
    pub fn at(&self, position: usize) -> Option<&[f32]> {
        let index = (self.start + position).checked_sub(self.first)?;
        self.states.chunks_exact(self.width.max(1)).nth(index)
    }

    /// Takes those of the other from `position` on, each of `width`, in place of what was there.
    pub(crate) fn read(&mut self, position: usize, width: usize, states: &[f32]) {
        self.width = width;
        if position < self.start || position > self.end() {
            *self = Self { start: position, first: position, states: Vec::new(), width };
        } else if position < self.first {
            self.first = position;
        }
        self.states.truncate((position - self.first) * width);
        self.states.extend(states);
    }

    /// Goes on with a state of its own, at one of its own positions.
    pub(crate) fn follow(&mut self, position: usize, state: &[f32]) {
        self.read(self.start + position, state.len(), state);
    }

    /// Forgets those before one of its own positions. If that is gone already, it begins anew with what is left, and says so.
    pub(crate) fn forget_before(&mut self, position: usize) -> bool {
        let Some(gone) = (self.start + position).checked_sub(self.first) else {
            self.start = self.first;
            return false;
        };
        let gone = (gone * self.width).min(self.states.len());
        self.states.drain(..gone);
        self.first += gone.checked_div(self.width).unwrap_or(0);
        true
    }
}

/// How often guesses of one trust were right of late.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Rate {
    right: f32,
    all: f32,
}

impl Rate {
    /// What is left of what is known, with each guess: about the last 32 count.
    const KEPT: f32 = 31.0 / 32.0;
    /// How many guesses an expectation is worth.
    const PRIOR: f32 = 2.0;

    fn record(&mut self, right: bool) {
        self.right = Self::KEPT * self.right + if right { 1.0 } else { 0.0 };
        self.all = Self::KEPT * self.all + 1.0;
    }

    fn share(self, expected: f32) -> f32 {
        (self.right + Self::PRIOR * expected) / (self.all + Self::PRIOR)
    }
}

impl Drafts {
    /// How many tokens a pass has given.
    #[must_use]
    pub fn tokens_per_pass(&self) -> f64 {
        if self.passes == 0 { 0.0 } else { 1.0 + self.accepted as f64 / self.passes as f64 }
    }

    /// How likely each of these guesses is to be taken: that it is right, and all before it.
    pub(crate) fn likelihoods(&self, drafted: &Drafted) -> impl Iterator<Item = f32> + use<'_> {
        let rates = (drafted.trust..).map(|trust| {
            let trust = trust.min(MOST_DRAFTS);
            // What is not known yet is expected the more the longer it has gone well: of one token that was found again, one
            // time in six.
            self.rates[trust].share((trust as f32 + 0.5) / (trust as f32 + 3.0))
        });
        rates.take(drafted.tokens.len()).scan(1.0, |all, rate| {
            *all *= rate;
            Some(*all)
        })
    }

    /// Notes what came of guesses, whether they were used or not: the tokens that followed.
    pub(crate) fn learn(&mut self, drafted: &Drafted, followed: impl Iterator<Item = u32>) {
        for ((&guess, token), trust) in drafted.tokens.iter().zip(followed).zip(drafted.trust..) {
            self.rates[trust.min(MOST_DRAFTS)].record(guess == token);
            if guess != token {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_that_go_wrong_are_trusted_less_and_those_that_go_well_more() {
        let mut drafts = Drafts::default();
        let drafted = Drafted { tokens: vec![1, 2, 3], after: 0, trust: 1 };
        let likely = |drafts: &Drafts| drafts.likelihoods(&drafted).collect::<Vec<_>>();
        let before = likely(&drafts);
        assert!(before.is_sorted_by(|one, next| one > next) && before[0] > 0.3);
        (0..50).for_each(|_| drafts.learn(&drafted, [1, 2, 9].into_iter()));
        let after = likely(&drafts);
        assert!(after[0] > 0.9 && after[1] > 0.9 && after[2] < 0.1, "{after:?}");
        (0..200).for_each(|_| drafts.learn(&drafted, [7].into_iter()));
        assert!(likely(&drafts)[0] < 0.1);
    }

    #[test]
    fn hidden_states_are_those_of_the_other_sequence_wherever_it_goes_back_to() {
        let state = |position: usize| [position as f32; 2];
        let states = |positions: std::ops::Range<usize>| positions.flat_map(state).collect::<Vec<_>>();
        let mut hidden = HiddenStates::default();
        hidden.read(0, 2, &states(0..10));
        assert!(hidden.forget_before(7));
        assert_eq!((hidden.at(6), hidden.at(7), hidden.at(9)), (None, Some(&state(7)[..]), Some(&state(9)[..])));
        // What it goes on with by itself goes when the other one comes there.
        hidden.follow(10, &[-1.0; 2]);
        assert_eq!((hidden.end(), hidden.at(10)), (11, Some(&[-1.0; 2][..])));
        hidden.read(10, 2, &states(10..12));
        assert_eq!((hidden.start(), hidden.end(), hidden.at(10)), (0, 12, Some(&state(10)[..])));
        // Back to what is still there, and to what is not.
        hidden.read(8, 2, &states(8..9));
        assert_eq!((hidden.start(), hidden.end()), (0, 9));
        hidden.read(3, 2, &states(3..6));
        assert_eq!((hidden.start(), hidden.end(), hidden.at(3), hidden.at(2)), (0, 6, Some(&state(3)[..]), None));
        assert!(!hidden.forget_before(1), "that is gone");
        assert_eq!((hidden.start(), hidden.at(0)), (3, Some(&state(3)[..])), "it begins anew");
        // One that was away for a while.
        hidden.read(20, 2, &states(20..22));
        assert_eq!((hidden.start(), hidden.end(), hidden.at(0)), (20, 22, Some(&state(20)[..])));
    }
}
