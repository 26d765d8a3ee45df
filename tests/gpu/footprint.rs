//! Predicted memory on a GPU.

use loquent::checkpoint::ElementType;
use loquent::cpu::LoadedWeight;
use loquent::gpu::{Footprint, Kind};
use loquent::prelude::ModelConfig;

use crate::choosing::adapter;

fn config() -> ModelConfig {
    ModelConfig::read("tests/fixtures/tied-bf16/config.json".as_ref()).expect("a configuration")
}

/// The bytes of a model with this matrix only.
fn matrix(element: ElementType, shape: &[usize]) -> u64 {
    Footprint::of(&config(), [LoadedWeight { element, shape, is_matrix: true, is_of_mtp: false }], 1).matrices
}

#[test]
fn matrices_stay_as_they_are_stored_with_rows_of_whole_blocks() {
    assert_eq!(matrix(ElementType::Q4, &[3, 64]), 3 * 2 * 20);
    assert_eq!(matrix(ElementType::Bf16, &[3, 64]), 3 * 64 * 2);
    assert_eq!(matrix(ElementType::F16, &[3, 65]), 3 * 96 * 2);
    assert_eq!(matrix(ElementType::F32, &[3, 31]), 3 * 32 * 4);
    // Blocks that straddle rows cannot be kept.
    assert_eq!(matrix(ElementType::Q4, &[3, 40]), 3 * 64 * 4);
}

#[test]
fn a_multi_token_head_is_not_uploaded() {
    let head = LoadedWeight { element: ElementType::Bf16, shape: &[64, 128], is_matrix: true, is_of_mtp: true };
    assert_eq!(Footprint::of(&config(), [head], 40), Footprint::of(&config(), [], 40));
}

#[test]
fn vectors_are_in_single_precision_and_caches_grow_by_blocks() {
    let vector = LoadedWeight { element: ElementType::Bf16, shape: &[4, 1, 5], is_matrix: false, is_of_mtp: false };
    assert_eq!(Footprint::of(&config(), [vector], 1).vectors, 4 * 5 * 4);
    let [one, block, more] = [1, 32, 33].map(|context| Footprint::of(&config(), [], context));
    assert_eq!((one.kv_cache, 2 * one.kv_cache), (block.kv_cache, more.kv_cache));
    assert!(one.kv_cache > 0 && one.delta_state > 0 && one.delta_state == more.delta_state);
    assert!(one.activations < more.activations);
    assert_eq!(Footprint::of(&config(), [], usize::MAX).total(), u64::MAX);
}

#[test]
fn published_shapes_fit_the_smallest_binding_there_is() {
    let card = adapter("Card", Kind::Discrete);
    for file in std::fs::read_dir("assets/configs").expect("a folder") {
        let config = ModelConfig::read(&file.expect("a file").path()).expect("a configuration");
        let context = config.max_position_embeddings;
        assert_eq!(Footprint::of(&config, [], context).too_large_for(&card), None, "{config:?}");
    }
}

#[test]
fn a_row_must_fit_a_binding_and_a_matrix_need_not() {
    let card = adapter("Card", Kind::Discrete);
    let footprint = |shape: &[usize]| {
        Footprint::of(
            &config(),
            [LoadedWeight { element: ElementType::F32, shape, is_matrix: true, is_of_mtp: false }],
            1,
        )
    };
    assert_eq!(footprint(&[1 << 20, 1 << 10]).too_large_for(&card), None, "four gigabytes in pieces");
    let why = footprint(&[1, 1 << 26]).too_large_for(&card).expect("a quarter of a gigabyte in one");
    assert_eq!(why, "a binding holds 134217728 bytes: expected at least 268435456");
}
