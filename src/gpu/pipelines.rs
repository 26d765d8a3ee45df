//! Recordings made ready for a device: a pipeline and a bind group for each dispatch, made once and used at every step.

use std::collections::HashMap;

use super::context::{DeviceError, GpuContext};
use super::recording::{Bound, Dispatch, Recording};
use super::shader::Access;
use super::variant::Variant;

/// Every pipeline that was needed so far.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    made: HashMap<Variant, Pipeline>,
}

#[derive(Clone, Debug)]
struct Pipeline {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// A recording that only needs to be encoded.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) recording: Recording,
    runs: Vec<(wgpu::ComputePipeline, wgpu::BindGroup, [u32; 3])>,
    /// Of each, the bytes of weights that it reads.
    weight_bytes: Vec<u64>,
}

/// Parameters of a dispatch begin at multiples of this, the largest alignment that an adapter may ask for.
const PARAMS: usize = 256;

impl Pipelines {
    fn get(&mut self, variant: &Variant, context: &GpuContext) -> &Pipeline {
        self.made.entry(variant.clone()).or_insert_with(|| Pipeline::new(variant, context))
    }

    /// Makes the pipelines of `recordings`, so that no step has to wait for a compiler.
    pub(super) fn warm(
        &mut self,
        recordings: impl IntoIterator<Item = Recording>,
        context: &GpuContext,
    ) -> Result<(), DeviceError> {
        let scopes = context.catch();
        for dispatch in recordings.into_iter().flat_map(|recording| recording.dispatches) {
            self.get(&dispatch.variant, context);
        }
        scopes.close("to compile its shaders", 0)
    }

    /// Makes `recording` ready, with `find` telling where buffers are.
    pub(super) fn prepare<'b>(
        &mut self,
        recording: Recording,
        context: &GpuContext,
        find: impl Fn(&Bound) -> Option<&'b wgpu::Buffer>,
    ) -> Result<Prepared, DeviceError> {
        let mut params = vec![0_u8; PARAMS * recording.dispatches.len()];
        for (slot, dispatch) in params.chunks_exact_mut(PARAMS).zip(&recording.dispatches) {
            let words: &[u8] = bytemuck::cast_slice(&dispatch.params);
            slot[..words.len()].copy_from_slice(words);
        }
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniform = context.buffer("parameters", params.len() as u64, usage)?;
        let scopes = context.catch();
        context.queue().write_buffer(&uniform, 0, &params);
        let mut runs = Vec::with_capacity(recording.dispatches.len());
        for (index, dispatch) in recording.dispatches.iter().enumerate() {
            let pipeline = self.get(&dispatch.variant, context);
            let size = wgpu::BufferSize::new(PARAMS as u64);
            let offset = (index * PARAMS) as u64;
            let mut bound = vec![wgpu::BufferBinding { buffer: &uniform, offset, size }];
            bound.extend(dispatch.buffers.iter().filter_map(|bound| {
                let buffer = find(bound)?;
                let bytes = bound.bytes.clone().unwrap_or(0..buffer.size());
                let size = wgpu::BufferSize::new(bytes.end - bytes.start);
                Some(wgpu::BufferBinding { buffer, offset: bytes.start, size })
            }));
            runs.push((pipeline.pipeline.clone(), pipeline.bind(bound, context), dispatch.grid));
        }
        scopes.close("to prepare a step", 0)?;
        let weight_bytes = recording.dispatches.iter().map(Dispatch::weight_bytes).collect();
        Ok(Prepared { recording, runs, weight_bytes })
    }

    /// A bind group and the pipeline for one dispatch outside any recording.
    pub(super) fn single(
        &mut self,
        variant: &Variant,
        bound: Vec<wgpu::BufferBinding<'_>>,
        context: &GpuContext,
    ) -> (wgpu::ComputePipeline, wgpu::BindGroup) {
        let pipeline = self.get(variant, context);
        (pipeline.pipeline.clone(), pipeline.bind(bound, context))
    }
}

impl Prepared {
    /// The bytes of weights that the dispatches of `range` read.
    pub(super) fn weight_bytes(&self, range: std::ops::Range<usize>) -> u64 {
        self.weight_bytes[range].iter().sum()
    }

    /// Encodes the dispatches of `range`.
    pub(super) fn encode(&self, range: std::ops::Range<usize>, pass: &mut wgpu::ComputePass<'_>) {
        for (pipeline, bind_group, [x, y, z]) in &self.runs[range] {
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, bind_group, &[]);
            pass.dispatch_workgroups(*x, *y, *z);
        }
    }
}

impl Pipeline {
    fn new(variant: &Variant, context: &GpuContext) -> Self {
        context.count_made();
        let device = context.device();
        let label = variant.to_string();
        let entries: Vec<_> = variant
            .bindings()
            .iter()
            .zip(0..)
            .map(|(&(_, access), binding)| wgpu::BindGroupLayoutEntry {
                binding,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: match access {
                        Access::Uniform => wgpu::BufferBindingType::Uniform,
                        Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                        Access::Write => wgpu::BufferBindingType::Storage { read_only: false },
                    },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        // Explicit: one that wgpu derives from a shader fits that pipeline only.
        let layout = device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(&label), entries: &entries });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Wgsl(variant.source().into()),
        };
        let module = if context.checks() {
            device.create_shader_module(descriptor)
        } else {
            // SAFETY: every loop ends: its bound is a constant, a parameter that planning computed from sizes that were
            // proven at upload, or a count in the table, which the host writes; none is written by a shader. Indices into
            // buffers are still checked.
            #[expect(unsafe_code, reason = "loops are bounded by what is proven; counting them has cost users 100 ×")]
            unsafe {
                let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..Default::default() };
                device.create_shader_module_trusted(descriptor, checks)
            }
        };
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            // Every shader writes its workgroup memory before it reads it.
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: context.checks(),
                ..Default::default()
            },
            cache: None,
        });
        Self { pipeline, layout }
    }

    fn bind(&self, bound: Vec<wgpu::BufferBinding<'_>>, context: &GpuContext) -> wgpu::BindGroup {
        let entries: Vec<_> = bound
            .into_iter()
            .zip(0..)
            .map(|(buffer, binding)| wgpu::BindGroupEntry { binding, resource: wgpu::BindingResource::Buffer(buffer) })
            .collect();
        context.count_made();
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &self.layout, entries: &entries };
        context.device().create_bind_group(&descriptor)
    }
}
