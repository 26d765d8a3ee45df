//! Models in several files.

use std::fs;
use std::path::{Path, PathBuf};

use loquent::checkpoint::{Checkpoint, Examination};
use loquent::world::promised::promised_tensors;
use tempfile::TempDir;

use crate::gguf::{Meta, converted};
use crate::refusals::{assert_path_refused, message};

const FIRST: &str = "tiny-00001-of-00003.gguf";

/// A model in three files, after a change to one of them.
fn split(number: usize, change: impl FnOnce(&mut crate::gguf::Gguf)) -> (TempDir, PathBuf) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizer-bf16");
    let folder = tempfile::tempdir().unwrap();
    let mut parts = converted(&directory).split("tiny", 3);
    change(&mut parts[number].1);
    for (name, part) in &parts {
        fs::write(folder.path().join(name), part.bytes()).unwrap();
    }
    let path = folder.path().join(FIRST);
    (folder, path)
}

#[test]
fn all_parts_are_one_model_whichever_is_named() {
    let (folder, first) = split(0, |_| ());
    for path in [first, folder.path().join("tiny-00003-of-00003.gguf")] {
        let mut checkpoint = Checkpoint::open(&path).unwrap();
        assert!(checkpoint.tokenizer.is_some() && checkpoint.chat_template.is_some());
        for promised in promised_tensors(&checkpoint.config.clone()) {
            checkpoint.take(&promised.name, &promised.shape).unwrap();
        }
    }
}

#[test]
fn a_part_that_is_not_there_is_named() {
    let (folder, first) = split(0, |_| ());
    let second = folder.path().join("tiny-00002-of-00003.gguf");
    fs::remove_file(&second).unwrap();
    assert_path_refused(&first, &second, &["a GGUF file", "no such file"]);
    // That its tensors are missing, too, goes without saying.
    assert_eq!(Examination::of(&first).unwrap().faults.len(), 1);
}

#[test]
fn a_part_that_is_another_one_is_refused() {
    let (folder, first) = split(1, |part| part.set("split.no", Meta::U16(2)));
    let second = folder.path().join("tiny-00002-of-00003.gguf");
    assert_path_refused(&first, &second, &["field `split.no`", "expected 1, as the file's name says", "found u16 2"]);
    let (folder, first) = split(2, |part| part.remove("split.count"));
    let third = folder.path().join("tiny-00003-of-00003.gguf");
    assert_path_refused(&first, &third, &["field `split.count`", "expected 3", "no such key"]);
}

#[test]
fn parts_have_all_tensors_once() {
    let (folder, first) = split(0, |part| part.set("split.tensors.count", Meta::I32(7)));
    assert_path_refused(&first, &first, &["field `split.tensors.count`", "found i32 7"]);
    drop(folder);
    let (folder, first) = split(2, |part| part.tensors[0].name = "token_embd.weight".into());
    let third = folder.path().join("tiny-00003-of-00003.gguf");
    assert_path_refused(&first, &third, &["tensor \"token_embd.weight\"", "it in one part", "as well"]);
}

#[test]
fn a_part_under_another_name_is_refused() {
    let (folder, first) = split(0, |_| ());
    let other = folder.path().join("other.gguf");
    fs::rename(first, &other).unwrap();
    let found = message(&other);
    assert!(found.contains("a name that ends in -00001-of-00003.gguf, for a model in 3 parts"), "{found}");
}
