//! A head that is stored where the configuration says that the embedding is the head.

use half::bf16;
use loquent::checkpoint::Checkpoint;

use crate::converted::{INDEX, blocks, q4};
use crate::logged;
use crate::tiny_checkpoint::{Stored, TinyCheckpoint};

const HEAD: &str = "lm_head.weight";
const EMBEDDING: &str = "model.language_model.embed_tokens.weight";

/// Tied, with this head beside the embedding.
fn with_head(head: Stored) -> TinyCheckpoint {
    let mut tiny = TinyCheckpoint::multimodal();
    tiny.tensors.insert(HEAD.into(), head);
    tiny.write_weights();
    tiny
}

fn embedding() -> Stored {
    TinyCheckpoint::multimodal().tensors[EMBEDDING].clone()
}

/// The checkpoint, and what is logged when it opens.
fn open(tiny: &TinyCheckpoint) -> (Checkpoint, String) {
    let mut opened = None;
    let log = logged(|| opened = Some(tiny.load().unwrap()));
    (opened.unwrap(), log)
}

#[test]
fn one_that_differs_is_used_and_warned_of_once() {
    let last = |head: &mut Stored| *head.bytes.last_mut().unwrap() ^= 1;
    let whole = |head: &mut Stored| head.bytes.fill(0);
    for change in [last, whole] {
        let mut head = embedding();
        change(&mut head);
        let tiny = with_head(head.clone());
        let (mut checkpoint, log) = open(&tiny);
        assert!(!checkpoint.config.tie_word_embeddings);
        assert_eq!(checkpoint.take(HEAD, &[272, 8]).unwrap().bytes(), head.bytes);
        assert_eq!(log.matches("WARN").count(), 1, "{log}");
        for part in [HEAD, EMBEDDING, "tie_word_embeddings", "config.json", "model.safetensors"] {
            assert!(log.contains(part), "{log} does not say {part}");
        }
    }
}

#[test]
fn one_that_is_the_embedding_is_shared() {
    let (checkpoint, log) = open(&with_head(embedding()));
    assert!(checkpoint.config.tie_word_embeddings && !log.contains("WARN"), "{log}");
    assert_eq!(checkpoint.left_over().count(), 0);
}

#[test]
fn one_of_another_type_is_the_embedding_if_it_has_its_values() {
    let plain = embedding();
    let singles: Vec<f32> = plain.bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let narrow = |values: &[f32]| Stored {
        dtype: "BF16".into(),
        shape: plain.shape.clone(),
        bytes: values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
    };
    // Eighths of sixteenths: bf16 holds them all.
    assert!(open(&with_head(narrow(&singles))).0.config.tie_word_embeddings);
    let mut other = singles;
    *other.last_mut().unwrap() += 0.5;
    assert!(!open(&with_head(narrow(&other))).0.config.tie_word_embeddings);
}

#[test]
fn one_that_cannot_be_used_is_refused_for_what_it_is() {
    let head = Stored { dtype: "F32".into(), shape: vec![1], bytes: vec![0; 4] };
    with_head(head).assert_refused("model.safetensors", &[HEAD, "shape [272, 8]", "found [1]"]);
    let head = Stored { dtype: "I32".into(), ..embedding() };
    with_head(head).assert_refused("model.safetensors", &[HEAD, "F32, F16 or BF16", "\"I32\""]);
    let mut head = embedding();
    head.bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    with_head(head).assert_refused("model.safetensors", &[HEAD, "finite values", "element 0"]);
}

#[test]
fn an_embedding_that_is_stored_as_the_head_only_is_both() {
    let mut tiny = TinyCheckpoint::multimodal();
    let embedding = tiny.tensors.remove(EMBEDDING).unwrap();
    tiny.tensors.insert(HEAD.into(), embedding.clone());
    tiny.write_weights();
    let (mut checkpoint, log) = open(&tiny);
    assert!(checkpoint.config.tie_word_embeddings && !log.contains("WARN"), "{log}");
    assert_eq!(checkpoint.left_over().count(), 0);
    assert_eq!(checkpoint.take("embed_tokens.weight", &[272, 8]).unwrap().bytes(), embedding.bytes);
}

#[test]
fn the_same_goes_for_four_bits() {
    let mut tiny = TinyCheckpoint::multimodal();
    tiny.tensors.insert(HEAD.into(), embedding());
    tiny.convert();
    let (checkpoint, log) = open(&tiny);
    assert!(!checkpoint.config.tie_word_embeddings && log.matches("WARN").count() == 1, "{log}");
    let embedding = std::fs::read(tiny.file("model_language_model_embed_tokens_weight.q4")).unwrap();
    tiny.write("lm_head_weight.q4", &embedding);
    let (checkpoint, log) = open(&tiny);
    assert!(checkpoint.config.tie_word_embeddings && !log.contains("WARN"), "{log}");
    // One that is broken is not passed over in silence.
    tiny.write("lm_head_weight.q4", &embedding[1..]);
    tiny.assert_refused("lm_head_weight.q4", &["a .q4 file"]);
    tiny.remove("lm_head_weight.q4");
    tiny.assert_refused("lm_head_weight.q4", &[INDEX, "no such file"]);
    tiny.write("lm_head_weight.q4", q4(&[272, 8], &blocks(2176, 5).0));
    assert!(!open(&tiny).0.config.tie_word_embeddings);
}
