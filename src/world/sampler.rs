//! How a sequence picks its next token from the logits: the component that holds its settings and its random numbers.

use bevy_ecs::component::{Component, Immutable, StorageType};
use bevy_ecs::prelude::*;

use crate::sampling::{InvalidSampling, Random, Sampling, pick};

/// Put beside a prompt, it is how its tokens are picked: its [`Sampler`] is made of it, and of a [`Seed`] if there is one.
impl Component for Sampling {
    const STORAGE_TYPE: StorageType = StorageType::Table;
    type Mutability = Immutable;
}

/// Where the random numbers of a sequence come from; 0 where nothing is said.
#[derive(Component, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(Component, Clone, Debug, PartialEq))]
#[component(immutable)]
pub struct Seed(pub u64);

/// Picks tokens for one sequence. The same settings, seed and logits give the same tokens.
#[derive(Component, Clone, Debug, PartialEq)]
pub struct Sampler {
    settings: Sampling,
    random: Random,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { settings: Sampling::default(), random: Random::new(0) }
    }
}

impl Sampler {
    /// A sampler with `settings` whose random numbers come from `seed`.
    ///
    /// # Errors
    /// A setting outside its range.
    pub fn new(settings: Sampling, seed: u64) -> Result<Self, InvalidSampling> {
        settings.validate()?;
        Ok(Self { settings, random: Random::new(seed) })
    }

    /// A sampler in the middle of its random numbers.
    pub(crate) fn at(settings: Sampling, random: Random) -> Result<Self, InvalidSampling> {
        settings.validate()?;
        Ok(Self { settings, random })
    }

    /// Where its random numbers come from.
    pub(crate) fn random(&self) -> &Random {
        &self.random
    }

    /// Has it pick by these random numbers from now on.
    pub(crate) fn rewind(&mut self, random: Random) {
        self.random = random;
    }

    /// How it picks.
    #[must_use]
    pub fn settings(&self) -> &Sampling {
        &self.settings
    }

    /// The random number, in [0, 1), that the next pick goes by; the one after it then goes by another. `None` if picks
    /// need none.
    pub fn draw(&mut self) -> Option<f64> {
        (self.settings.temperature > 0.0).then(|| self.random.unit())
    }

    /// Picks a token from `logits` (`[vocab_size]`), given the tokens before it. `None` if the largest logit is not
    /// finite, or any is NaN.
    pub fn pick(&mut self, logits: &[f32], prompt: &[u32], generated: &[u32]) -> Option<u32> {
        pick(&self.settings, &mut self.random, logits, prompt, generated)
    }
}
