//! Runs a text through a model, or through two at once.

use std::mem::swap;
use std::ops::ControlFlow;
use std::sync::Arc;

use bevy_ecs::prelude::*;

use super::error::PerplexityError;
use super::estimate::{Comparison, Perplexity};
use super::score::{Excerpt, Reference, Score, Scored, Scores, score_rows};
use super::windows::{Window, Windows};
use crate::checkpoint::ModelConfig;
use crate::cpu::Cpu;
use crate::schedule::{self, Budget, EndStep, StepSystems, advance};
use crate::world::activations::Logits;
use crate::world::limits::Limits;
use crate::world::sequence::{Finished, LogitsFrom, Prompt, StopRules};
use crate::world::tokens::Tokens;

/// Windows that are read side by side, at most: each has caches, of 20 MB in the 0.8B shape.
const SIDE_BY_SIDE: usize = 4;

/// How far a measurement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerplexityProgress {
    /// Tokens that are scored.
    pub scored: usize,
    /// Tokens that will be.
    pub total: usize,
}

/// A model that predicts texts.
pub struct Scorer {
    name: String,
    world: World,
}

impl Scorer {
    /// Takes a `world` with a model on the CPU; `name` is what errors call it. Sequences that are in it already run on, in
    /// the same steps.
    #[must_use]
    pub fn new(name: impl Into<String>, mut world: World) -> Self {
        world.init_resource::<Scores>();
        world.schedule_scope(EndStep, |_, schedule| {
            schedule.add_systems(score_rows.in_set(StepSystems::Sample));
        });
        Self { name: name.into(), world }
    }

    /// The world of the model.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The world of the model, to change.
    pub fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// How well the model predicts `text`, read in `windows`. It does not depend on how steps batch their rows, nor on the
    /// number of threads. `progress` is called after every layer, and may stop it.
    ///
    /// Of logits, there are never more than those of 64 rows.
    ///
    /// # Errors
    /// If the text or the window does not fit the model, if its logits are not finite, or if `progress` stops it.
    pub fn measure(
        &mut self,
        text: &[u32],
        windows: Windows,
        mut progress: impl FnMut(PerplexityProgress) -> ControlFlow<()>,
    ) -> Result<Perplexity, PerplexityError> {
        let mut run = Run::begin(self, text, windows)?;
        while run.score_next(&mut progress)? {}
        Ok(Perplexity::of(&run.finish()?.0))
    }

    /// How well `first` and `second` predict `text`, read in `windows`, and how far the second's predictions are from
    /// the first's. The models take turns: [`Scorer::measure`] says the rest, for each of them.
    ///
    /// # Errors
    /// As [`Scorer::measure`]; besides, if their vocabularies differ in size, or other sequences in their worlds keep
    /// them from the same steps.
    pub fn compare(
        first: &mut Self,
        second: &mut Self,
        text: &[u32],
        windows: Windows,
        mut progress: impl FnMut(PerplexityProgress) -> ControlFlow<()>,
    ) -> Result<Comparison, PerplexityError> {
        let (first_size, second_size) = (first.config()?.vocab_size, second.config()?.vocab_size);
        if first_size != second_size {
            let (first, second) = (first.name.clone(), second.name.clone());
            return Err(PerplexityError::Vocabularies { first, first_size, second, second_size });
        }
        let out_of_step = PerplexityError::OutOfStep { first: first.name.clone(), second: second.name.clone() };
        let mut first = Run::begin(first, text, windows)?;
        let mut second = Run::begin(second, text, windows)?;
        second.scores().reference = Some(Reference::default());
        // The first is a group of rows ahead; what both have scored is shown.
        let mut both = 0;
        while first.score_next(&mut |own| progress(PerplexityProgress { scored: both, ..own }))? {
            first.lend_logits(&mut second);
            let scored = second.score_next(&mut |own| {
                both = own.scored;
                progress(own)
            })?;
            first.lend_logits(&mut second);
            if !scored || first.scores().last.rows != second.scores().last.rows {
                return Err(out_of_step);
            }
        }
        if second.score_next(&mut progress)? {
            return Err(out_of_step);
        }
        let ((first, _), (second, divergences)) = (first.finish()?, second.finish()?);
        Ok(Comparison::of(&first, &second, &divergences))
    }

    fn config(&self) -> Result<&ModelConfig, PerplexityError> {
        let mut models = self.world.try_query::<&ModelConfig>();
        let config = models.as_mut().and_then(|models| models.single(&self.world).ok());
        config.ok_or_else(|| PerplexityError::NoModel { model: self.name.clone() })
    }

    fn check(&self, text: &[u32], windows: Windows) -> Result<(), PerplexityError> {
        let config = self.config()?;
        let (window, context, vocab_size) = (windows.window(), config.max_position_embeddings, config.vocab_size);
        if window > context {
            return Err(PerplexityError::WindowTooLong { model: self.name.clone(), window, context });
        }
        if text.len() < 2 {
            return Err(PerplexityError::TextTooShort { found: text.len() });
        }
        match text.iter().position(|&id| id as usize >= vocab_size) {
            None => Ok(()),
            Some(index) => {
                let (model, id) = (self.name.clone(), text[index]);
                Err(PerplexityError::UnknownToken { model, index, id, vocab_size })
            }
        }
    }
}

