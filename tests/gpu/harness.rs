//! Runs single shaders on a device, and gives back what is then in their buffers.
#![allow(unreachable_pub, reason = "a module of a test")]

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use loquent::gpu::GpuContext;
use loquent::gpu::shader::Access;
use loquent::gpu::variant::Variant;

/// One run of a shader: its buffers by the names of its variables.
pub struct Dispatch {
    pub variant: Variant,
    pub params: Vec<u32>,
    pub grid: [u32; 3],
    pub buffers: Vec<(&'static str, Vec<u32>)>,
}

/// What is in the buffers that a shader may write.
pub struct Found(HashMap<&'static str, Vec<u32>>);

/// No number, as bits: what nobody may read.
pub const POISON: u32 = 0x7fc0_dead;

/// It, as a number.
pub fn poison() -> f32 {
    f32::from_bits(POISON)
}

pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

pub fn floats(words: &[u32]) -> Vec<f32> {
    words.iter().map(|&word| f32::from_bits(word)).collect()
}

/// Reproducible numbers in -1..1, roughly bell-shaped.
pub fn noise(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..len).map(|_| (next() + next() + next()) / 1.5 - 1.0).collect()
}

/// `rows` `[rows, width]` as they lie on a device: `stride` apart, and no numbers in between.
pub fn strided(rows: &[f32], width: usize, stride: usize) -> Vec<f32> {
    let mut values = vec![poison(); rows.len() / width * stride];
    for (to, row) in values.chunks_exact_mut(stride).zip(rows.chunks_exact(width)) {
        to[..width].copy_from_slice(row);
    }
    values
}

/// The squared error of `found` is at most `bound` times the squares of `expected`.
#[track_caller]
pub fn assert_close(found: &[f32], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let (mut error, mut square) = (0.0, 0.0);
    for (&found, &expected) in found.iter().zip(expected) {
        error += (f64::from(found) - expected).powi(2);
        square += expected * expected;
    }
    // How much of a bound is used says whether it is a good one.
    if std::env::var_os("LOQUENT_TWIN_ERRORS").is_some() {
        eprintln!("{what}: {:.1e} of {bound:.0e}", error / square);
    }
    // Neither side may be no number.
    assert!(error <= bound * square, "{what}: {:e}, expected at most {bound:e}", error / square);
}

#[track_caller]
pub fn assert_same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_eq!(found.to_bits(), expected.to_bits(), "{what}: {found:e} for {expected:e} at {index}");
    }
}

impl Found {
    pub fn words(&self, name: &str) -> &[u32] {
        &self.0[name]
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        floats(self.words(name))
    }
}

impl Dispatch {
    pub fn new(variant: Variant, params: &[u32], grid: [u32; 3]) -> Self {
        Self { variant, params: params.to_vec(), grid, buffers: Vec::new() }
    }

    /// Binds numbers.
    pub fn floats(self, name: &'static str, values: &[f32]) -> Self {
        self.words(name, bits(values))
    }

    /// Binds words.
    pub fn words(mut self, name: &'static str, words: Vec<u32>) -> Self {
        self.buffers.push((name, words));
        self
    }

    /// What comes of it with all that can be checked being checked, and with nothing.
    pub fn run(&self, context: &GpuContext) -> [Found; 2] {
        [true, false].map(|checks| self.run_once(context, checks))
    }

