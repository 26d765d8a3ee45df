//! What is refused, and that nothing is touched by it.

use std::fs;
use std::path::Path;

use loquent::convert::{Conversion, ConvertOptions};

use crate::content::with_two_pieces;
use crate::tiny_checkpoint::TinyCheckpoint;
use crate::{content, convert, entries, place, replacing};

/// Asserts that a plan is refused with a message that has all `parts`, and that both places are as they were.
#[track_caller]
pub(crate) fn assert_refused(source: &Path, destination: &Path, options: ConvertOptions, parts: &[&str]) {
    let before = content(source);
    let message = match Conversion::plan(source, destination, options) {
        Ok(_) => panic!("planned; expected a refusal with {parts:?}"),
        Err(error) => error.to_string(),
    };
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
    assert_eq!(content(source), before);
}

#[test]
fn source_and_destination_must_be_apart() {
    let tiny = TinyCheckpoint::new();
    let source = tiny.path();
    let name = source.file_name().unwrap().to_str().unwrap();
    for options in [ConvertOptions::default(), replacing()] {
        assert_refused(source, source, options, &[name, "another directory than the source"]);
        assert_refused(source, &source.join("../").join(name), options, &["another directory than the source"]);
        assert_refused(source, &source.join("q4"), options, &["q4", "outside of the source"]);
        assert_refused(source, source.parent().unwrap(), options, &["does not hold the source", name]);
    }
}

#[cfg(unix)]
#[test]
fn links_do_not_hide_that_they_are_not() {
    use std::os::unix::fs::symlink;
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    symlink(tiny.path(), &out).unwrap();
    assert_refused(tiny.path(), &out, replacing(), &["out", "another directory than the source"]);
    assert_refused(&out, tiny.path(), replacing(), &["another directory than the source"]);
    assert_refused(tiny.path(), &out.join("q4"), replacing(), &["outside of the source"]);
    let nowhere = folder.path().join("nowhere");
    symlink("is/not/there", &nowhere).unwrap();
    assert_refused(tiny.path(), &nowhere, replacing(), &["nowhere", "a link that leads nowhere"]);

    // Weights that are links to what would be replaced.
    let held = folder.path().join("held");
    fs::create_dir(&held).unwrap();
    fs::rename(tiny.file("model.safetensors"), held.join("blob")).unwrap();
    symlink(held.join("blob"), tiny.file("model.safetensors")).unwrap();
    assert_refused(tiny.path(), &held, replacing(), &["held", "no file of the source", "model.safetensors"]);
}

#[test]
fn the_destination_must_be_free() {
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    fs::create_dir(&out).unwrap();
    fs::write(out.join("precious"), "yes").unwrap();
    assert_refused(tiny.path(), &out, ConvertOptions::default(), &["out", "an empty directory", "precious"]);
    let file = out.join("precious");
    for options in [ConvertOptions::default(), replacing()] {
        assert_refused(tiny.path(), &file, options, &["precious", "a directory, or nothing", "a file"]);
        assert_refused(tiny.path(), &file.join("x"), options, &["precious", "a path in a directory"]);
        assert_refused(tiny.path(), &out.join("no/such"), options, &["a directory that is there", "no"]);
        assert_refused(tiny.path(), Path::new(""), options, &["a directory that has a name"]);
        assert_refused(tiny.path(), Path::new("/"), options, &["a directory that has a name"]);
    }
    assert_eq!(fs::read(&file).unwrap(), b"yes");
    assert_eq!(entries(folder.path()), ["out"]);
}

#[test]
fn an_empty_destination_is_used_and_a_full_one_replaced_only_when_asked() {
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    fs::create_dir(&out).unwrap();
    convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
    let first = content(&out);
    fs::write(out.join("old"), "").unwrap();
    convert(tiny.path(), &out, replacing()).unwrap();
    assert_eq!(content(&out), first);
    assert_eq!(entries(folder.path()), ["out"]);
}

#[test]
fn a_converted_directory_is_no_source() {
    let tiny = TinyCheckpoint::new();
    let (folder, out) = place();
    convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
    let again = folder.path().join("again");
    assert_refused(&out, &again, ConvertOptions::default(), &["out", "quantize_index.json", "converted"]);
    tiny.write("quantize_index.json", "[]");
    assert_refused(tiny.path(), &again, ConvertOptions::default(), &["quantize_index.json"]);
}

