//! An inspection as a JSON object.

use std::thread::available_parallelism;

use loquent::cpu::{Footprint, Isa};
use loquent::inspect::Purpose;
use loquent::inspect::{FileReport, InspectError, InspectReport, InspectedTensor, Statistics};
use loquent::prelude::ModelConfig;
use serde_json::{Value, json};

use super::{Backends, Compared, Findings, why_unused};

pub(super) fn object(findings: &Findings) -> Value {
    let report = &findings.report;
    let mut object = json!({
        "event": "inspected",
        "directory": report.directory.display().to_string(),
        "metadata": metadata(&report.metadata),
        "ok": findings.problems().next().is_none(),
        "problems": messages(&report.problems),
        "warnings": messages(&report.warnings),
        "model": report.config.as_ref().map(model),
        "tensors": report.tensors.iter().map(tensor).collect::<Value>(),
        "files": report.files.iter().map(file).collect::<Value>(),
        "memory": findings.memory.as_ref().map(|(context, footprint)| memory(*context, footprint)),
        "backends": backends(&findings.backends),
    });
    if findings.symmetry {
        let compares = findings.compared.is_some();
        object["symmetry"] = findings.figures().iter().map(|figures| symmetry(figures, compares)).collect();
    }
    if let Some(InspectReport { directory, problems, warnings, .. }) = &findings.compared {
        object["compared"] = json!({
            "directory": directory.display().to_string(),
            "problems": messages(problems),
            "warnings": messages(warnings),
        });
    }
    object["seconds"] = findings.seconds.into();
    object
}

/// What a file says beside its tensors; null of a directory.
fn metadata(metadata: &[(String, String)]) -> Value {
    if metadata.is_empty() {
        return Value::Null;
    }
    metadata.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect::<serde_json::Map<_, _>>().into()
}

/// Errors with their causes.
fn messages(errors: &[InspectError]) -> Value {
    errors.iter().map(super::text::message).collect()
}

pub(super) fn model(config: &ModelConfig) -> Value {
    json!({
        "layers": config.layer_types.len(),
        "hidden_size": config.hidden_size,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "tie_word_embeddings": config.tie_word_embeddings,
        "rotation_seed": config.rotation_seed,
    })
}

fn tensor(tensor: &InspectedTensor) -> Value {
    json!({
        "name": tensor.entry.name,
        "type": tensor.entry.element_type,
        "shape": tensor.entry.shape,
        "bytes": tensor.entry.bytes,
        "file": tensor.entry.file.file_name().map(|name| name.to_string_lossy()),
        "used": tensor.purpose.is_used(),
        "why_unused": why_unused(tensor),
    })
}

fn file(file: &FileReport) -> Value {
    json!({
        "name": file.path.file_name().map(|name| name.to_string_lossy()),
        "bytes": file.bytes,
        "sha256": file.sha256,
        "confirmed_by": file.confirmed_by.iter().map(|list| list.display().to_string()).collect::<Value>(),
    })
}

pub(super) fn memory(context: usize, footprint: &Footprint) -> Value {
    let Footprint { mapped, packed, vectors, kv_cache, cache_type, delta_state, activations, mtp } = *footprint;
    json!({
        "context": context,
        "mapped": mapped,
        "packed": packed,
        "vectors": vectors,
        "kv_cache": kv_cache,
        "cache_type": cache_type.name(),
        "delta_state": delta_state,
        "activations": activations,
        "total": footprint.total(),
        "multi_token_head": mtp,
    })
}

/// The processor first.
pub(super) fn backends(backends: &Backends) -> Value {
    let processor = json!({
        "backend": "cpu",
        "instruction_sets": Isa::available().iter().map(Isa::to_string).collect::<Value>(),
        "used": Isa::widest().to_string(),
        "threads": available_parallelism().map_or(1, usize::from),
    });
    #[cfg(feature = "gpu")]
    return json!([processor, backends.gpus.json()]);
    #[cfg(not(feature = "gpu"))]
    {
        let Backends {} = backends;
        json!([processor])
    }
}

fn symmetry(figures: &Compared<'_>, compares: bool) -> Value {
    let mut object = json!({
        "tensor": figures.tensor.name,
        "matrix": figures.tensor.purpose == Purpose::Matrix,
        "figures": figures.first.map(statistics),
    });
    if compares {
        object["compared"] = figures.second.map_or(Value::Null, statistics);
    }
    object
}

fn statistics(statistics: &Statistics) -> Value {
    json!({
        "asymmetry": statistics.asymmetry(),
        "material": statistics.is_asymmetric(),
        "max_over_rms": statistics.max_over_rms(),
        "excess_kurtosis": statistics.excess_kurtosis,
        "mean_abs_row_mean": statistics.mean_abs_row_mean,
        "abs_max": statistics.abs_max,
        "mean": statistics.mean,
        "rms": statistics.rms,
    })
}
