//! Whole steps on all threads: of a small model, and of one so narrow that little is left but scheduling.

mod support;

use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Throughput};
use loquent::checkpoint::{AttentionConfig, DeltaNetConfig, LayerType, Layout, NormWeight, RopeConfig};
use loquent::prelude::*;
use support::random::{Matrices, RandomWeights};

/// Tokens in a prompt.
const PROMPT: usize = 64;
/// Tokens generated before the next prompt: the context, and with it the work, must not grow without end.
const NEW: usize = 32;

fn main() {
    let mut criterion = support::criterion();
    let mut group = criterion.benchmark_group("step");

    for (matrices, name) in [(Matrices::Bf16, "bf16"), (Matrices::Q4, "q4")] {
        let mut world = world(&small(), matrices);
        bench_prompt(&mut group, &format!("prompt_{PROMPT}_{name}"), &mut world);
        bench_decode(&mut group, &format!("decode_{name}"), &mut world);
    }
    bench_decode(&mut group, "schedule_overhead", &mut world(&narrow(), Matrices::Bf16));
    group.finish();
}

fn bench_prompt(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, world: &mut World) {
    group.throughput(Throughput::Elements(PROMPT as u64));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                let sequence = spawn(world);
                let started = Instant::now();
                advance(world, Budget::Step);
                spent += started.elapsed();
                forget(world, sequence);
            }
            spent
        });
    });
}

/// One iteration is one token.
fn bench_decode(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, world: &mut World) {
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|iterations| {
            let (mut left, mut spent) = (iterations as usize, Duration::ZERO);
            while left > 0 {
                let sequence = spawn(world);
                advance(world, Budget::Step);
                let tokens = left.min(NEW);
                let started = Instant::now();
                for _ in 0..tokens {
                    advance(world, Budget::Step);
                }
                spent += started.elapsed();
                left -= tokens;
                forget(world, sequence);
            }
            spent
        });
    });
}

fn spawn(world: &mut World) -> Entity {
    let prompt: Vec<u32> = (0..PROMPT as u32).map(|index| index * 7 % 64).collect();
    world.spawn((Prompt::Ids(prompt), StopRules::after(NEW + 1))).id()
}

fn forget(world: &mut World, sequence: Entity) {
    world.despawn(sequence);
    world.resource_mut::<Messages<TokenGenerated>>().clear();
}

fn world(config: &ModelConfig, matrices: Matrices) -> World {
    let mut world = World::new();
    let model = LoadedModel::from_tensors(
        config,
        &mut RandomWeights { matrices },
        LoadOptions::default().backend(Backend::Cpu),
        |_| {},
    );
    model.expect("weights of any shape").spawn(&mut world);
    world
}

fn small() -> ModelConfig {
    ModelConfig {
        layout: Layout::TextOnly,
        vocab_size: 4096,
        hidden_size: 512,
        intermediate_size: 1536,
        layer_types: layers(4),
        rms_norm_eps: 1e-6,
        norm_weight: NormWeight::LessOne,
        tie_word_embeddings: true,
        max_position_embeddings: 4096,
        attention: AttentionConfig {
            num_heads: 4,
            num_kv_heads: 1,
            head_dim: 128,
            output_gate: true,
            qk_norm: true,
            rope: RopeConfig::unscaled(32, 1e7),
        },
        delta_net: Some(DeltaNetConfig {
            num_key_heads: 4,
            num_value_heads: 4,
            key_head_dim: 128,
            value_head_dim: 128,
            conv_kernel: 4,
            tiled_value_heads: false,
        }),
        moe: None,
        mtp: false,
        eos_token_ids: Vec::new(),
        rotation_seed: None,
    }
}

/// As many layers as Qwen3.5-0.8B has, whose kernels have next to nothing to do.
fn narrow() -> ModelConfig {
    ModelConfig {
        vocab_size: 64,
        hidden_size: 16,
        intermediate_size: 16,
        layer_types: layers(24),
        attention: AttentionConfig {
            num_heads: 1,
            num_kv_heads: 1,
            head_dim: 16,
            output_gate: true,
            qk_norm: true,
            rope: RopeConfig::unscaled(4, 1e7),
        },
        delta_net: Some(DeltaNetConfig {
            num_key_heads: 1,
            num_value_heads: 1,
            key_head_dim: 16,
            value_head_dim: 16,
            conv_kernel: 4,
            tiled_value_heads: false,
        }),
        ..small()
    }
}

/// Three linear-attention layers to each full-attention layer.
fn layers(count: usize) -> Vec<LayerType> {
    let kind = |index| if index % 4 == 3 { LayerType::FullAttention } else { LayerType::LinearAttention };
    (0..count).map(kind).collect()
}
