//! The `Head`, `Await` and `Sample` sets: `Residual` → logits → tokens, on the device; and what comes back of them.

use std::time::Instant;

use bevy_ecs::entity_disabling::Disabled;
use bevy_ecs::prelude::*;
use bevy_ecs::query::Allow;

use super::Gpu;
use super::context::DeviceError;
use super::embed::{Kind, SpanRows, device_token, lay_out, pick_place};
use super::model::GpuModel;
use super::recording::Place;
use super::step::{Ahead, AheadRow, GpuStep, Pending, Recorder, Sending, Tapped};
use super::table::MOST_PICKS;
use super::timing::Timing;
use crate::checkpoint::ModelConfig;
use crate::cpu::Cpu;
use crate::schedule::profile::Profile;
use crate::schedule::{Awaited, Pick, Picks, read_again_later};
use crate::world::activations::Logits;
use crate::world::batch::{Batch, Span};
use crate::world::cache::{Caches, DeltaState, KvCache};
use crate::world::cursor::{Cursor, HeadPiece};
use crate::world::limits::CacheCost;
use crate::world::model::OnModel;
use crate::world::sampler::Sampler;
use crate::world::sequence::{HostLogits, LogitsFrom, Queued, Running};
use crate::world::tokens::Tokens;

/// What the end of a step asks of a sequence.
type Picker<'w> = (&'w mut Sampler, &'w Tokens, Option<&'w Running>, &'w Caches, Has<HostLogits>, Has<LogitsFrom>);

/// Sequences that take part in steps, or wait to.
type Unended = Or<(With<Running>, With<Queued>)>;

/// Computes logits and picks tokens, sends the step, and then the next one ahead, where nothing on the host can change it.
pub fn compute_logits(
    model: OnModel<(Entity, &CacheCost, &mut GpuModel)>,
    cursor: Res<Cursor>,
    batch: Res<Batch>,
    mut step: ResMut<GpuStep>,
    mut recorder: ResMut<Recorder>,
    mut awaited: ResMut<Awaited>,
    mut sequences: Query<Picker<'_>, Allow<Disabled>>,
    others: Query<(), Unended>,
    mut kv_caches: Query<&mut KvCache<Gpu>, Allow<Disabled>>,
    mut delta_states: Query<&mut DeltaState<Gpu>, Allow<Disabled>>,
) {
    // The device is given all of a group at once, with its last slice.
    if !cursor.head().is_some_and(HeadPiece::completes_logits) {
        return;
    }
    let (entity, cost, mut model) = model.into_inner();
    let model = &mut *model;
    awaited.pending = true;
    if model.failure.is_some() {
        return;
    }
    let rows: Vec<(&Span, usize)> = cursor.logit_rows(&batch).collect();
    let end = End { entity, cost, rows: &rows, batch: &batch };
    let sent = if recorder.sent {
        end.take_ahead(&mut step, &mut recorder, &mut sequences)
    } else {
        let ready = if step.ahead.take().is_some() {
            step.counts.in_vain += 1;
            // It was sent ahead, and a host has changed it since. Caches go back by the row that they count already.
            let find = |sequence| sequences.get(sequence).ok().map(|(_, tokens, _, caches, ..)| (tokens, caches));
            step.lay_out(model, &batch, find, &mut kv_caches, &mut delta_states)
        } else {
            Ok(())
        };
        ready.and_then(|()| end.send(model, &mut step, &mut recorder, &mut sequences))
    };
    let sent = sent.and_then(|()| {
        let alone = others.iter().count() == batch.spans.len();
        if !(alone && awaited.may_wait && recorder.quiet_steps == 0 && step.timing == Timing::Off) {
            return Ok(());
        }
        end.send_ahead(model, &mut step, &mut recorder, &mut sequences, &mut kv_caches, &mut delta_states)
    });
    awaited.busy = !awaited.may_wait;
    if let Err(error) = sent {
        model.failure = Some(error);
    }
}

/// The end of a step: a group of logits.
struct End<'a> {
    entity: Entity,
    cost: &'a CacheCost,
    rows: &'a [(&'a Span, usize)],
    batch: &'a Batch,
}

/// Whether the host picks, from logits that come back.
fn picks_on_host(sampler: &Sampler, asks: bool) -> bool {
    asks || sampler.settings().has_penalties()
}

