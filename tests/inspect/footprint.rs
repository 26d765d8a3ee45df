//! Predicted memory, against a world that has it.

use std::path::Path;

use bevy_ecs::prelude::*;
use loquent::LoadedModel;
use loquent::cpu::{CacheType, Cpu, Isa, Matrix, Numerics};
use loquent::inspect::InspectOptions;
use loquent::prelude::{Backend, Budget, LoadOptions};
use loquent::world::attention::Attention;
use loquent::world::cache::{DeltaState, KvCache};
use loquent::world::delta_net::DeltaNet;
use loquent::world::layer::LayerNorms;
use loquent::world::mlp::Mlp;
use loquent::world::model::Model;
use loquent::world::moe::Moe;
use loquent::world::mtp::MtpHead;
use loquent::world::promised::{PromisedTensor, promised_tensors};

use crate::inspect;
use crate::support::{fixtures, run, some_prompt, spawn, vocab_size, world, world_that_keeps};

/// Mapped, packed, and in vectors.
#[derive(Default)]
struct Held([usize; 3]);

impl Held {
    fn matrices<'a>(&mut self, matrices: impl IntoIterator<Item = &'a Matrix>) {
        for matrix in matrices {
            match matrix {
                Matrix::Stored(tensor) | Matrix::Brain(tensor) => self.0[0] += tensor.bytes().len(),
                Matrix::Packed { panels, .. } => self.0[1] += size_of_val(&**panels),
                // They take it once all of them have been read.
                Matrix::Lazy(_) => self.0[1] += matrix.weights().size(),
            }
        }
    }

    fn vectors<'a>(&mut self, vectors: impl IntoIterator<Item = &'a Box<[f32]>>) {
        self.0[2] += vectors.into_iter().map(|vector| 4 * vector.len()).sum::<usize>();
    }

    fn of(world: &mut World) -> [u64; 3] {
        let mut held = Self::default();
        for model in world.query::<&Model<Cpu>>().iter(world) {
            held.matrices([&model.embed_tokens].into_iter().chain(&model.lm_head));
            held.vectors([&model.norm]);
        }
        for mlp in world.query::<&Mlp<Cpu>>().iter(world) {
            held.matrices(matrices_of(mlp));
        }
        for moe in world.query::<&Moe<Cpu>>().iter(world) {
            held.matrices([&moe.gate].into_iter().chain(moe.experts.iter().flat_map(matrices_of)));
            held.matrices(
                moe.shared.iter().flat_map(|shared| matrices_of(&shared.mlp).into_iter().chain([&shared.gate])),
            );
        }
        for head in world.query::<&MtpHead<Cpu>>().iter(world) {
            held.matrices([&head.fc]);
            held.vectors([&head.pre_fc_norm_embedding, &head.pre_fc_norm_hidden, &head.norm]);
        }
        for norms in world.query::<&LayerNorms<Cpu>>().iter(world) {
            held.vectors([&norms.input_layernorm, &norms.post_attention_layernorm]);
        }
        for attention in world.query::<&Attention<Cpu>>().iter(world) {
            held.matrices([&attention.q_proj, &attention.k_proj, &attention.v_proj, &attention.o_proj]);
            held.vectors(attention.qk_norm.iter().flat_map(|norms| [&norms.q_norm, &norms.k_norm]));
        }
        for net in world.query::<&DeltaNet<Cpu>>().iter(world) {
            held.matrices([&net.in_proj_qkv, &net.in_proj_z, &net.in_proj_b, &net.in_proj_a, &net.out_proj]);
            held.vectors([&net.conv1d, &net.a_log, &net.dt_bias, &net.norm]);
        }
        held.0.map(|bytes| bytes as u64)
    }
}

fn matrices_of(mlp: &Mlp<Cpu>) -> [&Matrix; 3] {
    [&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj]
}