/// A text on its way through a model.
struct Run<'s> {
    model: &'s mut Scorer,
    /// All of them, in order.
    windows: Vec<Window>,
    /// How many of them have begun.
    begun: usize,
    /// The sequences that read windows now.
    reading: Vec<Entity>,
    progress: PerplexityProgress,
}

impl<'s> Run<'s> {
    fn begin(model: &'s mut Scorer, text: &[u32], windows: Windows) -> Result<Self, PerplexityError> {
        model.check(text, windows)?;
        let windows: Vec<Window> = windows.over(text.len()).collect();
        model.world.insert_resource(Scores {
            text: Arc::from(text),
            of_token: vec![Score::NONE; text.len()],
            divergences: vec![f64::NAN; text.len()],
            ..Scores::default()
        });
        let total = windows.iter().map(|window| window.scored.len()).sum();
        Ok(Self { model, windows, begun: 0, reading: Vec::new(), progress: PerplexityProgress { scored: 0, total } })
    }

    /// Advances until a group of rows is scored; `false` if none is left.
    fn score_next(
        &mut self,
        progress: &mut impl FnMut(PerplexityProgress) -> ControlFlow<()>,
    ) -> Result<bool, PerplexityError> {
        self.scores().last = Scored::default();
        loop {
            self.end_windows();
            self.begin_windows();
            if self.reading.is_empty() || advance(&mut self.model.world, Budget::Pieces(1)) == schedule::Progress::Idle
            {
                return Ok(false);
            }
            let scored = self.scores().last.rows.len();
            self.progress.scored += scored;
            if progress(self.progress).is_break() {
                return Err(PerplexityError::Stopped);
            }
            if scored > 0 {
                return Ok(true);
            }
        }
    }

    /// Despawns the sequences of windows that are read to their end.
    fn end_windows(&mut self) {
        let world = &mut self.model.world;
        self.reading.retain(|&sequence| {
            let finished = world.get::<Finished>(sequence).is_some();
            if finished {
                world.despawn(sequence);
            }
            !finished
        });
    }

    /// Spawns as many as fill the next step.
    fn begin_windows(&mut self) {
        let world = &mut self.model.world;
        let unread = |sequence: &Entity| {
            let (Some(Prompt::Ids(prompt)), tokens) = (world.get::<Prompt>(*sequence), world.get::<Tokens>(*sequence)?)
            else {
                return None;
            };
            Some(prompt.len() - tokens.processed)
        };
        let mut ahead: usize = self.reading.iter().filter_map(unread).sum();
        while ahead < world.resource::<Limits>().rows.max(1)
            && self.reading.len() < SIDE_BY_SIDE
            && let Some(window) = self.windows.get(self.begun)
        {
            // Nothing is predicted from the window's last token.
            let read = window.tokens.start..window.tokens.end - 1;
            let prompt = world.resource::<Scores>().text[read.clone()].to_vec();
            let sequence = world.spawn((
                Prompt::Ids(prompt),
                LogitsFrom(window.scored.start - 1 - window.tokens.start),
                StopRules::after(0),
                Excerpt { start: window.tokens.start },
            ));
            self.reading.push(sequence.id());
            self.begun += 1;
            ahead += read.len();
        }
    }

    /// Hands the logits in hand to the other as its reference, or takes them back.
    fn lend_logits(&mut self, other: &mut Self) {
        let scored = self.scores().last.clone();
        let mut logits = self.model.world.resource_mut::<Logits<Cpu>>();
        if let Some(reference) = &mut other.scores().reference {
            reference.scored = scored;
            swap(&mut reference.logits, &mut logits.0);
        }
    }

    /// What was found of each token that is scored, in order.
    fn finish(mut self) -> Result<(Vec<Score>, Vec<f64>), PerplexityError> {
        let Scores { of_token, divergences, reference, .. } = std::mem::take(&mut *self.scores());
        let scored = || self.windows.iter().flat_map(|window| window.scored.clone());
        let is_finite =
            |token: usize| of_token[token].nll.is_finite() && (reference.is_none() || divergences[token].is_finite());
        match scored().find(|&token| !is_finite(token)) {
            None => Ok((
                scored().map(|token| of_token[token]).collect(),
                scored().map(|token| divergences[token]).collect(),
            )),
            Some(index) => Err(PerplexityError::NonFinite { model: self.model.name.clone(), index }),
        }
    }

    fn scores(&mut self) -> Mut<'_, Scores> {
        self.model.world.resource_mut::<Scores>()
    }
}

/// Whatever ends a run, its windows leave the world.
impl Drop for Run<'_> {
    fn drop(&mut self) {
        for sequence in self.reading.drain(..) {
            self.model.world.despawn(sequence);
        }
    }
}
