//! What an adapter says of itself, as plain data.

use std::fmt;

/// What sort of adapter it is, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A graphics card with memory of its own.
    Discrete,
    /// A part of the processor, which shares its memory.
    Integrated,
    /// A card that a virtual machine is lent.
    Virtual,
    /// It does not say.
    Other,
    /// A program that does on the processor what a card would.
    Software,
}

impl Kind {
    /// Its name in listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Other => "other",
            Self::Software => "software",
        }
    }
}

impl From<wgpu::DeviceType> for Kind {
    fn from(kind: wgpu::DeviceType) -> Self {
        match kind {
            wgpu::DeviceType::DiscreteGpu => Self::Discrete,
            wgpu::DeviceType::IntegratedGpu => Self::Integrated,
            wgpu::DeviceType::VirtualGpu => Self::Virtual,
            wgpu::DeviceType::Cpu => Self::Software,
            wgpu::DeviceType::Other => Self::Other,
        }
    }
}

/// An adapter: its names, and the limits and features that matter here. wgpu does not know how much memory it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// As its driver calls it.
    pub name: String,
    /// What sort it is.
    pub kind: Kind,
    /// The interface that it is reached through: `vulkan`, `metal` or `dx12`.
    pub backend: String,
    /// The driver and its version.
    pub driver: String,
    /// Who makes it: a name, or a number where that is not known.
    pub vendor: String,
    /// The bytes of a buffer, at most.
    pub max_buffer_size: u64,
    /// The bytes of a buffer that a shader sees at once, at most.
    pub max_storage_buffer_binding_size: u64,
    /// The buffers that a shader sees, at most.
    pub max_storage_buffers_per_shader_stage: u32,
    /// The bytes that a workgroup shares, at most.
    pub max_compute_workgroup_storage_size: u32,
    /// The threads of a workgroup, at most.
    pub max_compute_invocations_per_workgroup: u32,
    /// The workgroups of a dispatch in each dimension, at most.
    pub max_compute_workgroups_per_dimension: u32,
    /// The threads of a subgroup, at least.
    pub subgroup_min_size: u32,
    /// The threads of a subgroup, at most.
    pub subgroup_max_size: u32,
    /// Whether shaders may add up over subgroups.
    pub has_subgroups: bool,
    /// Whether it can say when it did what.
    pub has_timestamps: bool,
}

impl Description {
    /// Of an adapter.
    #[must_use]
    pub fn of(adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        Self {
            kind: info.device_type.into(),
            backend: info.backend.to_string(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            vendor: vendor(info.vendor),
            name: info.name,
            max_buffer_size: limits.max_buffer_size,
            max_storage_buffer_binding_size: limits.max_storage_buffer_binding_size,
            max_storage_buffers_per_shader_stage: limits.max_storage_buffers_per_shader_stage,
            max_compute_workgroup_storage_size: limits.max_compute_workgroup_storage_size,
            max_compute_invocations_per_workgroup: limits.max_compute_invocations_per_workgroup,
            max_compute_workgroups_per_dimension: limits.max_compute_workgroups_per_dimension,
            subgroup_min_size: info.subgroup_min_size,
            subgroup_max_size: info.subgroup_max_size,
            has_subgroups: features.contains(wgpu::Features::SUBGROUP),
            has_timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        }
    }

    /// Whether a card computes, and no program in its place.
    #[must_use]
    pub fn is_hardware(&self) -> bool {
        self.kind != Kind::Software
    }

    /// The first limit that the shaders do not keep to, with what they need; `None` where there is none.
    #[must_use]
    pub fn too_small(&self) -> Option<String> {
        // What WebGPU guarantees, and all that shaders may count on.
        let needs = [
            ("max_storage_buffers_per_shader_stage", self.max_storage_buffers_per_shader_stage, 8),
            ("max_compute_workgroup_storage_size", self.max_compute_workgroup_storage_size, 16 * 1024),
            ("max_compute_invocations_per_workgroup", self.max_compute_invocations_per_workgroup, 256),
            ("max_compute_workgroups_per_dimension", self.max_compute_workgroups_per_dimension, 65_535),
        ];
        let (limit, found, least) = needs.into_iter().find(|(_, found, least)| found < least)?;
        Some(format!("{limit} is {found}: expected at least {least}"))
    }

    /// The bytes that a shader can reach through one binding.
    #[must_use]
    pub fn most_bytes_bound(&self) -> u64 {
        self.max_buffer_size.min(self.max_storage_buffer_binding_size)
    }
}

impl fmt::Display for Description {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}, {})", self.name, self.kind.name(), self.backend)
    }
}

/// The makers whose numbers are met most; others keep theirs.
fn vendor(number: u32) -> String {
    match number {
        0x1002 => "AMD".to_owned(),
        0x106b => "Apple".to_owned(),
        0x10de => "NVIDIA".to_owned(),
        0x13b5 => "Arm".to_owned(),
        0x1414 => "Microsoft".to_owned(),
        0x5143 => "Qualcomm".to_owned(),
        0x8086 => "Intel".to_owned(),
        0x1_0005 => "Mesa".to_owned(),
        other => format!("{other:#06x}"),
    }
}
