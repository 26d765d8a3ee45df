//! What the host does for a device in a decode step of 24 layers: the same dispatches as a large model's, on next to no
//! weights. On a device without a driver, this is our own work and wgpu's; on the first adapter, the driver's as well.

mod support;

use std::time::Duration;

use bevy_ecs::prelude::*;
use loquent::checkpoint::{AttentionConfig, DeltaNetConfig, LayerType, Layout, NormWeight, RopeConfig};
use loquent::gpu::{GpuContext, GpuStep, adapters};
use loquent::prelude::*;
use support::random::{Matrices, RandomWeights};

/// Steps of a measurement, within one block of the cache.
const STEPS: usize = 20;
/// Measurements, of which the median counts.
const ROUNDS: usize = 30;

fn main() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let info = adapters().first().map(|adapter| adapter.description.name.clone());
    measure("no driver", &GpuContext::from_device(device.adapter_info(), device, queue));
    match adapters().first().map(|adapter| adapter.open()) {
        Some(Ok(context)) => measure(&info.unwrap_or_default(), &context),
        Some(Err(error)) => println!("{error}"),
        None => println!("there is no adapter"),
    }
}

fn measure(name: &str, context: &GpuContext) {
    for sequences in [1, 8] {
        let mut world = World::new();
        let options = LoadOptions::default().threads(1).device(context.clone());
        let mut weights = RandomWeights { matrices: Matrices::Q4 };
        let model = LoadedModel::from_tensors(&narrow(), &mut weights, options, |_| {});
        model.expect("a device for a small model").spawn(&mut world);
        let mut found: Vec<[Duration; 2]> = (0..ROUNDS).map(|_| round(&mut world, sequences)).collect();
        let mut median = |index: usize| {
            found.sort_by_key(|times| times[index]);
            found[ROUNDS / 2][index].as_secs_f64() * 1e6
        };
        let (encoding, submitting) = (median(0), median(1));
        let dispatches = world.resource::<GpuStep>().counts().dispatches;
        println!(
            "{name}, {sequences} sequences: {encoding:.0} µs encoding and {submitting:.0} µs submitting a step ({dispatches} dispatches in all)"
        );
    }
}

/// Encoding and submitting, for a step.
fn round(world: &mut World, sequences: usize) -> [Duration; 2] {
    for _ in 0..sequences {
        world.spawn((
            Prompt::ids(vec![1; 4]),
            StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(STEPS + 4) },
        ));
    }
    // The prompt, and the first step of this shape.
    (0..2).for_each(|_| _ = advance(world, Budget::Step));
    let before = world.resource::<GpuStep>().counts();
    (0..STEPS).for_each(|_| _ = advance(world, Budget::Step));
    let after = world.resource::<GpuStep>().counts();
    let steps = (after.submissions - before.submissions).max(1) as u32;
    while advance(world, Budget::Step) != Progress::Idle {}
    let sequences: Vec<Entity> = world.query_filtered::<Entity, With<Finished>>().iter(world).collect();
    sequences.into_iter().for_each(|sequence| _ = world.despawn(sequence));
    world.resource_mut::<Messages<TokenGenerated>>().clear();
    [(after.encoding - before.encoding) / steps, (after.submitting - before.submitting) / steps]
}

/// As many layers as Qwen3.5-0.8B has, whose shaders have next to nothing to do.
fn narrow() -> ModelConfig {
    let layer = |index| if index % 4 == 3 { LayerType::FullAttention } else { LayerType::LinearAttention };
    ModelConfig {
        layout: Layout::TextOnly,
        vocab_size: 64,
        hidden_size: 32,
        intermediate_size: 32,
        layer_types: (0..24).map(layer).collect(),
        rms_norm_eps: 1e-6,
        norm_weight: NormWeight::LessOne,
        tie_word_embeddings: true,
        max_position_embeddings: 4096,
        attention: AttentionConfig {
            num_heads: 1,
            num_kv_heads: 1,
            head_dim: 32,
            output_gate: true,
            qk_norm: true,
            rope: RopeConfig::unscaled(8, 1e7),
        },
        delta_net: Some(DeltaNetConfig {
            num_key_heads: 1,
            num_value_heads: 1,
            key_head_dim: 32,
            value_head_dim: 32,
            conv_kernel: 4,
            tiled_value_heads: false,
        }),
        moe: None,
        mtp: false,
        eos_token_ids: Vec::new(),
        rotation_seed: None,
    }
}