/// What all sequences remember: keys and values, and states.
fn remembered(world: &mut World) -> [u64; 2] {
    let keys_and_values = world.query::<&KvCache<Cpu>>().iter(world).map(KvCache::bytes).sum();
    let parts = |state: &DeltaState<Cpu>| state.state.len() + state.rows.len() + state.inputs.len();
    let states: usize = world.query::<&DeltaState<Cpu>>().iter(world).map(parts).sum();
    [keys_and_values, 4 * states as u64]
}

#[test]
fn predicted_memory_is_what_a_world_has() {
    const CONTEXT: usize = 40;
    for fixture in fixtures() {
        let report = inspect(&fixture, InspectOptions::default());
        let worlds = [Numerics::Fast, Numerics::Exact].map(|numerics| {
            let by_numerics = world(&fixture, 1, Isa::widest(), numerics);
            [CacheType::F16, CacheType::F32]
                .map(|kept| (numerics, Some(kept), world_that_keeps(&fixture, numerics, kept)))
                .into_iter()
                .chain([(numerics, None, by_numerics)])
        });
        for (numerics, cache_type, mut world) in worlds.into_iter().flatten() {
            let predicted = report.footprint(numerics, cache_type, CONTEXT).unwrap();
            let held = Held::of(&mut world);
            let name = fixture.display();
            assert_eq!(held, [predicted.mapped, predicted.packed, predicted.vectors], "{name} {numerics:?}");
            let prompt = some_prompt(CONTEXT, vocab_size(&mut world));
            spawn(&mut world, &prompt, 0);
            run(&mut world, Budget::Step);
            let remembered = remembered(&mut world);
            assert_eq!(remembered, [predicted.kv_cache, predicted.delta_state], "{name} {numerics:?} {cache_type:?}");
        }
    }
}

#[test]
fn so_is_what_the_multi_token_head_takes_besides_where_it_is_wanted() {
    for name in ["mtp-tied", "published-untied", "q4-published"] {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let report = inspect(&fixture, InspectOptions::default());
        for numerics in [Numerics::Fast, Numerics::Exact] {
            let predicted = report.footprint(numerics, None, 40).unwrap();
            let held = [false, true].map(|mtp| {
                let mut world = World::new();
                let options = LoadOptions::default().backend(Backend::Cpu).numerics(numerics).mtp(mtp);
                loquent::load(&mut world, &fixture, options).unwrap();
                Held::of(&mut world).iter().sum::<u64>()
            });
            assert_eq!(held[0], predicted.mapped + predicted.packed + predicted.vectors, "{name} {numerics:?}");
            assert_eq!(held[1] - held[0], predicted.mtp, "{name} {numerics:?}");
        }
    }
}

#[test]
fn a_longer_context_takes_more_keys_and_values_and_nothing_else_once_a_batch_is_full() {
    let report = inspect(&fixtures()[0], InspectOptions::default());
    // Whole blocks of keys and values, of 32 positions.
    let [short, long] = [320, 640].map(|context| report.footprint(Numerics::Fast, None, context).unwrap());
    assert_eq!(long.kv_cache, 2 * short.kv_cache);
    assert_eq!(long.total() - short.total(), short.kv_cache);
    let one = report.footprint(Numerics::Fast, None, 1).unwrap();
    assert!(one.activations < short.activations);
    // Nothing overflows.
    assert_eq!(report.footprint(Numerics::Fast, None, usize::MAX).unwrap().total(), u64::MAX);
}

#[test]
fn a_token_reads_the_experts_that_it_goes_through_and_no_others() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen3-moe-f32");
    let model = LoadedModel::open(&fixture, LoadOptions::default().backend(Backend::Cpu)).unwrap();
    // Two of five experts; of the embedding, which is no head, a row.
    let bytes = |tensor: &PromisedTensor| match &*tensor.name {
        "embed_tokens.weight" => 0,
        name if name.contains(".experts.") => 4 * tensor.shape.iter().product::<usize>() * 2 / 5,
        _ => 4 * tensor.shape.iter().product::<usize>(),
    };
    assert_eq!(model.bytes_per_token(), promised_tensors(model.config()).iter().map(bytes).sum::<usize>());
}