#[test]
fn every_promised_tensor_must_be_there_in_its_shape() {
    let (_folder, out) = place();
    for name in TinyCheckpoint::new().tensors.keys() {
        let mut tiny = TinyCheckpoint::new();
        let mut tensor = tiny.tensors.remove(name).unwrap();
        tiny.write_weights();
        assert_refused(tiny.path(), &out, ConvertOptions::default(), &[name, "no such tensor"]);
        tensor.shape.push(1);
        tiny.tensors.insert(name.clone(), tensor);
        tiny.write_weights();
        assert_refused(tiny.path(), &out, ConvertOptions::default(), &[name, "expected shape", "1]"]);
    }
    let mut tiny = TinyCheckpoint::new();
    tiny.tensors.get_mut("model.norm.weight").unwrap().dtype = "I32".into();
    tiny.write_weights();
    assert_refused(tiny.path(), &out, ConvertOptions::default(), &["model.norm.weight", "BF16", "I32"]);
}

#[cfg(unix)]
#[test]
fn what_is_copied_must_be_a_file() {
    let tiny = TinyCheckpoint::new();
    fs::create_dir(tiny.file("merges.txt")).unwrap();
    let (_folder, out) = place();
    assert_refused(tiny.path(), &out, ConvertOptions::default(), &["merges.txt", "a regular file", "a directory"]);
}

/// Asserts that a run fails with a message that has all `parts` and leaves an old destination as it was.
#[track_caller]
fn assert_fails(tiny: &TinyCheckpoint, parts: &[&str]) {
    assert_fails_with(tiny, ConvertOptions::default(), parts);
}

/// As [`assert_fails`].
#[track_caller]
pub(crate) fn assert_fails_with(tiny: &TinyCheckpoint, options: ConvertOptions, parts: &[&str]) {
    let (folder, out) = place();
    fs::create_dir(&out).unwrap();
    fs::write(out.join("precious"), "yes").unwrap();
    let before = content(tiny.path());
    let message = convert(tiny.path(), &out, options.replace(true)).unwrap_err().to_string();
    for part in parts {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
    assert_eq!(entries(folder.path()), ["out"]);
    assert_eq!(content(&out).len(), 1);
    assert_eq!(fs::read(out.join("precious")).unwrap(), b"yes");
    assert_eq!(content(tiny.path()), before);
}

pub(crate) fn with_element(name: &str, index: usize, value: f32) -> TinyCheckpoint {
    let mut tiny = TinyCheckpoint::new();
    tiny.tensors.get_mut(name).unwrap().bytes[4 * index..][..4].copy_from_slice(&value.to_le_bytes());
    tiny.write_weights();
    tiny
}

#[test]
fn weights_that_four_bits_cannot_hold_leave_the_old_directory_as_it_was() {
    // The last tensor of all.
    let name = "model.layers.3.mlp.down_proj.weight";
    for value in [f32::NAN, f32::INFINITY] {
        let tiny = with_element(name, 95, value);
        assert_fails(&tiny, &["model.safetensors", name, "block 2", "finite", "element 95"]);
    }
    assert_fails(&with_element(name, 40, 1e6), &[name, "block 1", "a scale that fits half precision"]);
    let mut tiny = TinyCheckpoint::new();
    tiny.tensors.get_mut(name).unwrap().bytes = 70000f32.to_le_bytes().repeat(96);
    tiny.write_weights();
    assert_fails(&tiny, &[name, "block 0", "a bias that fits half precision", "70000"]);
}

#[test]
fn elements_that_half_precision_cannot_hold_are_refused_with_their_place() {
    let name = "model.layers.3.self_attn.k_norm.weight";
    for (value, shown) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf"), (65520.0, "65520")] {
        let found = format!("found {shown} at element 5");
        assert_fails(&with_element(name, 5, value), &["model.safetensors", name, "half precision", &found]);
    }
    let (_folder, out) = place();
    convert(with_element(name, 5, 65519.0).path(), &out, ConvertOptions::default()).unwrap();
}

#[test]
fn places_count_from_the_beginning_of_the_tensor_not_of_a_piece() {
    let mut tiny = with_two_pieces();
    let index = 4_700_000;
    let embedding = tiny.tensors.get_mut("model.embed_tokens.weight").unwrap();
    embedding.bytes[4 * index..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    tiny.write_weights();
    assert_fails(&tiny, &["model.embed_tokens.weight", "block 146875:", "found NaN at element 4700000"]);
}
