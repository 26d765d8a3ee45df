//! Worlds whose logits are kept, to the last bit.

use std::collections::HashMap;
use std::path::Path;

use bevy_ecs::prelude::*;
use loquent::cpu::Cpu;
use loquent::prelude::*;
use loquent::schedule::EndStep;
use loquent::snapshot::{Continues, Restored, Snapshot};
use loquent::world::activations::Logits;
use loquent::world::batch::Batch;
use loquent::world::cursor::Cursor;

use crate::support::{default_world, run};

/// The logits that each sequence has picked from, by their bits.
#[derive(Resource, Default)]
struct Picked(HashMap<Entity, Vec<Vec<u32>>>);

fn listen(cursor: Res<Cursor>, batch: Res<Batch>, logits: Res<Logits<Cpu>>, mut picked: ResMut<Picked>) {
    for (index, (span, row)) in cursor.logit_rows(&batch).enumerate() {
        if span.picks_at(row) {
            let bits = logits.0.row(index).iter().map(|logit| logit.to_bits()).collect();
            picked.0.entry(span.sequence).or_default().push(bits);
        }
    }
}

/// A world of this model.
pub fn world_of(checkpoint: &Path) -> World {
    let mut world = default_world(checkpoint);
    world.init_resource::<Picked>();
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems(listen.in_set(StepSystems::Constrain));
    });
    world
}

pub fn model(world: &mut World) -> Entity {
    world.query_filtered::<Entity, With<ModelConfig>>().single(world).expect("a model")
}

/// All logits that a sequence has picked from.
pub fn logits(world: &World, sequence: Entity) -> Vec<Vec<u32>> {
    world.resource::<Picked>().0.get(&sequence).cloned().unwrap_or_default()
}

pub fn tokens(world: &World, sequence: Entity) -> Tokens {
    world.get::<Tokens>(sequence).expect("tokens").clone()
}

/// Restores from bytes in a world of its own, as another process would.
pub fn restore_elsewhere(checkpoint: &Path, snapshot: &Snapshot) -> (World, Entity, Continues) {
    let snapshot = Snapshot::from_bytes(&snapshot.to_bytes()).expect("a snapshot");
    let mut world = world_of(checkpoint);
    // Entities have other names here.
    world.spawn_batch(vec![(); 7]).for_each(drop);
    let model = model(&mut world);
    let Restored { sequence, continues } = snapshot.restore(&mut world, model).expect("a sequence");
    (world, sequence, continues)
}

/// What one comes to at the end that is restored elsewhere: its tokens, the logits since, how it ended, its text.
pub fn end_elsewhere(checkpoint: &Path, snapshot: &Snapshot) -> (End, Continues) {
    let (mut world, sequence, continues) = restore_elsewhere(checkpoint, snapshot);
    run(&mut world, Budget::Step);
    (End::of(&world, sequence), continues)
}

/// What a sequence has come to.
#[derive(Debug, PartialEq)]
pub struct End {
    pub tokens: Vec<u32>,
    pub logits: Vec<Vec<u32>>,
    pub finished: Option<Finished>,
    pub text: Option<String>,
    pub sampler: Option<Sampler>,
    pub conversation: Option<Conversation>,
}

impl End {
    pub fn of(world: &World, sequence: Entity) -> Self {
        Self {
            tokens: tokens(world, sequence).iter().collect(),
            logits: logits(world, sequence),
            finished: world.get(sequence).cloned(),
            text: world.get::<Transcript>(sequence).map(|transcript| transcript.text().to_owned()),
            sampler: world.get(sequence).cloned(),
            conversation: world.get(sequence).cloned(),
        }
    }

    /// Without the logits before the last `count`.
    pub fn since(mut self, count: usize) -> Self {
        self.logits.drain(..self.logits.len() - count);
        self
    }
}
