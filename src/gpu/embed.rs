//! The `Embed` set: the batch's tokens → `Residual` [rows, hidden]. Before that, the step is laid out: which rows a device
//! has, where their sequences' caches are, and what each shader must know of them.

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use super::Gpu;
use super::buffers::LayerStores;
use super::context::DeviceError;
use super::model::GpuModel;
use super::plan::{BatchShape, parts_of};
use super::recording::Place;
use super::step::{GpuStep, Recorder};
use super::table::{Row, Span, picked_at};
use super::timing::Timing;
use crate::schedule::Awaited;
use crate::schedule::profile::Profile;
use crate::world::batch::Batch;
use crate::world::cache::{Caches, DeltaState, KvCache};
use crate::world::model::OnModel;
use crate::world::sampler::Sampler;
use crate::world::sequence::{HostLogits, LogitsFrom};
use crate::world::tokens::Tokens;

/// The rows of one sequence in a step.
pub(super) struct SpanRows<'a> {
    pub(super) caches: &'a Caches,
    pub(super) tokens: Vec<u32>,
    pub(super) position: usize,
    pub(super) kind: Kind,
}

/// What says which shaders compute a row, whatever else is in the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A generated token.
    Single,
    /// Generated tokens that are read again.
    Again,
    /// Tokens of a prompt.
    Prompt,
}

/// What says how a sequence's token is picked, and by whom.
type Settings<'w> = (&'w Sampler, Has<HostLogits>, Has<LogitsFrom>);

/// Lays the step out and embeds its tokens; where it was sent ahead, both are done.
pub fn embed_tokens(
    model: OnModel<(Entity, &mut GpuModel)>,
    batch: Res<Batch>,
    mut step: ResMut<GpuStep>,
    mut recorder: ResMut<Recorder>,
    profile: Res<Profile>,
    awaited: Res<Awaited>,
    sequences: Query<(&Tokens, &Caches), Allow<Disabled>>,
    samplers: Query<Settings<'_>, Allow<Disabled>>,
    mut kv_caches: Query<&mut KvCache<Gpu>, Allow<Disabled>>,
    mut delta_states: Query<&mut DeltaState<Gpu>, Allow<Disabled>>,
) {
    let (entity, mut model) = model.into_inner();
    let model = &mut *model;
    recorder.clear();
    step.timing = match (profile.is_on(), awaited.may_wait) {
        // Some steps in one pass show what splitting costs.
        (true, _) if step.passes[1].0 % 8 == 7 => Timing::Whole,
        (true, _) => Timing::Systems,
        (false, true) => Timing::Off,
        (false, false) => Timing::Whole,
    };
    recorder.quiet_steps = recorder.quiet_steps.saturating_sub(1);
    recorder.sent = step.was_sent_ahead(entity, &batch, &sequences, &samplers);
    if recorder.sent {
        if let Some(body) = &step.body {
            recorder.enqueue(body, Place::Embed);
        }
        return;
    }
    step.counts.in_vain += u64::from(step.ahead.take().is_some());
    step.half = 1 - step.half;
    let find = |sequence| sequences.get(sequence).ok();
    let begun = step.lay_out(model, &batch, find, &mut kv_caches, &mut delta_states);
    if let Err(error) = begun.and_then(|()| step.begin(model, &mut recorder)) {
        model.failure = Some(error);
    }
}

/// A step as the device has it.
pub(super) struct LaidOut {
    pub(super) shape: BatchShape,
    /// The first row of each span, if its sequence is there.
    pub(super) first_rows: Vec<Option<u32>>,
}

