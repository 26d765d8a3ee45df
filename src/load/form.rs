//! The form of a model's weights that a backend's kernels read, and how it comes onto the model entity and its layers.

use bevy_ecs::prelude::*;

use super::{LoadError, LoadOptions, mtp};
use crate::checkpoint::ModelConfig;
use crate::cpu::rope::RopeTable;
use crate::cpu::{self, CacheType, Cpu, Numerics, Workers};
use crate::world::draft::TakesDrafts;
use crate::world::layer::LayerIndex;
use crate::world::parts::{LayerParts, ModelParts};
use crate::world::storage::{Mapped, Storage};

/// The form that a backend's kernels read.
pub(super) enum Form {
    Cpu {
        parts: Box<ModelParts<Cpu>>,
        numerics: Numerics,
        cache_type: CacheType,
    },
    #[cfg(feature = "gpu")]
    Gpu {
        parts: Box<ModelParts<crate::gpu::Gpu>>,
        model: Box<crate::gpu::GpuModel>,
    },
}

impl Form {
    pub(super) fn of<E>(
        config: &ModelConfig,
        ModelParts { ends, layers, mtp }: ModelParts<Mapped>,
        workers: &Workers,
        options: &LoadOptions,
    ) -> Result<Self, LoadError<E>> {
        let trunk = ModelParts { ends, layers, mtp: None };
        #[cfg(feature = "gpu")]
        if let Some(form) = Self::on_device(config, &trunk, options).map_err(LoadError::Gpu)? {
            return Ok(form);
        }
        #[cfg(not(feature = "gpu"))]
        let _ = config;
        let (parts, numerics) =
            cpu::pack(ModelParts { mtp, ..trunk }, workers, options.numerics).map_err(LoadError::Pack)?;
        let cache_type = options.cache_type.unwrap_or(CacheType::of(numerics));
        Ok(Self::Cpu { parts: Box::new(parts), numerics, cache_type })
    }

    /// The form that a device's shaders read, if the model is to compute on one.
    #[cfg(feature = "gpu")]
    fn on_device(
        config: &ModelConfig,
        mapped: &ModelParts<Mapped>,
        options: &LoadOptions,
    ) -> Result<Option<Self>, crate::gpu::GpuError> {
        use crate::backend::Backend;
        use crate::gpu::{Decision, GpuError, GpuModel, decide};

        let upload = |context: &crate::gpu::GpuContext| {
            let (model, parts) = GpuModel::new(config, mapped, context)?;
            Ok::<_, crate::gpu::GpuError>(Self::Gpu { parts: Box::new(parts), model: Box::new(model) })
        };
        let kept = match options.cache_type {
            Some(CacheType::F16) => Err(GpuError::CacheType),
            None | Some(CacheType::F32) => Ok(()),
        };
        if options.device.is_some() || matches!(options.backend, Backend::Gpu(_)) {
            kept.clone()?;
        }
        if let Some(context) = &options.device {
            return upload(context).map(Some);
        }
        let decision = decide(&options.backend)?;
        let Decision::Gpu { adapter, .. } = &decision else {
            decision.log();
            return Ok(None);
        };
        let uploaded = kept.and_then(|()| adapter.open()).and_then(|device| upload(&device));
        match uploaded {
            Err(error) if options.backend == Backend::Auto => {
                Decision::Cpu { why: Some(error.to_string()) }.log();
                Ok(None)
            }
            uploaded => {
                decision.log();
                uploaded.map(Some)
            }
        }
    }

    pub(super) fn numerics(&self) -> Numerics {
        match self {
            Self::Cpu { numerics, .. } => *numerics,
            #[cfg(feature = "gpu")]
            Self::Gpu { .. } => Numerics::Exact,
        }
    }

    /// Puts everything that a backend needs on the model entity and on its layers.
    pub(super) fn insert(self, world: &mut World, model: Entity) {
        let Some(config) = world.get::<ModelConfig>(model).cloned() else { return };
        let numerics = self.numerics();
        match self {
            Self::Cpu { parts, cache_type, .. } => {
                let ModelParts { ends, layers, mtp } = *parts;
                let cost = cpu::cache_cost(&config, cache_type);
                let computes = (cost, RopeTable::of(&config), numerics, cache_type, TakesDrafts);
                world.entity_mut(model).insert((ends, computes));
                insert_layers(world, model, layers);
                if let Some(mtp) = mtp {
                    mtp::insert(world, model, mtp);
                }
            }
            #[cfg(feature = "gpu")]
            Self::Gpu { parts, model: on_device } => {
                let ModelParts { ends, layers, mtp: _ } = *parts;
                crate::gpu::add_systems(world);
                world.entity_mut(model).insert((
                    ends,
                    crate::gpu::cache_cost(&config, on_device.context().binding_bytes()),
                    *on_device,
                ));
                insert_layers(world, model, layers);
            }
        }
    }
}

fn insert_layers<S: Storage>(world: &mut World, model: Entity, layers: Vec<LayerParts<S>>) {
    for (index, parts) in layers.into_iter().enumerate() {
        parts.insert(&mut world.spawn((LayerIndex(index), ChildOf(model))));
    }
}
