//! The settings, and which values they may have.

#![forbid(unsafe_code)]

/// How tokens are picked. The default is greedy: the largest logit, no penalties.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "bevy", derive(bevy_reflect::Reflect), reflect(bevy_ecs::reflect::Component, Clone, PartialEq))]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f32,
    /// Keep this many candidates; 0 keeps all.
    pub top_k: usize,
    /// Keep the fewest candidates whose probabilities reach this, in [0, 1], but one at least; 1 keeps all.
    pub top_p: f32,
    /// Keep candidates at least this times as likely as the likeliest, in [0, 1]; 0 keeps all.
    pub min_p: f32,
    /// Positive logits of tokens in the prompt or the new text are divided by this, negative ones multiplied
    /// (Keskar et al., "CTRL", 2019); 1 does nothing.
    pub repetition_penalty: f32,
    /// Subtracted once from the logit of a token that is in the new text.
    pub presence_penalty: f32,
    /// Subtracted from a token's logit for each time it is in the new text.
    pub frequency_penalty: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
        }
    }
}

/// A setting outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[error("{name} is {found}: expected {expected}")]
pub struct InvalidSampling {
    /// The field of [`Sampling`].
    pub name: &'static str,
    /// What it may be.
    pub expected: &'static str,
    /// What it is.
    pub found: f32,
}

impl Sampling {
    /// Checks every range.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), InvalidSampling> {
        let check = |name, found: f32, expected, ok: bool| {
            if ok && found.is_finite() { Ok(()) } else { Err(InvalidSampling { name, expected, found }) }
        };
        check("temperature", self.temperature, "a finite number, at least 0", self.temperature >= 0.0)?;
        check("top_p", self.top_p, "a number from 0 to 1", (0.0..=1.0).contains(&self.top_p))?;
        check("min_p", self.min_p, "a number from 0 to 1", (0.0..=1.0).contains(&self.min_p))?;
        let repetition = self.repetition_penalty;
        check("repetition_penalty", repetition, "a finite number above 0", repetition > 0.0)?;
        check("presence_penalty", self.presence_penalty, "a finite number", true)?;
        check("frequency_penalty", self.frequency_penalty, "a finite number", true)
    }

    /// Whether what was there before counts.
    #[must_use]
    pub fn has_penalties(&self) -> bool {
        self.repetition_penalty != 1.0 || self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }
}
