//! The device that a model computes on: opened here, or handed over by a host that draws with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::checkpoint::ElementType;

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
    checks: bool,
    /// Buffers, bind groups and pipelines that were made.
    made: AtomicU64,
    /// As if there were no memory for more of them.
    most_made: u64,
}

impl GpuContext {
    /// A device that a host has opened on the adapter of `info`.
    #[must_use]
    pub fn from_device(info: wgpu::AdapterInfo, device: wgpu::Device, queue: wgpu::Queue) -> Self {
        Self {
            shared: Arc::new(Shared {
                info,
                device,
                queue,
                checks: false,
                made: AtomicU64::new(0),
                most_made: u64::MAX,
            }),
        }
    }

    /// The same device, on which shaders also check what is proven: that loops end. For tests and for bugs.
    #[must_use]
    pub fn checked(&self) -> Self {
        self.as_if(true, u64::MAX)
    }

    /// The same device, as if it had no memory once so many buffers, bind groups and pipelines were made: drivers in software
    /// do not run out by themselves. For tests.
    #[doc(hidden)]
    #[must_use]
    pub fn out_of_memory_after(&self, made: u64) -> Self {
        self.as_if(false, made)
    }

    fn as_if(&self, checks: bool, most_made: u64) -> Self {
        let Shared { info, device, queue, .. } = &*self.shared;
        let (info, device, queue) = (info.clone(), device.clone(), queue.clone());
        Self { shared: Arc::new(Shared { info, device, queue, checks, made: AtomicU64::new(0), most_made }) }
    }

    /// How many buffers, bind groups and pipelines were made on it so far. A step makes none once one like it has run.
    #[must_use]
    pub fn made(&self) -> u64 {
        self.shared.made.load(Ordering::Relaxed)
    }

    pub(super) fn count_made(&self) {
        self.shared.made.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn checks(&self) -> bool {
        self.shared.checks
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

/// What went wrong on a device, and what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// Shaders cannot read its weights.
    #[error("{tensor} has {element} scales above 8188: expected smaller ones on a GPU")]
    Unreadable {
        /// Its name in the text model.
        tensor: String,
        /// What it is stored as.
        element: ElementType,
    },
    /// Shaders count from the matrix of one expert to that of another, which are not alike.
    #[error("experts of layer {layer} are stored as several types: expected one on a GPU")]
    MixedExperts {
        /// Which layer.
        layer: usize,
    },
    /// Something does not fit the largest binding.
    #[error("{what} take {needed} bytes: expected at most {limit}, the largest binding of the device")]
    BindingTooSmall {
        /// What it is.
        what: String,
        /// Its bytes.
        needed: u64,
        /// What a binding may have.
        limit: u64,
    },
    /// There is no memory on the device.
    #[error("no memory on {adapter} for {what}: {bytes} bytes were asked for")]
    OutOfMemory {
        /// Where.
        adapter: String,
        /// What for.
        what: String,
        /// How much.
        bytes: u64,
    },
    /// The device answers no more.
    #[error("{adapter} was lost while {doing}")]
    Lost {
        /// Which.
        adapter: String,
        /// What was asked of it.
        doing: String,
    },
    /// It refuses what it was told, which is a bug here or in its driver.
    #[error("{adapter} refuses {what}: {message}")]
    Refused {
        /// Which.
        adapter: String,
        /// What was asked of it.
        what: String,
        /// Its words.
        message: String,
    },
}

/// Our own errors, kept apart from those of a host that uses the device as well.
pub(super) struct Scopes<'a> {
    context: &'a GpuContext,
    /// The last one first: so they must be taken back, and so they are dropped where nobody closes them.
    scopes: [wgpu::ErrorScopeGuard; 3],
}

impl Scopes<'_> {
    /// What went wrong since, where `what` and `bytes` were asked for.
    pub(super) fn close(self, what: &str, bytes: u64) -> Result<(), DeviceError> {
        let adapter = || self.context.info().name.clone();
        let mut first = Ok(());
        for scope in self.scopes {
            let Some(error) = pollster::block_on(scope.pop()) else { continue };
            let error = match error {
                wgpu::Error::OutOfMemory { .. } => {
                    DeviceError::OutOfMemory { adapter: adapter(), what: what.to_owned(), bytes }
                }
                wgpu::Error::Validation { description, .. } | wgpu::Error::Internal { description, .. } => {
                    DeviceError::Refused { adapter: adapter(), what: what.to_owned(), message: description }
                }
            };
            first = first.and(Err(error));
        }
        first
    }
}

impl GpuContext {
    /// The largest binding, which is also no larger than the largest buffer.
    #[must_use]
    pub fn binding_bytes(&self) -> u64 {
        let limits = self.device().limits();
        limits.max_storage_buffer_binding_size.min(limits.max_buffer_size) / 4 * 4
    }

    /// Catches errors until it is closed.
    pub(super) fn catch(&self) -> Scopes<'_> {
        use wgpu::ErrorFilter::{Internal, OutOfMemory, Validation};
        let mut scopes = [OutOfMemory, Internal, Validation].map(|filter| self.device().push_error_scope(filter));
        scopes.reverse();
        Scopes { context: self, scopes }
    }

    /// A buffer for `what`.
    pub(super) fn buffer(
        &self,
        what: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, DeviceError> {
        let size = bytes.max(16).next_multiple_of(16);
        let limit = self.device().limits().max_buffer_size;
        if size > limit {
            return Err(DeviceError::BindingTooSmall { what: what.to_owned(), needed: size, limit });
        }
        self.count_made();
        if self.made() > self.shared.most_made {
            return Err(DeviceError::OutOfMemory {
                adapter: self.info().name.clone(),
                what: what.to_owned(),
                bytes: size,
            });
        }
        let scopes = self.catch();
        let descriptor = wgpu::BufferDescriptor { label: Some(what), size, usage, mapped_at_creation: false };
        let buffer = self.device().create_buffer(&descriptor);
        scopes.close(what, size)?;
        Ok(buffer)
    }

    /// Waits until the device has done all that it was told.
    pub(super) fn wait(&self, doing: &str) -> Result<(), DeviceError> {
        self.poll(wgpu::PollType::wait_indefinitely(), doing)
    }

    /// Looks what the device has done, or waits for it.
    pub(super) fn poll(&self, how: wgpu::PollType, doing: &str) -> Result<(), DeviceError> {
        let lost = |_| DeviceError::Lost { adapter: self.info().name.clone(), doing: doing.to_owned() };
        self.device().poll(how).map(|_| ()).map_err(lost)
    }
}

impl PartialEq for GpuContext {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for GpuContext {}
