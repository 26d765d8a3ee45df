//! The adapters of this machine, and whether the model would run on them.

use loquent::gpu::{Description, Footprint, adapters};
use serde_json::{Value, json};

/// What there is to say of GPUs.
pub(super) struct Gpus {
    found: Vec<Description>,
    /// What the model needs; `None` if it cannot be predicted.
    memory: Option<Footprint>,
}

impl Gpus {
    pub(super) fn look(memory: Option<Footprint>) -> Self {
        Self { found: adapters().into_iter().map(|adapter| adapter.description).collect(), memory }
    }

    /// Lines of a table.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.found.is_empty() {
            return vec!["gpu: no adapter that Vulkan, Metal or DirectX 12 can reach".to_owned()];
        }
        let mut lines: Vec<String> = self.found.iter().flat_map(|adapter| self.adapter_lines(adapter)).collect();
        if let Some(footprint) = &self.memory {
            let megabytes = footprint.total() as f64 / 1e6;
            lines.push(format!(
                "  on a gpu, the model takes {megabytes:.1} MB; how much an adapter has, wgpu does not know"
            ));
        }
        lines
    }

    fn adapter_lines(&self, adapter: &Description) -> Vec<String> {
        let Description { vendor, driver, subgroup_min_size: least, subgroup_max_size: most, .. } = adapter;
        let mut lines = vec![format!("gpu: {adapter}, by {vendor}, driver {driver}")];
        if !adapter.is_hardware() {
            lines.push("  software: used where it is named, as with --backend gpu:NAME, and not otherwise".to_owned());
        }
        lines.push(format!(
            "  buffers of {:.1} MB, bound by {:.1} MB, {} at once; workgroups of {} threads with {:.1} KiB, {} a dimension",
            adapter.max_buffer_size as f64 / 1e6,
            adapter.max_storage_buffer_binding_size as f64 / 1e6,
            adapter.max_storage_buffers_per_shader_stage,
            adapter.max_compute_invocations_per_workgroup,
            f64::from(adapter.max_compute_workgroup_storage_size) / 1024.0,
            adapter.max_compute_workgroups_per_dimension,
        ));
        let subgroups = match (adapter.has_subgroups, least == most) {
            (false, _) => "no subgroups".to_owned(),
            (true, true) => format!("subgroups of {least}"),
            (true, false) => format!("subgroups of {least} to {most}"),
        };
        lines.push(format!("  {subgroups}; {}", if adapter.has_timestamps { "timestamps" } else { "no timestamps" }));
        if let Some(footprint) = &self.memory {
            lines.push(match footprint.too_large_for(adapter) {
                None => "  its limits allow this model".to_owned(),
                Some(why) => format!("  its limits do not allow this model: {why}"),
            });
        }
        lines
    }

    /// One object.
    pub(super) fn json(&self) -> Value {
        json!({
            "backend": "gpu",
            "memory": self.memory.as_ref().map(memory),
            "adapters": self.found.iter().map(|adapter| self.adapter_json(adapter)).collect::<Value>(),
        })
    }

    fn adapter_json(&self, adapter: &Description) -> Value {
        let why = self.memory.as_ref().map(|footprint| footprint.too_large_for(adapter));
        json!({
            "name": adapter.name,
            "kind": adapter.kind.name(),
            "interface": adapter.backend,
            "driver": adapter.driver,
            "vendor": adapter.vendor,
            "max_buffer_size": adapter.max_buffer_size,
            "max_storage_buffer_binding_size": adapter.max_storage_buffer_binding_size,
            "max_storage_buffers_per_shader_stage": adapter.max_storage_buffers_per_shader_stage,
            "max_compute_workgroup_storage_size": adapter.max_compute_workgroup_storage_size,
            "max_compute_invocations_per_workgroup": adapter.max_compute_invocations_per_workgroup,
            "max_compute_workgroups_per_dimension": adapter.max_compute_workgroups_per_dimension,
            "subgroup_sizes": adapter.has_subgroups.then_some([adapter.subgroup_min_size, adapter.subgroup_max_size]),
            "timestamps": adapter.has_timestamps,
            // Nobody can ask wgpu.
            "memory": Value::Null,
            "limits_allow_model": why.as_ref().map(Option::is_none),
            "why_not": why.flatten(),
        })
    }
}

fn memory(footprint: &Footprint) -> Value {
    let Footprint { matrices, vectors, kv_cache, delta_state, activations, largest_piece } = *footprint;
    json!({
        "matrices": matrices,
        "vectors": vectors,
        "kv_cache": kv_cache,
        "delta_state": delta_state,
        "activations": activations,
        "total": footprint.total(),
        "largest_piece": largest_piece,
    })
}