impl End<'_> {
    fn send(
        &self,
        model: &mut GpuModel,
        step: &mut GpuStep,
        recorder: &mut Recorder,
        sequences: &mut Query<Picker<'_>, Allow<Disabled>>,
    ) -> Result<(), DeviceError> {
        let (mut device_rows, mut picking, mut logits, mut logit_rows) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (index, &(span, row)) in self.rows.iter().enumerate() {
            let Ok((mut sampler, _, _, _, asks, all)) = sequences.get_mut(span.sequence) else { continue };
            let Some(device_row) = step.rows[row] else { continue };
            let at = device_rows.len() as u32;
            device_rows.push(device_row);
            if picks_on_host(&sampler, asks || all) {
                logits.push(index);
                logit_rows.push(at);
            } else if span.picks_at(row) {
                let place = pick_place(step.half, picking.len());
                let random = sampler.draw().unwrap_or(0.0);
                model.table.pick(picking.len(), at, place, sampler.settings(), random);
                picking.push(span.sequence);
            }
        }
        if !device_rows.is_empty() {
            model.table.logit_rows(&device_rows);
            model.make_room(step.shape, device_rows.len())?;
            // Room for logits may have taken the buffers that the layers' part was made for.
            let ends = model.ends(device_rows.len(), picking.len())?;
            recorder.enqueue(&ends, Place::Head);
            recorder.enqueue(&ends, Place::Sample);
        }
        let first = pick_place(step.half, 0);
        let sending = Sending { picks: first..first + picking.len() as u32, logit_rows: &logit_rows };
        if let Some(answer) = step.submit(model, recorder, Some(sending))? {
            step.pending = Some(Pending { answer, picking, logits });
        }
        Ok(())
    }

    /// The step was sent ahead: what it will answer is that of the step in hand, and its random numbers are spent.
    fn take_ahead(
        &self,
        step: &mut GpuStep,
        recorder: &mut Recorder,
        sequences: &mut Query<Picker<'_>, Allow<Disabled>>,
    ) -> Result<(), DeviceError> {
        recorder.clear();
        let Some(ahead) = step.ahead.take() else { return Ok(()) };
        for row in &ahead.rows {
            if let Ok((mut sampler, ..)) = sequences.get_mut(row.sequence) {
                sampler.draw();
            }
        }
        let picking = ahead.rows.iter().map(|row| row.sequence).collect();
        step.pending = Some(Pending { answer: ahead.answer, picking, logits: Vec::new() });
        Ok(())
    }

    /// Sends each sequence's next row, if all of them go on and the device alone picks.
    fn send_ahead(
        &self,
        model: &mut GpuModel,
        step: &mut GpuStep,
        recorder: &mut Recorder,
        sequences: &mut Query<Picker<'_>, Allow<Disabled>>,
        kv_caches: &mut Query<&mut KvCache<Gpu>, Allow<Disabled>>,
        delta_states: &mut Query<&mut DeltaState<Gpu>, Allow<Disabled>>,
    ) -> Result<(), DeviceError> {
        let spans = &self.batch.spans;
        if spans.len() > MOST_PICKS || spans.len() != self.rows.len() {
            return Ok(());
        }
        let mut rows = Vec::new();
        for span in spans {
            let Ok((sampler, tokens, running, _, asks, all)) = sequences.get(span.sequence) else { return Ok(()) };
            let goes_on = span.picks && running.is_some_and(|running| tokens.generated.len() + 1 < running.room);
            if !goes_on || picks_on_host(sampler, asks || all) {
                return Ok(());
            }
            let position = self.batch.positions[span.rows.end - 1] as usize + 1;
            rows.push(AheadRow { sequence: span.sequence, position, sampler: sampler.clone() });
        }
        let blocks: u64 = rows.iter().map(|row| self.cost.blocks(row.position + 1)).sum();
        if blocks > self.cost.most_blocks {
            return Ok(());
        }
        let of_device = |index: usize| vec![device_token(step.half, index)];
        let caches = rows.iter().enumerate().map(|(index, row)| {
            let (_, _, _, caches, ..) = sequences.get(row.sequence).ok()?;
            Some(SpanRows { caches, tokens: of_device(index), position: row.position, kind: Kind::Single })
        });
        let caches: Vec<_> = caches.collect();
        let laid_out = lay_out(model, &caches, kv_caches, delta_states);
        let half = 1 - step.half;
        for (index, row) in rows.iter().enumerate() {
            let place = pick_place(half, index);
            let mut sampler = row.sampler.clone();
            let random = sampler.draw().unwrap_or(0.0);
            model.table.pick(index, index as u32, place, sampler.settings(), random);
        }
        let device_rows: Vec<u32> = (0..rows.len() as u32).collect();
        model.table.logit_rows(&device_rows);
        model.make_room(laid_out.shape, rows.len())?;
        let (body, ends) = (model.body(laid_out.shape)?, model.ends(rows.len(), rows.len())?);
        let layers = model.layers().len();
        recorder.enqueue(&body, Place::Embed);
        for layer in 0..layers {
            recorder.enqueue(&body, Place::Mixer(layer));
            recorder.enqueue(&body, Place::Mlp(layer));
        }
        recorder.enqueue(&ends, Place::Head);
        recorder.enqueue(&ends, Place::Sample);
        let first = pick_place(half, 0);
        let sending = Sending { picks: first..first + rows.len() as u32, logit_rows: &[] };
        if let Some(answer) = step.submit(model, recorder, Some(sending))? {
            step.body = Some(body);
            step.shape = laid_out.shape;
            step.counts.sent_ahead += 1;
            step.ahead = Some(Ahead { model: self.entity, rows, half, answer });
        }
        Ok(())
    }
}

