//! The adapters of this machine, and how one is opened.

use super::context::GpuContext;
use super::description::Description;
use super::error::GpuError;

/// The interfaces that are looked at: where a card can be reached through OpenGL alone, its driver is too old.
const BACKENDS: wgpu::Backends = wgpu::Backends::VULKAN.union(wgpu::Backends::METAL).union(wgpu::Backends::DX12);

/// An adapter that can be opened.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// What it is.
    pub description: Description,
    handle: wgpu::Adapter,
}

/// All adapters, best first: discrete, integrated, virtual and other ones, then those that are programs. None where there
/// is no driver, or a driver that does not work.
#[must_use]
pub fn adapters() -> Vec<Adapter> {
    // wgpu panics where it was built for no interface at all.
    if (wgpu::Instance::enabled_backend_features() & BACKENDS).is_empty() {
        return Vec::new();
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: BACKENDS,
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let handles = pollster::block_on(instance.enumerate_adapters(BACKENDS));
    let mut adapters: Vec<Adapter> =
        handles.into_iter().map(|handle| Adapter { description: Description::of(&handle), handle }).collect();
    adapters.sort_by_key(|adapter| adapter.description.kind);
    adapters
}

impl Adapter {
    /// Opens a device on it, with all that it allows and no experiments.
    ///
    /// # Errors
    /// [`GpuError::TooSmall`] if the shaders would not run on it, [`GpuError::Open`] if its driver refuses.
    pub fn open(&self) -> Result<GpuContext, GpuError> {
        let adapter = self.description.to_string();
        if let Some(limit) = self.description.too_small() {
            return Err(GpuError::TooSmall { adapter, limit });
        }
        let wanted = wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY;
        let opened = pollster::block_on(self.handle.request_device(&wgpu::DeviceDescriptor {
            label: Some("loquent"),
            required_features: self.handle.features() & wanted,
            required_limits: self.handle.limits(),
            ..wgpu::DeviceDescriptor::default()
        }));
        let (device, queue) = opened.map_err(|source| GpuError::Open { adapter, source })?;
        Ok(GpuContext::from_device(self.handle.get_info(), device, queue))
    }
}
