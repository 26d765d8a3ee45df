//! What computes a model, as far as the last bits of what it computes depend on it.

use bevy_ecs::prelude::*;
use serde::{Deserialize, Serialize};

use super::continues::Why;
use crate::cpu::{CacheType, Numerics, Workers};

/// What computes a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Computer {
    pub(super) backend: Backend,
    /// The instruction set, or the adapter and its driver.
    pub(super) device: String,
    pub(super) numerics: Exactness,
    pub(super) cache_type: Precision,
    /// Of Loquent.
    pub(super) version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Backend {
    Cpu,
    Gpu,
}

impl Backend {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }
}

/// As [`Numerics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Exactness {
    Fast,
    Exact,
}

impl Exactness {
    fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Exact => "exact",
        }
    }
}

/// As [`CacheType`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Precision {
    F16,
    F32,
}

impl Precision {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::F16 => CacheType::F16.name(),
            Self::F32 => CacheType::F32.name(),
        }
    }
}

impl Computer {
    /// What computes `model`.
    pub(super) fn of(world: &World, model: Entity) -> Self {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        #[cfg(feature = "gpu")]
        if let Some(model) = world.get::<crate::gpu::GpuModel>(model) {
            let info = model.context().info();
            let device = format!("{}, {}, {} {}", info.name, info.backend, info.driver, info.driver_info);
            let (numerics, cache_type) = (Exactness::Exact, Precision::F32);
            return Self { backend: Backend::Gpu, device, numerics, cache_type, version };
        }
        let numerics = match world.get::<Numerics>(model) {
            Some(Numerics::Fast) => Exactness::Fast,
            Some(Numerics::Exact) | None => Exactness::Exact,
        };
        let cache_type = match world.get::<CacheType>(model) {
            Some(CacheType::F16) => Precision::F16,
            Some(CacheType::F32) | None => Precision::F32,
        };
        let device = world.get_resource::<Workers>().map_or_else(String::new, |workers| workers.isa().to_string());
        Self { backend: Backend::Cpu, device, numerics, cache_type, version }
    }

    /// Why caches that this one has made are none for `other`.
    pub(super) fn cannot_read(&self, other: &Self) -> Option<Why> {
        let (saved, here) = (self.backend.name(), other.backend.name());
        (saved != here).then_some(Why::OtherBackend { saved, here })
    }

    /// Why `other` may compute other bits.
    pub(super) fn differs(&self, other: &Self) -> Option<Why> {
        if self.numerics != other.numerics {
            return Some(Why::OtherNumerics { saved: self.numerics.name(), here: other.numerics.name() });
        }
        if self.device != other.device {
            return Some(Why::OtherDevice { saved: self.device.clone(), here: other.device.clone() });
        }
        let versions = || Why::OtherVersion { saved: self.version.clone(), here: other.version.clone() };
        (self.version != other.version).then(versions)
    }
}
