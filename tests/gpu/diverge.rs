//! Both backends side by side on one prompt: where they part is named by layer and set.

use std::path::Path;

use bevy_ecs::prelude::*;
use loquent::cpu::Cpu;
use loquent::gpu::recording::Buffer;
use loquent::gpu::{GpuContext, Recorder, Tap, Tapped};
use loquent::prelude::*;
use loquent::schedule::LayerPass;
use loquent::world::activations::Residual;
use loquent::world::layer::{LayerIndex, OnLayer};

use crate::device::context;
use crate::models::gpu_world;
use crate::support::{demo, exact_world, fixtures, run, some_prompt, spawn, vocab_size};

/// The residual stream after each set of each layer, row after row.
#[derive(Resource, Default)]
struct Stream(Vec<(String, Vec<Vec<f32>>)>);

fn stream_of_cpu(checkpoint: &Path, prompt: &[u32]) -> Vec<(String, Vec<Vec<f32>>)> {
    let mut world = exact_world(checkpoint);
    world.init_resource::<Stream>();
    let probe = |set: &'static str| {
        move |layer: OnLayer<&LayerIndex>, residual: Res<Residual<Cpu>>, mut stream: ResMut<Stream>| {
            let rows = (0..residual.0.len()).map(|row| residual.0.row(row).to_vec()).collect();
            stream.0.push((format!("layer {}, {set}", layer.0), rows));
        }
    };
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems(probe("Mixer").after(LayerSystems::Mixer).before(LayerSystems::MlpNorm));
        schedule.add_systems(probe("Mlp").after(LayerSystems::Mlp));
    });
    spawn(&mut world, prompt, 0);
    run(&mut world, Budget::Step);
    std::mem::take(&mut world.resource_mut::<Stream>().0)
}

fn stream_of_gpu(checkpoint: &Path, prompt: &[u32], context: &GpuContext) -> Vec<(String, Vec<Vec<f32>>)> {
    let mut world = gpu_world(checkpoint, context);
    let probe = |set: &'static str| {
        move |layer: OnLayer<&LayerIndex>, mut recorder: ResMut<Recorder>| {
            recorder.tap(Tap { label: format!("layer {}, {set}", layer.0), buffer: Buffer::Residual });
        }
    };
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems(probe("Mixer").after(LayerSystems::Mixer).before(LayerSystems::MlpNorm));
        schedule.add_systems(probe("Mlp").after(LayerSystems::Mlp));
    });
    spawn(&mut world, prompt, 0);
    run(&mut world, Budget::Step);
    world.resource_mut::<Messages<Tapped>>().drain().map(|Tapped { label, rows, .. }| (label, rows)).collect()
}

/// The first place whose residual parts from the CPU's by more than `bound`, as a normalised mean squared error.
fn first_divergence(
    checkpoint: &Path,
    other: &Path,
    prompt: &[u32],
    bound: f64,
    context: &GpuContext,
) -> Option<String> {
    let (cpu, gpu) = (stream_of_cpu(checkpoint, prompt), stream_of_gpu(other, prompt, context));
    assert_eq!(cpu.len(), gpu.len(), "a place each");
    for ((place, expected), (found_place, found)) in cpu.iter().zip(&gpu) {
        assert_eq!(place, found_place);
        let (mut error, mut size) = (0.0, 0.0);
        for (expected, found) in expected.iter().zip(found) {
            for (&expected, &found) in expected.iter().zip(found) {
                error += f64::from(expected - found).powi(2);
                size += f64::from(expected).powi(2);
            }
        }
        if error > bound * size {
            return Some(format!("{place}: {:.1e}", error / size));
        }
    }
    None
}

#[test]
fn the_backends_part_nowhere() {
    let Some(context) = context() else { return };
    for checkpoint in fixtures().into_iter().chain([demo()]) {
        let mut world = exact_world(&checkpoint);
        let prompt = some_prompt(40, vocab_size(&mut world));
        // Both add up in single precision, each in its own order.
        let found = first_divergence(&checkpoint, &checkpoint, &prompt, 1e-9, &context);
        assert_eq!(found, None, "{}", checkpoint.display());
    }
}

#[test]
fn where_they_part_is_named() {
    let Some(context) = context() else { return };
    // The same model in four bits differs from the first product on.
    let (_folder, four_bits) = crate::support::demo_in_four_bits();
    let prompt = some_prompt(10, 500);
    let found = first_divergence(&demo(), &four_bits, &prompt, 1e-9, &context).expect("they differ");
    assert!(found.starts_with("layer 0, Mixer: "), "{found}");
}
