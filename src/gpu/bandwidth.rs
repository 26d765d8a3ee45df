//! How fast a device copies memory: the yardstick for what streams weights.

use std::time::Instant;

use super::context::{DeviceError, GpuContext};

/// Copied at once, at most: more than caches hold.
const BYTES: u64 = 256 << 20;
/// Copies in a measurement: enough for the first to be no more than a part of it.
const COPIES: u32 = 16;

/// Bytes that the device reads and writes per second, together, when it copies from one buffer to another.
///
/// # Errors
/// If it has no memory for two buffers, or is lost.
pub fn copy_bandwidth(context: &GpuContext) -> Result<f64, DeviceError> {
    // In software, a copy of the largest size takes a second.
    let is_software = context.info().device_type == wgpu::DeviceType::Cpu;
    let bytes = context.binding_bytes().min(if is_software { BYTES / 8 } else { BYTES }) / 4 * 4;
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let (source, to) = (context.buffer("a copy's source", bytes, usage)?, context.buffer("a copy", bytes, usage)?);
    let copy = |count: u32| {
        let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        for _ in 0..count {
            encoder.copy_buffer_to_buffer(&source, 0, &to, 0, bytes);
        }
        context.queue().submit([encoder.finish()]);
        context.wait("copying memory")
    };
    copy(1)?;
    let started = Instant::now();
    copy(COPIES)?;
    Ok(2.0 * bytes as f64 * f64::from(COPIES) / started.elapsed().as_secs_f64())
}
