//! The device that these tests run on.

use std::sync::LazyLock;

use loquent::gpu::GpuContext;

/// Whichever adapter there is, a software one included. `None`, which is said, where there is none; an error where
/// `LOQUENT_REQUIRE_GPU` is set.
pub fn context() -> Option<GpuContext> {
    static CONTEXT: LazyLock<Option<GpuContext>> = LazyLock::new(|| open(|_| {}));
    if CONTEXT.is_none() {
        assert!(
            std::env::var_os("LOQUENT_REQUIRE_GPU").is_none(),
            "LOQUENT_REQUIRE_GPU is set, and there is no adapter"
        );
        eprintln!("skipped: there is no GPU adapter, not even one in software");
    }
    CONTEXT.clone()
}

/// A device of its own, whose limits `lower` has changed.
pub fn open(lower: impl FnOnce(&mut wgpu::Limits)) -> Option<GpuContext> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let adapter = adapters.into_iter().next()?;
    let mut required_limits = adapter.limits();
    lower(&mut required_limits);
    let required_features = adapter.features() & (wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY);
    let descriptor = wgpu::DeviceDescriptor { required_limits, required_features, ..Default::default() };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).ok()?;
    Some(GpuContext::from_device(adapter.get_info(), device, queue))
}