/// Takes what the device has answered: tokens, logits for the host, taps. Where the budget lets it, it waits for them.
pub fn await_answer(
    mut commands: Commands,
    model: OnModel<(Entity, &ModelConfig, &mut GpuModel)>,
    cursor: Res<Cursor>,
    mut step: ResMut<GpuStep>,
    mut awaited: ResMut<Awaited>,
    mut picks: ResMut<Picks>,
    mut logits: ResMut<Logits<Cpu>>,
    mut tapped: MessageWriter<Tapped>,
    profile: Res<Profile>,
    sequences: Query<(Entity, &Running), Allow<Disabled>>,
) {
    if !awaited.pending {
        return;
    }
    let (entity, config, mut model) = model.into_inner();
    let model = &mut *model;
    let started = Instant::now();
    let answered = answer(model, &mut step, awaited.may_wait);
    step.counts.waiting += started.elapsed();
    let taken = answered.and_then(|pending| {
        let Some(pending) = pending else { return Ok(()) };
        step.take_times(model, &profile, &mut awaited)?;
        awaited.pending = false;
        let group = cursor.head().map_or(0, HeadPiece::rows);
        // Rows that nobody asked for are there as well, with anything in them: who looks at all finds each at its place.
        logits.0.resize(group, config.vocab_size);
        let context = model.context().clone();
        pending.answer.read(&context, |tokens, values| {
            let chosen = pending.picking.iter().zip(tokens);
            picks.0.extend(chosen.map(|(&sequence, &token)| Pick::new(sequence, (token != u32::MAX).then_some(token))));
            for (&row, values) in pending.logits.iter().zip(values.chunks_exact(config.vocab_size)) {
                logits.0.slice_mut(row..row + 1).copy_from_slice(values);
            }
        })?;
        model.recycle(pending.answer);
        step.on_host = pending.logits;
        if cursor.head().is_some_and(HeadPiece::is_of_last_group) {
            tapped.write_batch(step.take_taps(model));
        }
        Ok(())
    });
    if let Err(error) = taken {
        tracing::error!("{error}: its sequences wait for another device, or the CPU");
        awaited.pending = false;
        awaited.failed = true;
        *step = GpuStep { counts: step.counts, ..GpuStep::default() };
        for (sequence, _) in sequences.iter().filter(|(_, running)| running.model == entity) {
            read_again_later(&mut commands, sequence);
        }
        commands.entity(entity).insert(crate::world::model::Unavailable(error.to_string()));
    }
}

/// What was answered, if it was.
fn answer(model: &mut GpuModel, step: &mut GpuStep, may_wait: bool) -> Result<Option<Pending>, DeviceError> {
    if let Some(error) = model.failure.take() {
        return Err(error);
    }
    let Some(pending) = &step.pending else {
        let adapter = model.context().info().name.clone();
        return Err(DeviceError::Lost { adapter, doing: "a step that was never sent".to_owned() });
    };
    loop {
        if pending.answer.is_here(model.context())? {
            return Ok(step.pending.take());
        }
        if may_wait {
            pending.answer.wait(model.context())?;
        } else {
            model.context().poll(wgpu::PollType::Poll, "a step")?;
            return if pending.answer.is_here(model.context())? { Ok(step.pending.take()) } else { Ok(None) };
        }
    }
}

/// Picks tokens from the logits that came back, for sequences whose host wanted them.
pub fn pick_from_host_logits(
    _model: OnModel<&GpuModel>,
    cursor: Res<Cursor>,
    batch: Res<Batch>,
    step: Res<GpuStep>,
    logits: Res<Logits<Cpu>>,
    mut picks: ResMut<Picks>,
    mut sequences: Query<(&mut Sampler, &Tokens), Allow<Disabled>>,
) {
    for (index, span, row) in cursor.picked_rows(&batch) {
        if step.on_host.contains(&index)
            && span.picks_at(row)
            && let Ok((mut sampler, tokens)) = sequences.get_mut(span.sequence)
        {
            let token = sampler.pick(logits.0.row(index), &tokens.prompt, &tokens.generated);
            picks.0.push(Pick::new(span.sequence, token));
        }
    }
}
