//! The device that a model computes on: opened here, or handed over by a host that draws with it.

use std::sync::Arc;

/// A graphics device and its queue. Clones are the same device.
///
/// A host that has one, such as a Bevy game (whose wgpu is this one), hands it over with
/// [`from_device`](Self::from_device); nothing of its state is changed. Without, [`Adapter::open`](super::Adapter::open) makes one.
#[derive(Clone, Debug)]
pub struct GpuContext {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    info: wgpu::AdapterInfo,
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl GpuContext {
    /// A device that a host has opened on the adapter of `info`.
    #[must_use]
    pub fn from_device(info: wgpu::AdapterInfo, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self { shared: Arc::new(Shared { info, device, queue }) }
    }

    /// What the adapter says of itself.
    #[must_use]
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.shared.info
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &wgpu::Device {
        &self.shared.device
    }

    /// Its queue.
    #[must_use]
    pub fn queue(&self) -> &wgpu::Queue {
        &self.shared.queue
    }
}

impl PartialEq for GpuContext {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for GpuContext {}