    /// What comes of it.
    pub fn run_once(&self, context: &GpuContext, checks: bool) -> Found {
        /// Words before and after what is bound, which must stay as they are. Bindings begin at multiples of 256 bytes.
        const GUARD: usize = 64;
        let (device, queue) = (context.device(), context.queue());
        let buffer = |words: &[u32], usage: wgpu::BufferUsages| {
            let descriptor = wgpu::BufferDescriptor {
                label: None,
                size: 4 * words.len() as u64,
                usage: usage | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            };
            let buffer = device.create_buffer(&descriptor);
            queue.write_buffer(&buffer, 0, bytemuck::cast_slice(words));
            buffer
        };
        let mut params = self.params.clone();
        params.resize(64, POISON);
        let mut made = vec![("params", Access::Uniform, buffer(&params, wgpu::BufferUsages::UNIFORM), 0, 64)];
        for &(name, access) in &self.variant.bindings()[1..] {
            let bound = self.buffers.iter().find(|(bound, _)| *bound == name);
            let (_, words) = bound.unwrap_or_else(|| panic!("{}: {name} is not bound", self.variant));
            let mut guarded = vec![POISON; GUARD];
            guarded.extend(words);
            // What a shader reads by fours is bound by fours.
            let bound = words.len().next_multiple_of(4).max(4);
            guarded.resize(GUARD + bound + GUARD, POISON);
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
            made.push((name, access, buffer(&guarded, usage), GUARD, bound));
        }
        assert_eq!(made.len(), self.buffers.len() + 1, "{}: a buffer too many", self.variant);

        let mut pipelines = PIPELINES.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (self.variant.clone(), checks);
        let (pipeline, layout) =
            pipelines.entry(key).or_insert_with(|| make_pipeline(context, &self.variant, checks)).clone();
        drop(pipelines);
        let entries: Vec<_> = made
            .iter()
            .zip(0..)
            .map(|((_, _, buffer, from, len), binding)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer,
                    offset: 4 * *from as u64,
                    size: wgpu::BufferSize::new(4 * *len as u64),
                }),
            })
            .collect();
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
        let bind_group = device.create_bind_group(&descriptor);

        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            leave_poison_in_workgroup_memory(context, &mut pass);
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(self.grid[0], self.grid[1], self.grid[2]);
        }
        let written: Vec<_> = made.iter().filter(|(_, access, ..)| *access == Access::Write).collect();
        let staged: Vec<_> = written
            .iter()
            .map(|(_, _, from, ..)| {
                let descriptor = wgpu::BufferDescriptor {
                    label: None,
                    size: from.size(),
                    usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                    mapped_at_creation: false,
                };
                let to = device.create_buffer(&descriptor);
                encoder.copy_buffer_to_buffer(from, 0, &to, 0, from.size());
                to
            })
            .collect();
        queue.submit([encoder.finish()]);
        for buffer in &staged {
            buffer.slice(..).map_async(wgpu::MapMode::Read, |mapped| mapped.expect("a buffer of our own"));
        }
        device.poll(wgpu::PollType::wait_indefinitely()).expect("a device that answers");
        let found = written.iter().zip(&staged).map(|(&&(name, _, _, from, bound), buffer)| {
            let mapped = buffer.slice(..).get_mapped_range().expect("it is mapped");
            let words: &[u32] = bytemuck::cast_slice(&mapped);
            let mut guards = words[..from].iter().chain(&words[from + bound..]);
            assert!(guards.all(|&word| word == POISON), "{}: wrote outside {name}", self.variant);
            let len = self.buffers.iter().find(|(bound, _)| *bound == name).map_or(0, |(_, words)| words.len());
            (name, words[from..from + len].to_vec())
        });
        Found(found.collect())
    }
}

type Pipeline = (wgpu::ComputePipeline, wgpu::BindGroupLayout);

static PIPELINES: LazyLock<Mutex<HashMap<(Variant, bool), Pipeline>>> = LazyLock::new(Mutex::default);

fn make_pipeline(context: &GpuContext, variant: &Variant, checks: bool) -> Pipeline {
    compile(context, &variant.source(), checks)
}

fn compile(context: &GpuContext, source: &str, checks: bool) -> Pipeline {
    let device = context.device();
    let descriptor = wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(source.into()) };
    let module = if checks {
        device.create_shader_module(descriptor)
    } else {
        #[allow(unsafe_code)]
        // SAFETY: the loops of shaders end, and what they index is bound: the same runs with checks give the same.
        unsafe {
            device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
        }
    };
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: wgpu::PipelineCompilationOptions {
            zero_initialize_workgroup_memory: checks,
            ..Default::default()
        },
        cache: None,
    });
    let layout = pipeline.get_bind_group_layout(0);
    (pipeline, layout)
}

/// Fills the memory of workgroups, so that a shader that reads it before it writes it does not find zeros.
fn leave_poison_in_workgroup_memory(context: &GpuContext, pass: &mut wgpu::ComputePass<'_>) {
    const SOURCE: &str = "
        @group(0) @binding(0) var<storage, read_write> seen: array<u32>;
        var<workgroup> memory: array<u32, 4096>;
        @compute @workgroup_size(256)
        fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
            for (var i = thread; i < 4096u; i += 256u) {
                memory[i] = seen[0];
            }
            workgroupBarrier();
            if memory[4095u - thread] != seen[0] {
                seen[1] = 1u;
            }
        }";
    static MADE: Mutex<Option<(wgpu::ComputePipeline, wgpu::BindGroup)>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let (pipeline, bind_group) = made.get_or_insert_with(|| {
        let (pipeline, layout) = compile(context, SOURCE, false);
        let buffer = context.device().create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 16,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        context.queue().write_buffer(&buffer, 0, bytemuck::cast_slice(&[POISON; 4]));
        let entries = [wgpu::BindGroupEntry { binding: 0, resource: buffer.as_entire_binding() }];
        let descriptor = wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries };
        let bind_group = context.device().create_bind_group(&descriptor);
        (pipeline, bind_group)
    });
    pass.set_pipeline(pipeline);
    pass.set_bind_group(0, &*bind_group, &[]);
    pass.dispatch_workgroups(8, 1, 1);
}
