//! What a device is told, without a device.

use loquent::checkpoint::{
    AttentionConfig, Checkpoint, DeltaNetConfig, ElementType, LayerType, Layout, ModelConfig, NormWeight, RopeConfig,
};
use loquent::gpu::Format;
use loquent::gpu::plan::{BatchShape, Planner, parts_of};
use loquent::gpu::recording::Recording;
use loquent::gpu::upload::place_promised;
use loquent::gpu::variant::Reduction;

/// The shape of the 0.8B model.
pub fn shape_of_0_8b() -> ModelConfig {
    let layer = |index: usize| if index % 4 == 3 { LayerType::FullAttention } else { LayerType::LinearAttention };
    ModelConfig {
        layout: Layout::TextOnly,
        vocab_size: 248_320,
        hidden_size: 1024,
        intermediate_size: 3584,
        layer_types: (0..24).map(layer).collect(),
        rms_norm_eps: 1e-6,
        norm_weight: NormWeight::LessOne,
        tie_word_embeddings: true,
        max_position_embeddings: 262_144,
        attention: AttentionConfig {
            num_heads: 8,
            num_kv_heads: 2,
            head_dim: 256,
            output_gate: true,
            qk_norm: true,
            rope: RopeConfig::unscaled(64, 1e7),
        },
        delta_net: Some(DeltaNetConfig {
            num_key_heads: 16,
            num_value_heads: 16,
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

const MIB: u64 = 1 << 20;

fn with_planner<T>(config: &ModelConfig, binding_bytes: u64, use_it: impl FnOnce(Planner<'_>) -> T) -> T {
    let (parts, arenas) = place_promised(config, Format::Q4, binding_bytes).expect("it fits");
    use_it(Planner { config, parts: &parts, arenas: &arenas, reduction: Reduction::Tree, binding_bytes })
}

fn step(planner: &Planner<'_>, shape: BatchShape, picks: usize) -> Recording {
    let mut recording = planner.body(shape);
    recording.dispatches.extend(planner.ends(picks, picks).dispatches);
    recording
}

/// Generated tokens of so many sequences, the longest at `position`.
fn decode(sequences: usize, position: u32) -> BatchShape {
    BatchShape { single: sequences, parts: [parts_of(position), 0], ..BatchShape::default() }
}

#[test]
fn a_decode_step_of_24_layers_takes_at_most_130_dispatches() {
    let config = shape_of_0_8b();
    with_planner(&config, 128 * MIB, |planner| {
        for (sequences, position, expected) in [(1, 100, 123), (8, 100, 123), (1, 4096, 129), (8, 262_143, 129)] {
            let recording = step(&planner, decode(sequences, position), sequences);
            assert_eq!(recording.dispatches.len(), expected, "{sequences} sequences at {position}");
        }
    });
}

#[test]
fn a_token_reads_no_more_weights_than_the_model_has() {
    let config = shape_of_0_8b();
    let weights = loquent::world::promised::promised_tensors(&config);
    let bytes: usize = weights
        .iter()
        .filter(|tensor| tensor.is_matrix())
        .map(|tensor| ElementType::Q4.bytes_for(tensor.shape.iter().product()).expect("a size"))
        .sum();
    for binding_bytes in [128 * MIB, 2048 * MIB, 5 * MIB] {
        with_planner(&config, binding_bytes, |planner| {
            let recording = step(&planner, decode(1, 10), 1);
            let read = recording.weight_bytes() as f64 / bytes as f64;
            assert!((1.0..1.05).contains(&read), "{read} with bindings of {binding_bytes}");
        });
    }
}

#[test]
fn grids_and_bindings_keep_to_the_limits_of_the_device() {
    let config = shape_of_0_8b();
    let shapes = [
        decode(1, 10),
        decode(200, 262_143),
        BatchShape { single: 9, again: 30, prompt: 256, spans: 3, parts: [1, 32] },
    ];
    for binding_bytes in [2 * MIB, 5 * MIB, 128 * MIB] {
        with_planner(&config, binding_bytes, |planner| {
            for shape in shapes {
                for dispatch in step(&planner, shape, 64).dispatches {
                    assert!(dispatch.grid.iter().all(|&groups| (1..=65_535).contains(&groups)), "{dispatch:?}");
                    for bytes in dispatch.buffers.iter().filter_map(|bound| bound.bytes.as_ref()) {
                        assert!(bytes.end - bytes.start <= binding_bytes && bytes.start % 256 == 0, "{dispatch:?}");
                    }
                    assert_eq!(dispatch.buffers.len() + 1, dispatch.variant.bindings().len());
                }
            }
        });
    }
}

/// The listing of a step of a small model, in which the forward pass can be read. `UPDATE_GOLDEN=1` writes it anew.
fn check_listing(name: &str, fixture: &str, shape: BatchShape, picks: usize) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = Checkpoint::open(&folder.join("tests/fixtures").join(fixture)).expect("a fixture").config;
    let found = with_planner(&config, 128 * MIB, |planner| step(&planner, shape, picks).to_string());
    let golden = folder.join("tests/golden/recordings").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(golden.parent().expect("a folder")).expect("a folder");
        std::fs::write(&golden, &found).expect("a golden file");
    }
    let expected = std::fs::read_to_string(&golden).expect("a golden file");
    assert_eq!(found, expected, "{name}: `UPDATE_GOLDEN=1 cargo test --test gpu recordings` writes it anew");
}

#[test]
fn a_decode_step_is_as_listed() {
    check_listing("decode.txt", "tied-bf16", decode(1, 10), 1);
}

#[test]
fn a_batch_of_three_with_a_long_context_is_as_listed() {
    check_listing("batch_of_three.txt", "tied-bf16", decode(3, 1000), 3);
}

#[test]
fn a_chunk_of_a_prompt_is_as_listed() {
    check_listing(
        "prompt.txt",
        "tied-bf16",
        BatchShape { prompt: 70, spans: 1, parts: [0, 1], ..BatchShape::default() },
        1,
    );
}

#[test]
fn decode_steps_of_models_without_gates_or_norms_are_as_listed() {
    check_listing("decode_qwen3.txt", "qwen3-tied", decode(1, 10), 1);
    check_listing("decode_llama.txt", "llama-scaled", decode(1, 10), 1);
}

#[test]
fn a_decode_step_of_a_mixture_of_experts_is_as_listed() {
    check_listing("decode_moe.txt", "moe-published", decode(2, 10), 2);
}
