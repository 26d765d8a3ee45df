//! Looks inside: a system of the host's own measures how much each layer adds to the residual stream.
//!
//! `cargo run --release --example probe`

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::schedule::LayerPass;
use loquent::schedule::profile::{Profile, table};
use loquent::world::activations::Residual;
use loquent::world::layer::{LayerIndex, OnLayer};

/// The mean square of the residual after each layer's mixer and after its MLP.
#[derive(Resource, Default)]
struct Energy(Vec<(usize, &'static str, f32)>);

fn mean_square(residual: &Residual<Cpu>) -> f32 {
    let values = residual.0.values();
    values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32
}

fn after_mixer(layer: OnLayer<&LayerIndex>, residual: Res<Residual<Cpu>>, mut energy: ResMut<Energy>) {
    energy.0.push((layer.0, "mixer", mean_square(&residual)));
}

fn after_mlp(layer: OnLayer<&LayerIndex>, residual: Res<Residual<Cpu>>, mut energy: ResMut<Energy>) {
    energy.0.push((layer.0, "MLP", mean_square(&residual)));
}

fn main() -> Result<(), LoadError> {
    let mut world = World::new();
    loquent::load(
        &mut world,
        concat!(env!("CARGO_MANIFEST_DIR"), "/assets/demo-q4"),
        LoadOptions::default().backend(Backend::Cpu),
    )?;
    world.init_resource::<Energy>();
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems((
            after_mixer.after(LayerSystems::Mixer).before(LayerSystems::MlpNorm),
            after_mlp.after(LayerSystems::Mlp),
        ));
    });
    world.resource_mut::<Profile>().start(false);

    world.spawn((Prompt::text("Once upon a time there was a"), StopRules::after(1)));
    while advance(&mut world, Budget::Step) != Progress::Idle {}

    for (layer, part, energy) in &world.resource::<Energy>().0 {
        println!("after the {part:<5} of layer {layer}: {energy:9.3}");
    }
    // The host's systems stand in the profile like ours.
    println!("{}", table(world.resource::<Profile>().costs(), f64::INFINITY));
    Ok(())
}
