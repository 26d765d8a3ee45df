//! The head that predicts several tokens, which files have as one layer more.

use std::path::{Path, PathBuf};

use loquent::LoadedModel;
use loquent::checkpoint::Checkpoint;
use loquent::convert::{Conversion, ConvertOptions};
use loquent::prelude::LoadOptions;
use loquent::world::promised::promised_tensors;

use crate::gguf::{Gguf, Meta, converted};
use crate::logged::logged;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn written(gguf: &Gguf) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, gguf.bytes()).unwrap();
    (folder, path)
}

/// Norms are in their arithmetic form: one was added to them.
#[test]
fn its_tensors_are_those_that_were_published() {
    for (name, blocks) in [("mtp-tied", 5), ("published-untied", 7), ("published-f16", 5)] {
        let gguf = converted(&fixture(name));
        let count = gguf.pairs.iter().find(|(key, _)| key == b"qwen35.block_count");
        assert!(matches!(count, Some((_, Meta::U32(count))) if *count == blocks), "{name}: {count:?}");
        let (_folder, path) = written(&gguf);
        let [mut published, mut file] = [fixture(name), path].map(|path| Checkpoint::open(&path).unwrap());
        assert!(file.config.mtp && file.config.layer_types == published.config.layer_types, "{name}");
        for promised in promised_tensors(&published.config.clone()) {
            let (expected, found) =
                (published.take(&promised.name, &promised.shape), file.take(&promised.name, &promised.shape));
            let (expected, found) = (expected.unwrap().to_f32(), found.unwrap().to_f32());
            if !promised.is_of_mtp() {
                continue;
            }
            let shift = if promised.is_matrix() { 0.0 } else { 1.0 };
            assert!(
                expected.iter().zip(&found).all(|(expected, found)| expected + shift == *found),
                "{}",
                promised.name
            );
        }
        assert_eq!(file.left_over().next(), None);
    }
}

#[test]
fn it_is_converted_with_the_rest_of_the_model() {
    let (folder, path) = written(&converted(&fixture("mtp-tied")));
    let out = folder.path().join("out");
    let conversion = Conversion::plan(&path, &out, ConvertOptions::default()).unwrap();
    conversion.run(|_| std::ops::ControlFlow::Continue(())).unwrap();
    let mut checkpoint = Checkpoint::open(&out).unwrap();
    assert!(checkpoint.config.mtp);
    let hidden = checkpoint.config.hidden_size;
    let stored = checkpoint.take("mtp.norm.weight", &[hidden]).unwrap().to_f32();
    let published =
        Checkpoint::open(&fixture("mtp-tied")).unwrap().take("mtp.norm.weight", &[hidden]).unwrap().to_f32();
    assert!(stored.iter().zip(published).all(|(stored, published)| (stored - published).abs() < 1e-3));
}

#[test]
fn what_is_missing_is_named_as_files_name_it() {
    for name in ["blk.4.nextn.eh_proj.weight", "blk.4.nextn.hnorm.weight", "blk.4.attn_k.weight"] {
        let mut gguf = converted(&fixture("mtp-tied"));
        gguf.tensors.retain(|tensor| tensor.name != name);
        let (_folder, path) = written(&gguf);
        let message = LoadedModel::open(&path, LoadOptions::default()).err().unwrap().to_string();
        assert!(message.contains(&format!("{name:?}")) && message.contains("no such tensor"), "{message}");
    }
}

#[test]
fn one_with_an_embedding_of_its_own_is_left_out_with_a_word() {
    for name in ["blk.4.nextn.embed_tokens.weight", "blk.4.nextn.shared_head_head.weight"] {
        let mut gguf = converted(&fixture("mtp-tied"));
        let mut embedding = gguf.tensor("token_embd.weight").clone();
        embedding.name = name.into();
        gguf.tensors.push(embedding);
        let (_folder, path) = written(&gguf);
        let log = logged(|| assert!(!Checkpoint::open(&path).unwrap().config.mtp));
        assert!(log.contains("WARN") && log.contains("the head is left out"), "{log}");
    }
}
