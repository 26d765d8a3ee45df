//! What is no text for a model, or no model for a text.

use bevy_ecs::prelude::*;
use loquent::perplexity::{PerplexityError, Scorer};
use loquent::prelude::*;

use crate::support::{exact_world, some_prompt, spawn};
use crate::tiny_checkpoint::TinyCheckpoint;
use crate::{UNTIED, UNTIED_VOCAB, compare, measure, scorer};

#[test]
fn a_text_needs_a_token_to_predict_and_one_before_it() {
    for text in [&[][..], &[7]] {
        let found = measure(&mut scorer(UNTIED), text, (8, 4));
        assert_eq!(found, Err(PerplexityError::TextTooShort { found: text.len() }));
    }
}

#[test]
fn every_token_must_have_an_embedding() {
    let last = UNTIED_VOCAB as u32 - 1;
    assert!(measure(&mut scorer(UNTIED), &[1, last, 3], (8, 4)).is_ok());
    for (text, index, id) in [([1, 2, last + 1], 2, last + 1), ([1, u32::MAX, last + 1], 1, u32::MAX)] {
        let found = measure(&mut scorer(UNTIED), &text, (8, 4));
        let model = UNTIED.to_owned();
        assert_eq!(found, Err(PerplexityError::UnknownToken { model, index, id, vocab_size: UNTIED_VOCAB }));
    }
}

#[test]
fn a_window_must_fit_the_model() {
    let mut model = scorer(UNTIED);
    let config = model.world_mut().query::<&ModelConfig>().single(model.world()).unwrap();
    let context = config.max_position_embeddings;
    assert!(measure(&mut model, &[1, 2, 3], (context, 4)).is_ok());
    let found = measure(&mut model, &[1, 2, 3], (context + 1, 4));
    let model = UNTIED.to_owned();
    assert_eq!(found, Err(PerplexityError::WindowTooLong { model, window: context + 1, context }));
}

#[test]
fn windows_need_two_tokens_and_a_stride_that_passes_over_none() {
    let model = &mut scorer(UNTIED);
    assert_eq!(measure(model, &[1, 2], (1, 1)), Err(PerplexityError::WindowTooShort { found: 1 }));
    for found in [0, 9, usize::MAX] {
        assert_eq!(measure(model, &[1, 2], (8, found)), Err(PerplexityError::Stride { found, window: 8 }));
    }
}

#[test]
fn models_compared_have_as_many_tokens() {
    let (first, second) = (UNTIED.to_owned(), "tests/fixtures/tied-bf16".to_owned());
    let found = compare(&mut scorer(&first), &mut scorer(&second), &[1, 2, 3], (8, 4));
    let (first_size, second_size) = (UNTIED_VOCAB, 288);
    assert_eq!(found, Err(PerplexityError::Vocabularies { first, first_size, second, second_size }));
}

#[test]
fn a_world_without_a_model_is_named() {
    let mut world = exact_world(std::path::Path::new(UNTIED));
    let model = world.query_filtered::<Entity, With<ModelConfig>>().single(&world).unwrap();
    world.despawn(model);
    let found = measure(&mut Scorer::new("empty", world), &[1, 2, 3], (8, 4));
    assert_eq!(found, Err(PerplexityError::NoModel { model: "empty".to_owned() }));
}

#[test]
fn models_compared_cut_the_text_in_the_same_steps() {
    let text = some_prompt(200, UNTIED_VOCAB);
    let out_of_step = || Err(PerplexityError::OutOfStep { first: UNTIED.to_owned(), second: UNTIED.to_owned() });
    let (mut first, mut second) = (scorer(UNTIED), scorer(UNTIED));
    second.world_mut().insert_resource(Limits { rows: 30, ..Limits::default() });
    assert_eq!(compare(&mut first, &mut second, &text, (50, 25)), out_of_step());
    assert_eq!(compare(&mut second, &mut first, &text, (50, 25)), out_of_step());
    second.world_mut().insert_resource(Limits::default());
    spawn(second.world_mut(), &[1, 2, 3], 9);
    assert_eq!(compare(&mut first, &mut second, &text, (50, 25)), out_of_step());
}

#[test]
fn what_is_not_finite_is_no_figure() {
    let mut tiny = TinyCheckpoint::new();
    let head = tiny.tensors.get_mut("lm_head.weight").unwrap();
    head.bytes = f32::MAX.to_le_bytes().repeat(head.shape.iter().product());
    tiny.write_weights();
    let mut model = Scorer::new("tiny", exact_world(tiny.path()));
    let found = measure(&mut model, &[1, 2, 9, 3, 4], (8, 4));
    assert_eq!(found, Err(PerplexityError::NonFinite { model: "tiny".to_owned(), index: 1 }));
}
