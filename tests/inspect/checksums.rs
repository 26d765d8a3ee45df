//! Hashes of files, and those that others have noted of them.

use std::fs;

use loquent::inspect::InspectOptions;

use crate::tiny_checkpoint::TinyCheckpoint;
use crate::{assert_problems, inspect, messages};

/// Of the bytes `{}`, by `sha256sum`.
const EMPTY_OBJECT: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
const OTHER: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8b";
const FILE: &str = "generation_config.json";

fn tiny() -> TinyCheckpoint {
    let tiny = TinyCheckpoint::new();
    tiny.write(FILE, "{}");
    tiny
}

/// What the hub's downloader keeps of a file.
fn downloaded(tiny: &TinyCheckpoint, tag: &str) {
    fs::create_dir_all(tiny.file(".cache/huggingface/download")).unwrap();
    tiny.write(
        &format!(".cache/huggingface/download/{FILE}.metadata"),
        format!("ccf028fc8e1b3ab750a7c55b22792f57ba69f216\n{tag}\n1726498370.8434935\n"),
    );
}

#[test]
fn every_file_of_the_checkpoint_has_its_hash_and_no_other_has() {
    let tiny = tiny();
    tiny.write("unrelated.bin", "?");
    let report = inspect(tiny.path(), InspectOptions::default());
    let names: Vec<_> = report.files.iter().map(|file| file.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["chat_template.jinja", "config.json", FILE, "model.safetensors", "tokenizer.json"]);
    assert_eq!((report.files[2].sha256.as_deref(), report.files[2].bytes), (Some(EMPTY_OBJECT), 2));
    assert!(report.files.iter().all(|file| file.confirmed_by.is_empty()));
}

#[test]
fn the_hash_of_a_large_file_is_that_of_its_bytes_whatever_lies_in_it() {
    use sha2::{Digest, Sha256};
    let tiny = TinyCheckpoint::new();
    // Two pieces, of which the second is one byte.
    tiny.write("tokenizer_config.json", format!("{{{}}}", " ".repeat((4 << 20) - 1)));
    let report = inspect(tiny.path(), InspectOptions::default().statistics(true).histograms(true));
    for file in report.files {
        let digest = Sha256::digest(fs::read(&file.path).unwrap());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(file.sha256, Some(hex), "{}", file.path.display());
    }
}

#[test]
fn hashes_that_fit_are_said_to_be_confirmed() {
    let tiny = tiny();
    tiny.write("SHA256SUMS", format!("{OTHER}  absent.bin\n\n{} *{FILE}\n", EMPTY_OBJECT.to_uppercase()));
    downloaded(&tiny, EMPTY_OBJECT);
    let report = assert_problems(&tiny, &[]);
    let file = report.files.iter().find(|file| file.path.ends_with(FILE)).unwrap();
    let list = tiny.file(&format!(".cache/huggingface/download/{FILE}.metadata"));
    assert_eq!(file.confirmed_by, [tiny.file("SHA256SUMS"), list]);
    assert_eq!(messages(&report.warnings), [""; 0]);
}

#[test]
fn a_file_that_is_not_what_its_hash_says_is_a_problem() {
    let problems = |tiny: &TinyCheckpoint| messages(&inspect(tiny.path(), InspectOptions::default()).problems);
    let listed = tiny();
    listed.write("SHA256SUMS", format!("{OTHER}  {FILE}\n"));
    let expected = |tiny: &TinyCheckpoint, list: &str| {
        let [file, list] = [FILE, list].map(|name| tiny.file(name).display().to_string());
        [format!("{file}: expected the SHA-256 {OTHER}, as {list} says, found {EMPTY_OBJECT}")]
    };
    assert_eq!(problems(&listed), expected(&listed, "SHA256SUMS"));
    let fetched = tiny();
    downloaded(&fetched, OTHER);
    assert_eq!(problems(&fetched), expected(&fetched, &format!(".cache/huggingface/download/{FILE}.metadata")));
}

#[test]
fn what_is_no_hash_says_nothing_of_a_file() {
    let tiny = tiny();
    // A small file's tag is a shorter hash, of something else.
    downloaded(&tiny, "62d1ca8d4b3c8ab21ac9a30775e1a224be66ef58");
    tiny.write("SHA256SUMS", format!("{EMPTY_OBJECT}  {FILE}\nnot a hash  config.json\n"));
    let report = assert_problems(&tiny, &[]);
    let file = report.files.iter().find(|file| file.path.ends_with(FILE)).unwrap();
    assert_eq!(file.confirmed_by.len(), 1);
    let warnings = messages(&report.warnings);
    assert!(warnings.len() == 1 && warnings[0].ends_with("found something else on line 2"), "{warnings:?}");
}
