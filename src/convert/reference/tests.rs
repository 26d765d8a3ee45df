//! The reference computes what transformers computes. `tests/fixtures/make.py` froze its answers.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::checkpoint::Checkpoint;

#[test]
fn logits_are_those_of_transformers() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    const QWEN3_5: [&str; 6] =
        ["tied-bf16", "untied-odd-f32", "published-f16", "sharded-bf16", "mixed-old-rope", "published-untied"];
    const DENSE: [&str; 4] = ["qwen3-tied", "qwen3-yarn", "llama-scaled", "llama-linear"];
    for name in QWEN3_5.into_iter().chain(DENSE).chain(["qwen3-moe", "qwen3-moe-f32", "moe-published"]) {
        let folder = fixtures.join(name);
        let model = Model::stored(&mut Checkpoint::open_weights(&folder).unwrap()).unwrap();
        let golden: Value = serde_json::from_slice(&fs::read(folder.join("golden.json")).unwrap()).unwrap();
        let expected = fs::read(folder.join("golden.f32")).unwrap();
        let expected = expected.as_chunks().0.iter().map(|&four| f64::from(f32::from_le_bytes(four)));
        let expected: Vec<f64> = expected.collect();
        let prompts = golden.as_array().unwrap().iter().map(|golden| &golden["prompt"]);
        for (prompt, expected) in prompts.zip(expected.chunks_exact(model.config.vocab_size)) {
            let prompt: Vec<u32> = serde_json::from_value(prompt.clone()).unwrap();
            let all = logits(&model, &prompt, Experts::Picked, &Meter::new(0, |_| ControlFlow::Continue(()))).unwrap();
            let found = Rows { width: all.width, values: all.row(prompt.len() - 1).to_vec() };
            let expected = Rows { width: all.width, values: expected.to_vec() };
            let difference = found.largest_difference(&expected);
            assert!(difference < 2e-4, "{name} after {} tokens: {difference}", prompt.len());
        }
    }
}
