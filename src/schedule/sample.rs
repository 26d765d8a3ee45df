//! The `Sample` set, where logits are in host memory: `Logits` → `Picks`.

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use crate::sampling::Random;
use crate::world::activations::{Logits, Rows};
use crate::world::batch::Batch;
use crate::world::cursor::Cursor;
use crate::world::model::{ActiveModel, Model};
use crate::world::mtp::MtpHead;
use crate::world::sampler::Sampler;
use crate::world::storage::Storage;
use crate::world::tokens::Tokens;

/// What `Sample` chose, for `Emit` to take, in the order of the rows.
#[derive(Resource, Clone, Debug, Default)]
pub struct Picks(pub Vec<Pick>);

/// A sequence's next token. Several of one sequence follow one another: the first after the last token that it has, and each
/// other after the pick before it, as long as that is the token which was [guessed](crate::world::draft).
#[derive(Clone, Debug)]
pub struct Pick {
    /// Whose.
    pub sequence: Entity,
    /// Which, unless its logits were not finite.
    pub token: Option<u32>,
    /// Where the sampler's random numbers were before, if the pick may turn out to come after the end.
    before: Option<Random>,
}

impl Pick {
    /// The one that follows what a sequence has.
    #[must_use]
    pub fn new(sequence: Entity, token: Option<u32>) -> Self {
        Self { sequence, token, before: None }
    }

    /// As if it had not been picked.
    pub(super) fn undo(&self, sampler: &mut Sampler) {
        self.before.iter().for_each(|random| sampler.rewind(random.clone()));
    }
}

/// The model of the step in hand, if its logits are in such a storage.
type Gives<S> = (With<ActiveModel>, Or<(With<Model<S>>, With<MtpHead<S>>)>);

/// Picks one token for every row of logits that is the last of its sequence, or guessed to be and as yet rightly so. A sequence
/// despawned since the batch was filled is passed over.
pub fn pick_tokens<S: Storage<Rows = Rows>>(
    _of_model: Single<(), Gives<S>>,
    cursor: Res<Cursor>,
    batch: Res<Batch>,
    logits: Res<Logits<S>>,
    mut picks: ResMut<Picks>,
    mut sequences: Query<(&mut Sampler, &Tokens), Allow<Disabled>>,
) {
    for (index, span, row) in cursor.picked_rows(&batch) {
        let (true, Some(drafts)) = (span.picks, span.drafts_before(row)) else { continue };
        let Ok((mut sampler, tokens)) = sequences.get_mut(span.sequence) else { continue };
        let logits = logits.0.row(index);
        if drafts == 0 {
            let token = sampler.pick(logits, &tokens.prompt, &tokens.generated);
            picks.0.push(Pick::new(span.sequence, token));
            continue;
        }
        let earlier = picks.0.iter().rev().take_while(|pick| pick.sequence == span.sequence).count();
        let was_guessed = picks.0.last().is_some_and(|pick| pick.token == Some(batch.tokens[row]));
        if earlier < drafts || !was_guessed {
            continue;
        }
        let generated = [&tokens.generated, batch.drafts_before(span, row)].concat();
        let before = Some(sampler.random().clone());
        let token = sampler.pick(logits, &tokens.prompt, &generated);
        picks.0.push(Pick { sequence: span.sequence, token, before });
    }
}
