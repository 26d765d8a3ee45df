//! What a good converted directory gives.

use std::fs;

use crate::converted::{INDEX, blocks, f16, file_name, halves, is_quantised, q4};
use crate::tiny_checkpoint::{TinyCheckpoint, shapes};
use bytes::Bytes;
use loquent::checkpoint::{Checkpoint, ElementType};
use serde_json::json;

#[test]
fn every_tensor_is_what_its_file_says() {
    for tiny in [TinyCheckpoint::new(), TinyCheckpoint::multimodal()] {
        tiny.convert();
        let mut checkpoint = tiny.load().unwrap();
        assert_eq!(checkpoint.left_over().count(), 0);
        for (name, shape) in shapes(&checkpoint.config) {
            let tensor = checkpoint.take(&name, &shape).unwrap();
            assert_eq!((tensor.shape(), tensor.len()), (&shape[..], shape.iter().product()));
            let seed = tiny.tensors.keys().position(|name| name == tensor.name()).unwrap();
            if is_quantised(tensor.name()) {
                assert_eq!(tensor.element(), ElementType::Q4);
                assert_eq!(tensor.blocks().unwrap().len(), tensor.len().div_ceil(32));
                assert_eq!(tensor.to_f32(), blocks(tensor.len(), seed).1, "{name}");
            } else {
                assert_eq!((tensor.element(), tensor.blocks()), (ElementType::F16, None));
                assert_eq!(tensor.to_f32(), halves(tensor.len()).1, "{name}");
            }
        }
    }
}

#[test]
fn a_directory_without_a_tokenizer_opens() {
    let (tiny, _) = TinyCheckpoint::converted();
    tiny.remove("tokenizer.json");
    tiny.remove("chat_template.jinja");
    let checkpoint = tiny.load().unwrap();
    assert!(checkpoint.tokenizer.is_none() && checkpoint.chat_template.is_none());
}

#[test]
fn tensors_of_other_models_are_left_alone_whatever_their_files() {
    let tiny = TinyCheckpoint::multimodal();
    let mut index = tiny.convert();
    for (name, quantized, there) in [
        ("model.visual.blocks.0.attn.qkv.weight", true, true),
        ("model.visual.patch_embed.proj.bias", false, false),
        ("mtp.layers.1.mlp.up_proj.weight", true, false),
    ] {
        let file = format!("{}{}", name.replace('.', "_"), if quantized { ".q4" } else { ".f16" });
        if there {
            tiny.write(&file, "no tensor");
        }
        index.push(json!({"name": name, "file": file, "quantized": quantized, "shape": [64, 2], "numel": 128}));
    }
    tiny.write(INDEX, json!(index).to_string());
    assert_eq!(tiny.load().unwrap().left_over().count(), 0);
}

#[test]
fn a_rotated_directory_opens_with_the_seed_of_its_configuration() {
    let (mut tiny, tensors) = TinyCheckpoint::converted();
    // The last is what directories of before say.
    for (seed, state) in [(0, "unpromoted"), (42, "promoted"), (7, "rejected"), (u64::MAX, "verified")] {
        let promotion = json!({"state": state, "reason": null});
        tiny.write(INDEX, json!({"quarot_seed": seed, "tensors": tensors, "promotion": promotion}).to_string());
        tiny = tiny.with_field("quarot_rotation_seed", json!(seed));
        assert_eq!(tiny.load().unwrap().config.rotation_seed, Some(seed));
    }
    tiny = tiny.without_field("quarot_rotation_seed");
    assert_eq!(tiny.load().unwrap().config.rotation_seed, None);
}

#[test]
fn either_form_may_hold_any_tensor() {
    let (tiny, mut index) = TinyCheckpoint::converted();
    for (name, quantized) in [("model.norm.weight", true), ("model.layers.0.mlp.up_proj.weight", false)] {
        let entry = index.iter_mut().find(|entry| entry["name"] == name).unwrap();
        let file = if quantized { "other.q4" } else { "other.f16" };
        (entry["file"], entry["quantized"]) = (json!(file), json!(quantized));
        let count = tiny.tensors[name].shape.iter().product();
        let shape: Vec<u64> = tiny.tensors[name].shape.iter().map(|&size| size as u64).collect();
        tiny.write(file, if quantized { q4(&shape, &blocks(count, 1).0) } else { f16(&shape, &halves(count).0) });
    }
    tiny.write(INDEX, json!(index).to_string());
    let mut checkpoint = tiny.load().unwrap();
    let norm = checkpoint.take("norm.weight", &[8]).unwrap();
    assert_eq!((norm.element(), norm.to_f32()), (ElementType::Q4, blocks(8, 1).1));
    let matrix = checkpoint.take("layers.0.mlp.up_proj.weight", &[12, 8]).unwrap();
    assert_eq!((matrix.element(), matrix.to_f32()), (ElementType::F16, halves(96).1));
}

#[test]
fn files_in_memory_open_like_files_on_disk_at_any_address() {
    let (tiny, _) = TinyCheckpoint::converted();
    let names: Vec<String> = tiny.tensors.keys().map(|name| file_name(name)).collect();
    let names = names.iter().map(String::as_str).chain(["config.json", INDEX]);
    let at_an_odd_address = |name| {
        let mut bytes = vec![0];
        bytes.extend(fs::read(tiny.file(name)).unwrap());
        (name, Bytes::from(bytes).slice(1..))
    };
    let files: Vec<_> = names.map(at_an_odd_address).collect();
    let mut in_memory = Checkpoint::from_files("memory", &files).unwrap();
    let mut on_disk = tiny.load().unwrap();
    for (name, shape) in shapes(&on_disk.config) {
        let tensor = in_memory.take(&name, &shape).unwrap();
        assert_eq!(tensor.bytes(), on_disk.take(&name, &shape).unwrap().bytes());
        assert!(tensor.bytes().as_ptr().addr().is_multiple_of(2));
    }
}
