//! Reading prompts and generating cost differently, and are counted apart.

use bevy_ecs::prelude::*;

use crate::world::batch::Batch;
use crate::world::tokens::Tokens;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Some of its rows are of a prompt, or of a text that is read again. What it generates beside them is counted here as
    /// well: rows of a step share its weights, and what each costs cannot be told.
    Prompt,
    /// Each of its rows is the last token of a sequence that generates, or a guess at what follows it.
    Decode,
    /// It found nothing to compute.
    Idle,
}

impl Phase {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Prompt, Self::Decode, Self::Idle];

    /// What the step in hand does, once its batch is filled.
    pub(super) fn of_step(world: &World) -> Self {
        let batch = world.resource::<Batch>();
        let generates = |sequence: Entity, position: u32| {
            world.get::<Tokens>(sequence).is_some_and(|tokens| position as usize >= tokens.prompt.len())
        };
        let mut spans = batch.spans.iter();
        if batch.is_empty() {
            Self::Idle
        } else if spans.all(|span| span.certain() == 1 && generates(span.sequence, batch.positions[span.rows.start])) {
            Self::Decode
        } else {
            Self::Prompt
        }
    }

    /// What tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Decode => "decode",
            Self::Idle => "idle",
        }
    }
}
