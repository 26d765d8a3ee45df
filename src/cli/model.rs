//! Opens a checkpoint, or the demo in the binary, and makes a world of it.

use std::path::Path;

use bevy_ecs::prelude::*;
#[cfg(feature = "demo")]
use bytes::Bytes;
use loquent::cpu::{Numerics, read_bandwidth};
use loquent::prelude::*;
use loquent::world::model::Unavailable;
use loquent::world::storage::{MapTensors, Mapped, Shapes};

use super::cache_type::Kept;
use super::{hub, progress};

#[cfg(feature = "demo")]
static DEMO: include_dir::Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/assets/demo-q4");

/// Opens the checkpoint that was named, or the demo where none is.
pub(super) fn open(named: Option<&Path>) -> anyhow::Result<Checkpoint> {
    match named {
        Some(named) => Ok(Checkpoint::open(&hub::locate(named)?)?),
        #[cfg(feature = "demo")]
        None => {
            let name = |file: &include_dir::File<'static>| file.path().to_str().expect("names in ASCII");
            let files: Vec<_> = DEMO.files().map(|file| (name(file), Bytes::from_static(file.contents()))).collect();
            Ok(Checkpoint::from_files("demo", &files)?)
        }
        #[cfg(not(feature = "demo"))]
        None => {
            anyhow::bail!("no model: this binary was built without the demo; name a checkpoint's directory with -m")
        }
    }
}

/// What `--exact` asks for.
pub(super) fn numerics(exact: bool) -> Numerics {
    if exact { Numerics::Exact } else { Numerics::Fast }
}

/// What results call it.
pub(super) fn numerics_name(numerics: Numerics) -> &'static str {
    match numerics {
        Numerics::Fast => "fast",
        Numerics::Exact => "exact",
    }
}

/// How models are loaded: for `backend`, on `threads` threads, all there are if nothing is said.
pub(super) fn options(
    backend: &Backend,
    threads: Option<u16>,
    numerics: Numerics,
    cache_type: Option<Kept>,
) -> LoadOptions {
    let options = LoadOptions::default().backend(backend.clone()).threads(threads.map_or(0, usize::from));
    let options = options.numerics(numerics);
    match cache_type {
        Some(kept) => options.cache_type(kept.cache_type()),
        None => options,
    }
}

/// Loads an opened checkpoint, showing how far it is.
pub(super) fn load(checkpoint: Checkpoint, options: LoadOptions) -> anyhow::Result<LoadedModel> {
    let bar = progress::spinner("loading");
    let loaded =
        LoadedModel::from_checkpoint(checkpoint, options, |tensor| bar.set_message(format!("loading {tensor}")));
    bar.finish_and_clear();
    Ok(loaded?)
}

/// Loads tensors alone, showing how far it is.
pub(super) fn load_tensors<M>(config: &ModelConfig, source: &mut M, options: LoadOptions) -> anyhow::Result<LoadedModel>
where
    M: MapTensors<Shapes, Mapped>,
    M::Error: std::error::Error + Send + Sync + 'static,
{
    let bar = progress::spinner("loading");
    let show = |tensor: &str| bar.set_message(format!("loading {tensor}"));
    let loaded = LoadedModel::from_tensors(config, source, options, show);
    bar.finish_and_clear();
    Ok(loaded?)
}

/// What computes in `world`: `cpu`, or `gpu` and its name.
pub(super) fn backend(world: &mut World) -> (&'static str, Option<String>) {
    #[cfg(feature = "gpu")]
    if let Some(model) = world.query::<&loquent::gpu::GpuModel>().iter(world).next() {
        return ("gpu", Some(model.context().info().name.clone()));
    }
    let _ = world;
    ("cpu", None)
}

/// How far to go at once. A device is given whole steps, of which it has one in hand while the host reads the one before; on the
/// CPU, Ctrl-C is to be noticed within a long chunk of a prompt.
pub(super) fn budget(world: &mut World) -> Budget {
    if backend(world).0 == "gpu" { Budget::Step } else { Budget::Pieces(2) }
}

/// How fast memory is read where the model of `world` is: by the CPU's threads, or copied by the device. Bytes per second.
pub(super) fn bandwidth(world: &mut World, memory: &[u8]) -> anyhow::Result<f64> {
    #[cfg(feature = "gpu")]
    if let Some(model) = world.query::<&loquent::gpu::GpuModel>().iter(world).next() {
        return Ok(loquent::gpu::copy_bandwidth(model.context())?);
    }
    Ok(read_bandwidth(world.resource::<Workers>(), memory))
}

/// What it costs to time the systems of a device one by one, where that was done.
#[cfg(feature = "gpu")]
pub(super) fn split_note(world: &World) -> Option<String> {
    let [whole, split] = world.get_resource::<loquent::gpu::GpuStep>()?.step_times();
    let (whole, split) = (whole?.as_secs_f64(), split?.as_secs_f64());
    Some(format!(
        "the device's time by its own clock, a pass for each system: a decode step took {:.2} ms so, and {:.2} ms as one pass",
        1e3 * split,
        1e3 * whole
    ))
}

#[cfg(not(feature = "gpu"))]
pub(super) fn split_note(_: &World) -> Option<String> {
    None
}

/// Why the model of `world` computes no more, if it does not.
pub(super) fn ensure_available(world: &mut World) -> anyhow::Result<()> {
    match world.query::<&Unavailable>().iter(world).next() {
        Some(Unavailable(reason)) => anyhow::bail!(reason.clone()),
        None => Ok(()),
    }
}

/// A world with this model in it.
pub(super) fn world(model: LoadedModel) -> World {
    let mut world = World::new();
    model.spawn(&mut world);
    world
}
