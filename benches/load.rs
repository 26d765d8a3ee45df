//! From a checkpoint's directory to a world that could take a step.

mod support;

use std::fs;
use std::path::Path;

use bevy_ecs::prelude::*;
use criterion::Throughput;
use loquent::prelude::*;

fn main() {
    let directory = copy_of_demo();
    let mut criterion = support::criterion();
    let mut group = criterion.benchmark_group("load");
    let weights = fs::metadata(directory.path().join("model.safetensors")).expect("the weights");
    group.throughput(Throughput::Bytes(weights.len()));
    group.bench_function("demo", |bencher| {
        bencher.iter_with_large_drop(|| {
            let mut world = World::new();
            load(&mut world, directory.path(), LoadOptions::default().backend(Backend::Cpu))
                .expect("a valid checkpoint");
            world
        });
    });
    group.finish();
}

/// The files of `assets/demo`, where temporary files are: on the same kind of storage wherever the repository lies.
fn copy_of_demo() -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo");
    for entry in fs::read_dir(demo).expect("assets/demo") {
        let file = entry.expect("assets/demo").path();
        fs::copy(&file, copy.path().join(file.file_name().expect("a file"))).expect("room for the demo");
    }
    copy
}
