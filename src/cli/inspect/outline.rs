//! `loquent inspect CONFIG.json`: what a model would take of which there is nothing else.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use loquent::checkpoint::ElementType;
use loquent::cpu::{Footprint, Numerics};
use loquent::inspect::Outline;
use loquent::prelude::ModelConfig;
use serde_json::{Value, json};

use super::super::cache_type::Kept;
use super::super::wrong_usage;
use super::text::Text;
use super::{Args, Backends, json, text};

/// Whether this is a configuration alone, by its name.
pub(super) fn is_config(path: &Path) -> bool {
    path.is_file() && path.extension() == Some(OsStr::new("json"))
}

pub(super) fn run(args: &Args, file: &Path) -> anyhow::Result<ExitCode> {
    if args.symmetry {
        wrong_usage("--symmetry looks at weights, and a configuration alone has none");
    }
    let config = ModelConfig::read(file)?;
    let context = super::context(args.context, Some(config.max_position_embeddings), file)?;
    let outline = Outline::new(config, args.dtype.map_or(ElementType::Bf16, |dtype| dtype.element()));
    let memory = outline.footprint(Numerics::Fast, args.cache_type.map(Kept::cache_type), context);
    let backends = Backends {
        #[cfg(feature = "gpu")]
        gpus: super::gpu::Gpus::look(Some(outline.gpu_footprint(context))),
    };
    let text = if args.json {
        format!("{}\n", object(&outline, file, context, &memory, &backends))
    } else {
        tables(&outline, file, context, &memory, &backends)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn object(outline: &Outline, file: &Path, context: usize, memory: &Footprint, backends: &Backends) -> Value {
    json!({
        "event": "inspected",
        "config": file.display().to_string(),
        "model": json::model(outline.config()),
        "dtype": outline.element().to_string(),
        "parameters": outline.parameters(),
        "file_bytes": outline.file_bytes(),
        "memory": json::memory(context, memory),
        "backends": json::backends(backends),
    })
}

fn tables(outline: &Outline, file: &Path, context: usize, memory: &Footprint, backends: &Backends) -> String {
    let mut text = Text::default();
    text::memory(&mut text, context, memory);
    text::backends(&mut text, backends);
    let (layers, parameters, element) = (outline.config().layer_types.len(), outline.parameters(), outline.element());
    text.line(format_args!(
        "\n{}: {layers} layers, {parameters} parameters; {:.1} MB in files of {element}",
        file.display(),
        outline.file_bytes() as f64 / 1e6,
    ));
    text.into_string()
}
