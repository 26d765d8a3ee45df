//! The `Sample` set, where logits are in host memory: `Logits` → `Picks`.

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use crate::world::activations::{Logits, Rows};
use crate::world::batch::Batch;
use crate::world::cursor::Cursor;
use crate::world::model::{Model, OnModel};
use crate::world::sampler::Sampler;
use crate::world::storage::Storage;
use crate::world::tokens::Tokens;

/// What `Sample` chose, for `Emit` to take: a sequence, and its next token unless its logits were not finite.
#[derive(Resource, Clone, Debug, Default)]
pub struct Picks(pub Vec<(Entity, Option<u32>)>);

/// Picks one token for every row of logits that is the last of its sequence. A sequence despawned since the batch was
/// filled is passed over.
pub fn pick_tokens<S: Storage<Rows = Rows>>(
    _of_model: OnModel<&Model<S>>,
    cursor: Res<Cursor>,
    batch: Res<Batch>,
    logits: Res<Logits<S>>,
    mut picks: ResMut<Picks>,
    mut sequences: Query<(&mut Sampler, &Tokens), Allow<Disabled>>,
) {
    for (index, span, row) in cursor.picked_rows(&batch) {
        if span.picks_at(row)
            && let Ok((mut sampler, tokens)) = sequences.get_mut(span.sequence)
        {
            let token = sampler.pick(logits.0.row(index), &tokens.prompt, &tokens.generated);
            picks.0.push((span.sequence, token));
        }
    }
}
