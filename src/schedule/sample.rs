//! The `Sample` set, where logits are in host memory: `Logits` → `Picks`.

use bevy_ecs::prelude::*;

use crate::world::activations::{Logits, Rows};
use crate::world::batch::Batch;
use crate::world::sampler::Sampler;
use crate::world::sequence::{Prompt, Tokens};
use crate::world::storage::Storage;

/// What `Sample` chose, for `Emit`: a sequence, and its next token unless its logits were not finite.
#[derive(Resource, Clone, Debug, Default)]
pub struct Picks(pub Vec<(Entity, Option<u32>)>);

/// Picks one token for every row of logits. A sequence despawned since the batch was filled is passed over.
pub fn pick_tokens<S: Storage<Rows = Rows>>(
    batch: Res<Batch>,
    logits: Res<Logits<S>>,
    mut picks: ResMut<Picks>,
    mut sequences: Query<(&mut Sampler, &Prompt, &Tokens)>,
) {
    picks.0.clear();
    for (row, (sequence, _)) in batch.logit_rows().enumerate() {
        if let Ok((mut sampler, prompt, tokens)) = sequences.get_mut(sequence) {
            let token = sampler.pick(logits.0.row(row), &prompt.0, &tokens.generated);
            picks.0.push((sequence, token));
        }
    }
}