/// Takes places for what the rows will leave in caches, and writes the table of the step.
///
/// Caches count the rows from here on. A step that comes to nothing leaves them too long: whoever lays out the next one cuts
/// them to what was read.
pub(super) fn lay_out(
    model: &mut GpuModel,
    spans: &[Option<SpanRows<'_>>],
    kv_caches: &mut Query<&mut KvCache<Gpu>, Allow<Disabled>>,
    delta_states: &mut Query<&mut DeltaState<Gpu>, Allow<Disabled>>,
) -> LaidOut {
    let mut order: Vec<usize> = (0..spans.len()).filter(|&index| spans[index].is_some()).collect();
    order.sort_by_key(|&index| spans[index].as_ref().map(|span| span.kind));
    let ordered: Vec<&SpanRows<'_>> = order.iter().filter_map(|&index| spans[index].as_ref()).collect();
    let layers = model.layers().len();
    let mut since = vec![0; ordered.len()];
    let mut slots = vec![Vec::new(); layers];
    let mut blocks = vec![Vec::new(); layers];
    for (layer, stores) in model.layers().iter().enumerate() {
        for (index, span) in ordered.iter().enumerate() {
            let cache = span.caches.of_layer(layer);
            match stores {
                LayerStores::DeltaNet(_) => {
                    let state = cache.and_then(|cache| delta_states.get_mut(cache).ok());
                    slots[layer].push(state.map_or([0; 3], |mut state| {
                        since[index] = prepare_state(&mut state, span.position, span.tokens.len());
                        [&state.state, &state.rows, &state.inputs].map(|part| part.index())
                    }));
                }
                LayerStores::Attention(store) => {
                    let cache = cache.and_then(|cache| kv_caches.get_mut(cache).ok());
                    blocks[layer].push(cache.map_or_else(Vec::new, |mut cache| {
                        cache.truncate(span.position);
                        cache.extend(span.tokens.len(), || store.pool.take(), |_, _, _| {});
                        cache.blocks().iter().map(|block| block.index()).collect()
                    }));
                }
            }
        }
    }

    let mut shape = BatchShape::default();
    let mut first_rows = vec![None; spans.len()];
    let (mut rows, mut table_spans) = (Vec::new(), Vec::new());
    for (index, (&original, span)) in order.iter().zip(&ordered).enumerate() {
        let first_row = rows.len() as u32;
        first_rows[original] = Some(first_row);
        let count = span.tokens.len();
        let positions = (span.position as u32..).zip(&span.tokens);
        rows.extend(positions.map(|(position, &token)| Row { token, position, span: index as u32 }));
        let (first_position, since) = (span.position as u32, since[index] as u32);
        table_spans.push(Span { first_row, rows: count as u32, first_position, since });
        let parts = parts_of((span.position + count - 1) as u32);
        let longest = &mut shape.parts[usize::from(span.kind != Kind::Single)];
        *longest = parts.max(*longest);
        match span.kind {
            Kind::Single => shape.single += 1,
            Kind::Again => shape.again += count,
            Kind::Prompt => shape.prompt += count,
        }
        shape.spans += usize::from(span.kind != Kind::Single);
    }
    let positions: Vec<u32> = rows.iter().map(|row| row.position).collect();
    let angles = model.rope.angles(&positions);
    let table = &mut model.table;
    table.begin(layers);
    table.rows(&rows);
    table.spans(&table_spans);
    table.angles((0..rows.len()).map(|row| angles.row(row)));
    for layer in 0..layers {
        if slots[layer].is_empty() {
            table.blocks(layer, &blocks[layer]);
        } else {
            table.slots(layer, slots[layer].iter().copied());
        }
    }
    LaidOut { shape, first_rows }
}

/// Makes the parts of a state that `rows` from `position` on will write the sequence's own. Returns how many rows the state
/// is behind before them.
fn prepare_state(state: &mut DeltaState<Gpu>, position: usize, rows: usize) -> usize {
    if state.truncate(position).is_err() {
        // Cannot be: a state stays at least as far behind as the step that is taken back.
        tracing::error!("a state of {} positions cannot go back to {position}", state.positions());
    }
    let since = state.since();
    if since + rows > DeltaState::<Gpu>::CHUNK {
        std::sync::Arc::make_mut(&mut state.state);
    }
    std::sync::Arc::make_mut(&mut state.rows);
    std::sync::Arc::make_mut(&mut state.inputs);
    state.advance_behind(rows);
    since
}

impl GpuStep {
    /// Lays out the step of `batch`.
    pub(super) fn lay_out<'b>(
        &mut self,
        model: &mut GpuModel,
        batch: &Batch,
        find: impl Fn(Entity) -> Option<(&'b Tokens, &'b Caches)>,
        kv_caches: &mut Query<&mut KvCache<Gpu>, Allow<Disabled>>,
        delta_states: &mut Query<&mut DeltaState<Gpu>, Allow<Disabled>>,
    ) -> Result<(), DeviceError> {
        let spans = batch.spans.iter().map(|span| {
            let (tokens, caches) = find(span.sequence)?;
            let position = batch.positions[span.rows.start] as usize;
            let kind = match (tokens.is_spoken(position), span.rows.len()) {
                (false, _) => Kind::Prompt,
                (true, 1) => Kind::Single,
                (true, _) => Kind::Again,
            };
            Some(SpanRows { caches, tokens: batch.tokens[span.rows.clone()].to_vec(), position, kind })
        });
        let spans: Vec<_> = spans.collect();
        let laid_out = lay_out(model, &spans, kv_caches, delta_states);
        // Rows of the batch in their order; those of sequences that are gone have none.
        self.rows.clear();
        for (span, first) in batch.spans.iter().zip(&laid_out.first_rows) {
            self.rows.extend((0..span.rows.len() as u32).map(|row| first.map(|first| first + row)));
        }
        self.shape = laid_out.shape;
        model.make_room(self.shape, 1)
    }

    fn begin(&mut self, model: &mut GpuModel, recorder: &mut Recorder) -> Result<(), DeviceError> {
        let body = model.body(self.shape)?;
        recorder.enqueue(&body, Place::Embed);
        self.body = Some(body);
        Ok(())
    }

    /// Whether the step in hand is the one that was sent ahead: the same sequences at the same positions, whose samplers are
    /// as they were.
    fn was_sent_ahead(
        &mut self,
        model: Entity,
        batch: &Batch,
        sequences: &Query<(&Tokens, &Caches), Allow<Disabled>>,
        samplers: &Query<Settings<'_>, Allow<Disabled>>,
    ) -> bool {
        let Some(ahead) = &self.ahead else { return false };
        let same = |(span, row): (&crate::world::batch::Span, &super::step::AheadRow)| {
            span.sequence == row.sequence
                && span.rows.len() == 1
                && span.picks
                && batch.positions[span.rows.start] as usize == row.position
                && sequences
                    .get(row.sequence)
                    .is_ok_and(|(tokens, _)| tokens.generated.last() == Some(&batch.tokens[span.rows.start]))
                && samplers.get(row.sequence).is_ok_and(|(sampler, asks, all)| *sampler == row.sampler && !asks && !all)
        };
        let sent = ahead.model == model
            && ahead.rows.len() == batch.spans.len()
            && batch.spans.iter().zip(&ahead.rows).all(same);
        if sent {
            self.half = ahead.half;
            self.rows = (0..batch.len() as u32).map(Some).collect();
        }
        sent
    }
}

/// Where the token of the `index`-th sequence goes, in this half of the picks.
pub(super) fn pick_place(half: u32, index: usize) -> u32 {
    half * super::table::MOST_PICKS as u32 + index as u32
}

/// The token that the device picks there.
pub(super) fn device_token(half: u32, index: usize) -> u32 {
    picked_at(pick_place(half, index))
}
