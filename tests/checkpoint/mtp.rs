//! The head that predicts several tokens: when there is one, and what is said of one that is not whole.

use loquent::checkpoint::Checkpoint;
use serde_json::json;

use crate::tiny_checkpoint::{Stored, TinyCheckpoint, stored, text_config};
use crate::{logged, parse};

fn is_of_head(name: &str) -> bool {
    name.contains("mtp.")
}

fn without_tensors(mut tiny: TinyCheckpoint) -> TinyCheckpoint {
    tiny.tensors.retain(|name, _| !is_of_head(name));
    tiny.write_weights();
    tiny
}

#[test]
fn a_configuration_without_tensors_promises_what_its_field_says() {
    for (layers, expected) in [(json!(null), false), (json!(0), false), (json!(1), true), (json!(2), false)] {
        let mut config = text_config();
        config["mtp_num_hidden_layers"] = layers.clone();
        assert_eq!(parse(&config).mtp, expected, "{layers}");
    }
}

#[test]
fn a_checkpoint_has_the_head_that_it_holds_whatever_its_configuration_says() {
    let tiny = TinyCheckpoint::with_mtp();
    assert!(tiny.load().unwrap().config.mtp);
    let tiny = tiny.without_field("mtp_num_hidden_layers");
    assert!(tiny.load().unwrap().config.mtp, "tensors without the field");
    let tiny = without_tensors(tiny.with_field("mtp_num_hidden_layers", json!(1)));
    let log = logged(|| assert!(!tiny.load().unwrap().config.mtp, "the field without tensors"));
    assert_eq!(log, "", "which is nothing to speak of");
}

#[test]
fn it_is_found_whatever_stands_before_its_names() {
    let expected = TinyCheckpoint::with_mtp();
    let expected = expected.load().unwrap().take("mtp.fc.weight", &[8, 16]).unwrap();
    for prefix in ["model.", "language_model.", "model.language_model."] {
        let mut tiny = TinyCheckpoint::with_mtp();
        let renamed = |name: String| if is_of_head(&name) { format!("{prefix}{name}") } else { name };
        tiny.tensors = std::mem::take(&mut tiny.tensors).into_iter().map(|(n, tensor)| (renamed(n), tensor)).collect();
        tiny.write_weights();
        let mut checkpoint = tiny.load().unwrap();
        assert_eq!(checkpoint.left_over().count(), 0, "{prefix}");
        assert_eq!(checkpoint.take("mtp.fc.weight", &[8, 16]).unwrap().bytes(), expected.bytes(), "{prefix}");
    }
}

#[test]
fn every_tensor_that_is_missing_is_named() {
    let names: Vec<String> = TinyCheckpoint::with_mtp().tensors.into_keys().filter(|name| is_of_head(name)).collect();
    assert_eq!(names.len(), 15);
    for name in names {
        let mut tiny = TinyCheckpoint::with_mtp();
        tiny.tensors.remove(&name).unwrap();
        tiny.write_weights();
        tiny.assert_refused("model.safetensors", &[&format!("tensor {name:?}"), "no such tensor"]);
    }
}

#[test]
fn a_tensor_of_another_shape_is_named_with_both() {
    let mut tiny = TinyCheckpoint::with_mtp();
    tiny.tensors.insert("mtp.fc.weight".into(), stored(&[16, 8], 1));
    tiny.write_weights();
    tiny.assert_refused("model.safetensors", &["mtp.fc.weight", "[8, 16]", "[16, 8]"]);
}

/// Of several layers, with an embedding or logits of its own, of a rotated model.
#[test]
fn a_head_that_is_not_read_is_left_out_with_a_word() {
    for name in ["mtp.layers.1.mlp.up_proj.weight", "mtp.embed_tokens.weight", "mtp.lm_head.weight"] {
        let mut tiny = TinyCheckpoint::with_mtp();
        tiny.tensors.insert(name.into(), Stored { dtype: "F32".into(), shape: vec![1], bytes: vec![0; 4] });
        tiny.write_weights();
        let log = logged(|| {
            let checkpoint = tiny.load().unwrap();
            assert_eq!((checkpoint.config.mtp, checkpoint.left_over().count()), (false, 0));
        });
        assert!(log.contains("WARN") && log.contains(name) && log.contains("the head is left out"), "{log}");
    }
    let tiny = TinyCheckpoint::with_mtp().with_field("quarot_rotation_seed", json!(7));
    let checkpoint = Checkpoint::open(tiny.path()).unwrap();
    assert!(!checkpoint.config.mtp, "it was trained with other hidden states");
}
