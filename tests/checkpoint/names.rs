//! The same model under every set of names that programs save it by.

use loquent::checkpoint::Checkpoint;
use serde_json::json;

use crate::converted::INDEX;
use crate::tiny_checkpoint::{Stored, TinyCheckpoint, shapes};
use crate::{logged, parse};

const HEAD: &str = "lm_head.weight";
/// What may stand before the text model's names.
const PREFIXES: [&str; 6] =
    ["", "model.", "language_model.", "model.language_model.", "language_model.model.", "model.language_model.model."];

impl TinyCheckpoint {
    /// Gives all tensors of the text model but the head names that begin with `prefix`, the head one with `head`.
    fn rename(&mut self, prefix: &str, head: &str) {
        let before = parse(&self.config).layout.tensor_prefix();
        let tensors = std::mem::take(&mut self.tensors).into_iter();
        let renamed = |name: String| match name.strip_prefix(before) {
            None => format!("{head}{name}"),
            Some(name) => format!("{prefix}{name}"),
        };
        self.tensors = tensors.map(|(name, tensor)| (renamed(name), tensor)).collect();
    }
}

fn all_bytes(mut checkpoint: Checkpoint) -> Vec<Vec<u8>> {
    assert_eq!(checkpoint.left_over().collect::<Vec<_>>(), [""; 0]);
    let shapes = shapes(&checkpoint.config);
    shapes.iter().map(|(name, shape)| checkpoint.take(name, shape).unwrap().bytes().to_vec()).collect()
}

#[test]
fn a_model_is_the_same_whatever_stands_before_its_tensors_names() {
    for plain in [TinyCheckpoint::new, TinyCheckpoint::multimodal] {
        let expected = all_bytes(plain().load().unwrap());
        for prefix in PREFIXES {
            for head in ["", "model.", "language_model."] {
                let mut tiny = plain();
                tiny.rename(prefix, head);
                tiny.write_weights();
                assert_eq!(all_bytes(tiny.load().unwrap()), expected, "{prefix:?}, {head:?}");
                tiny.shard();
                assert_eq!(all_bytes(tiny.load().unwrap()), expected, "{prefix:?}, {head:?}");
            }
        }
    }
}

#[test]
fn so_is_a_converted_one() {
    let (tiny, mut index) = TinyCheckpoint::converted();
    let expected = all_bytes(tiny.load().unwrap());
    let names: Vec<String> = index.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect();
    for prefix in PREFIXES {
        for (entry, name) in index.iter_mut().zip(&names) {
            entry["name"] = name.strip_prefix("model.").map_or(name.clone(), |name| format!("{prefix}{name}")).into();
        }
        tiny.write(INDEX, json!(index).to_string());
        assert_eq!(all_bytes(tiny.load().unwrap()), expected, "{prefix:?}");
    }
}

#[test]
fn other_models_are_known_whatever_stands_before_their_names() {
    for prefix in PREFIXES {
        let mut tiny = TinyCheckpoint::new();
        tiny.rename(prefix, "");
        for name in [
            "visual.blocks.0.attn.qkv.weight",
            "model.visual.norm.weight",
            "mtp.norm.weight",
            "mtp.embed_tokens.weight",
        ] {
            let tensor = Stored { dtype: "F32".into(), shape: vec![1], bytes: vec![0; 4] };
            tiny.tensors.insert(name.into(), tensor);
        }
        tiny.write_weights();
        let log = logged(|| assert_eq!(tiny.load().unwrap().left_over().count(), 0));
        assert!(log.contains("4 tensors of the vision tower, or of a multi-token head, are left out"), "{log}");
    }
}

#[test]
fn two_text_models_in_one_checkpoint_are_refused_with_both_names() {
    let mut tiny = TinyCheckpoint::new();
    for (name, other) in
        [("model.embed_tokens.weight", "model.language_model.embed_tokens.weight"), (HEAD, "model.lm_head.weight")]
    {
        let tensor = tiny.tensors[name].clone();
        tiny.tensors.insert(other.into(), tensor);
        tiny.write_weights();
        tiny.assert_refused("model.safetensors", &[name, other, "as well", "one text model"]);
        tiny.tensors.remove(other);
    }
}

#[test]
fn what_is_missing_is_named_as_it_would_be_called_beside_the_others() {
    for missing in ["embed_tokens.weight", "norm.weight", "layers.3.mlp.up_proj.weight"] {
        let mut tiny = TinyCheckpoint::new();
        tiny.rename("language_model.model.", "");
        let full = format!("language_model.model.{missing}");
        tiny.tensors.remove(&full).unwrap();
        tiny.write_weights();
        tiny.assert_refused("model.safetensors", &[&format!("tensor {full:?}"), "no such tensor"]);
    }
}
