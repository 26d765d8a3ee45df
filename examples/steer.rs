//! Pushes a story in a direction: what one text adds to the residual stream over another is added, again and again, to
//! that of a third (Turner et al., "Activation Addition", 2023).
//!
//! `cargo run --release --example steer`

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::schedule::LayerPass;
use loquent::world::activations::Residual;
use loquent::world::layer::{LayerIndex, OnLayer};

/// The layer after which the stream is read, and pushed.
const LAYER: usize = 1;

/// The residual of the last row that went through the layer.
#[derive(Resource, Default)]
struct Read(Vec<f32>);

/// What is added to every row.
#[derive(Resource, Default)]
struct Push(Vec<f32>);

fn read(layer: OnLayer<&LayerIndex>, residual: Res<Residual<Cpu>>, mut read: ResMut<Read>) {
    if layer.0 == LAYER {
        read.0 = residual.0.row(residual.0.len() - 1).to_vec();
    }
}

fn push(layer: OnLayer<&LayerIndex>, push: Res<Push>, mut residual: ResMut<Residual<Cpu>>) {
    if layer.0 == LAYER {
        for row in residual.0.rows_mut() {
            row.iter_mut().zip(&push.0).for_each(|(value, push)| *value += push);
        }
    }
}

fn tell(world: &mut World, opening: &str, new: usize) -> String {
    world.spawn((Prompt::text(opening), StopRules::after(new), Sampler::default()));
    while advance(world, Budget::Step) != Progress::Idle {}
    world.resource_mut::<Messages<TokenGenerated>>().drain().map(|token| token.text).collect()
}

fn main() -> Result<(), LoadError> {
    let mut world = World::new();
    loquent::load(
        &mut world,
        concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-q4"),
        LoadOptions::default().backend(Backend::Cpu),
    )?;
    world.init_resource::<Read>();
    world.init_resource::<Push>();
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems((read, push).chain().after(LayerSystems::Mlp));
    });

    let mut stream = |text: &str| {
        tell(&mut world, text, 0);
        world.resource::<Read>().0.clone()
    };
    let (sad, happy) = (stream("Tom was very sad"), stream("Tom was very happy"));
    for strength in [-0.5, 0.0, 0.5] {
        world.resource_mut::<Push>().0 = happy.iter().zip(&sad).map(|(happy, sad)| strength * (happy - sad)).collect();
        println!("{strength:+}: Tom was{}", tell(&mut world, "Tom was", 30));
    }
    Ok(())
}
