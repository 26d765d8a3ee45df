//! A model on a device: its weights, its buffers, and the recordings of its steps. On the model entity.

use std::collections::HashMap;
use std::sync::Arc;

use bevy_ecs::prelude::*;

use super::Gpu;
use super::buffers::{Activations, LayerStores, Store};
use super::context::{DeviceError, GpuContext};
use super::pipelines::{Pipelines, Prepared};
use super::plan::{BatchShape, Planner};
use super::readback::{Answer, Staging};
use super::recording::{Bound, Buffer, Recording};
use super::table::{MOST_PICKS, Table};
use super::upload::{self, Weights};
use super::variant::{Reduction, Variant};
use crate::checkpoint::{LayerType, ModelConfig};
use crate::cpu::kernels::RopeTable;
use crate::cpu::rope::kernel_table;
use crate::world::limits::CacheCost;
use crate::world::parts::ModelParts;
use crate::world::storage::Mapped;

/// Everything that a device holds of a model, and what it is told.
#[derive(Component)]
pub struct GpuModel {
    context: GpuContext,
    config: ModelConfig,
    parts: ModelParts<Gpu>,
    reduction: Reduction,
    weights: Weights,
    layers: Vec<LayerStores>,
    activations: Activations,
    table_buffer: wgpu::Buffer,
    picks: wgpu::Buffer,
    pipelines: Pipelines,
    bodies: HashMap<BatchShape, Arc<Prepared>>,
    ends: HashMap<(usize, usize), Arc<Prepared>>,
    staging: Staging,
    pub(super) table: Table,
    pub(super) rope: RopeTable,
    pub(super) failure: Option<DeviceError>,
}

impl GpuModel {
    /// Uploads a model.
    ///
    /// # Errors
    /// If it does not fit the device, or the device fails.
    pub fn new(
        config: &ModelConfig,
        parts: &ModelParts<Mapped>,
        context: &GpuContext,
    ) -> Result<(Self, ModelParts<Gpu>), DeviceError> {
        check_activations(config, context.binding_bytes())?;
        let (placed, weights) = upload::upload(parts, context)?;
        let layers = (0..config.layer_types.len()).map(|layer| LayerStores::of(config, layer, context));
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let model = Self {
            config: config.clone(),
            parts: placed.copied(),
            reduction: reduction_of(context),
            weights,
            layers: layers.collect::<Result<_, _>>()?,
            activations: Activations::new(),
            table_buffer: context.buffer("the step's table", 64 << 10, storage)?,
            picks: context.buffer("picked tokens", 8 * MOST_PICKS as u64, storage)?,
            pipelines: Pipelines::default(),
            bodies: HashMap::new(),
            ends: HashMap::new(),
            staging: Staging::default(),
            table: Table::default(),
            rope: kernel_table(config),
            failure: None,
            context: context.clone(),
        };
        let mut model = model;
        let mut pipelines = Pipelines::default();
        pipelines.warm(model.every_kind(), context)?;
        model.pipelines = pipelines;
        Ok((model, placed))
    }

    /// Recordings that have every shader that a step may need.
    fn every_kind(&self) -> Vec<Recording> {
        let planner = self.planner();
        let mut recordings = Vec::new();
        for rows in [1, 2, 4, 8] {
            let shape = BatchShape { single: rows, prompt: 1, spans: 1, parts: [2, 2], ..BatchShape::default() };
            recordings.extend([planner.body(shape), planner.ends(rows, rows)]);
        }
        recordings
    }

    /// The device.
    #[must_use]
    pub fn context(&self) -> &GpuContext {
        &self.context
    }

    pub(super) fn layers(&self) -> &[LayerStores] {
        &self.layers
    }

    /// What plans its steps.
    #[must_use]
    pub fn planner(&self) -> Planner<'_> {
        Planner {
            config: &self.config,
            parts: &self.parts,
            arenas: &self.weights.arenas,
            reduction: self.reduction,
            binding_bytes: self.context.binding_bytes(),
        }
    }

    /// Where something of the model lies, if it is there yet.
    #[must_use]
    pub fn buffer(&self, buffer: Buffer) -> Option<&wgpu::Buffer> {
        match buffer {
            Buffer::Table => Some(&self.table_buffer),
            Buffer::Picks => Some(&self.picks),
            Buffer::Vectors => Some(&self.weights.vectors),
            Buffer::Codes(arena, part) => Some(&self.weights.planes[arena][part].0),
            Buffer::Factors(arena, part) => self.weights.planes[arena][part].1.as_ref(),
            Buffer::States(layer)
            | Buffer::Memory(layer)
            | Buffer::Inputs(layer)
            | Buffer::Keys(layer)
            | Buffer::Values(layer) => {
                let mut buffers = self.layers[layer].stores().iter().flat_map(|store| &store.buffers);
                buffers.find(|(found, _)| *found == buffer).map(|(_, buffer)| buffer)
            }
            _ => self.activations.buffer(buffer),
        }
    }

    /// Everything that waits goes to the device before a step: room is made for its rows and sequences, blocks are copied for
    /// forks, the table is written.
    pub(super) fn make_room(&mut self, shape: BatchShape, logit_rows: usize) -> Result<(), DeviceError> {
        let mut changed = self.activations.fit(&self.config, shape, logit_rows, &self.context)?;
        let bytes = self.table.bytes();
        if bytes > self.table_buffer.size() {
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
            self.table_buffer = self.context.buffer("the step's table", 2 * bytes, usage)?;
            changed = true;
        }
        if changed {
            self.bodies.clear();
            self.ends.clear();
        }
        self.settle_places()
    }

    /// Makes room for all places that are taken, and brings into them what they are copies of.
    pub(super) fn settle_places(&mut self) -> Result<(), DeviceError> {
        let Self { context, layers, .. } = self;
        if layers.iter().flat_map(LayerStores::stores).any(Store::is_outgrown) {
            let mut encoder = context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            for store in layers.iter_mut().flat_map(LayerStores::stores_mut).filter(|store| store.is_outgrown()) {
                store.grow(context, &mut encoder)?;
            }
            context.queue().submit([encoder.finish()]);
            self.bodies.clear();
            self.ends.clear();
        }
        self.copy_blocks()
    }

    /// Copies the blocks that forks are about to write, one after the other.
    fn copy_blocks(&mut self) -> Result<(), DeviceError> {
        /// Workgroups that share a block.
        const WIDTH: u32 = 64;
        let mut pairs: Vec<(usize, usize, u32, u32)> = Vec::new();
        for (layer, stores) in self.layers.iter().enumerate() {
            for (index, store) in stores.stores().iter().enumerate() {
                let mut copies = Vec::new();
                store.pool.drain_copies(&mut copies);
                pairs.extend(copies.into_iter().map(|(source, to)| (layer, index, source, to)));
            }
        }
        if pairs.is_empty() {
            return Ok(());
        }
        let list: Vec<[u32; 2]> = pairs.iter().map(|&(_, _, source, to)| [source, to]).collect();
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let pairs_buffer = self.context.buffer("blocks to copy", 8 * list.len() as u64, usage)?;
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let params = self.context.buffer("parameters of copies", 256 * list.len() as u64, usage)?;
        self.context.queue().write_buffer(&pairs_buffer, 0, bytemuck::cast_slice(&list));
        let scopes = self.context.catch();
        let variant = Variant::copy_blocks(WIDTH);
        let mut encoder = self.context.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
            for (index, &(layer, store, ..)) in pairs.iter().enumerate() {
                let store = &self.layers[layer].stores()[store];
                let offset = 256 * index as u64;
                let words = [store.words as u32, index as u32];
                self.context.queue().write_buffer(&params, offset, bytemuck::cast_slice(&words));
                for (_, blocks) in &store.buffers {
                    let bound = vec![
                        wgpu::BufferBinding { buffer: &params, offset, size: wgpu::BufferSize::new(16) },
                        pairs_buffer.as_entire_buffer_binding(),
                        blocks.as_entire_buffer_binding(),
                    ];
                    let (pipeline, group) = self.pipelines.single(&variant, bound, &self.context);
                    pass.set_pipeline(&pipeline);
                    pass.set_bind_group(0, &group, &[]);
                    pass.dispatch_workgroups(WIDTH, 1, 1);
                }
            }
        }
        self.context.queue().submit([encoder.finish()]);
        scopes.close("to copy blocks of caches", 0)
    }

    fn prepare(&mut self, recording: Recording) -> Result<Arc<Prepared>, DeviceError> {
        let mut pipelines = std::mem::take(&mut self.pipelines);
        let prepared = pipelines.prepare(recording, &self.context, |bound: &Bound| self.buffer(bound.buffer));
        self.pipelines = pipelines;
        prepared.map(Arc::new)
    }

    /// The recording of a batch, ready.
    pub(super) fn body(&mut self, shape: BatchShape) -> Result<Arc<Prepared>, DeviceError> {
        if !self.bodies.contains_key(&shape) {
            let prepared = self.prepare(self.planner().body(shape))?;
            self.bodies.insert(shape, prepared);
        }
        Ok(self.bodies[&shape].clone())
    }

    /// That of logits and picks.
    pub(super) fn ends(&mut self, rows: usize, picks: usize) -> Result<Arc<Prepared>, DeviceError> {
        if !self.ends.contains_key(&(rows, picks)) {
            let prepared = self.prepare(self.planner().ends(rows, picks))?;
            self.ends.insert((rows, picks), prepared);
        }
        Ok(self.ends[&(rows, picks)].clone())
    }

    /// Writes the table; whatever is submitted next sees it.
    pub(super) fn write_table(&self) {
        self.context.queue().write_buffer(&self.table_buffer, 0, bytemuck::cast_slice(self.table.words()));
    }

    /// Copies picks and rows of logits to where the host reads them, once the encoder's commands have run.
    pub(super) fn stage(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        picks: std::ops::Range<u32>,
        logit_rows: &[u32],
    ) -> Result<Answer, DeviceError> {
        let row_bytes = 4 * self.config.vocab_size as u64;
        let row_stride = 4 * super::plan::stride(self.config.vocab_size) as u64;
        let pick_bytes = 4 * u64::from(picks.end - picks.start);
        let answer = self.staging.take(&self.context, pick_bytes, row_bytes, logit_rows.len())?;
        if pick_bytes > 0 {
            encoder.copy_buffer_to_buffer(&self.picks, 4 * u64::from(picks.start), answer.buffer(), 0, pick_bytes);
        }
        if let Some(logits) = self.activations.buffer(Buffer::Logits) {
            for (index, &row) in (0..).zip(logit_rows) {
                let to = pick_bytes + index * row_bytes;
                encoder.copy_buffer_to_buffer(logits, u64::from(row) * row_stride, answer.buffer(), to, row_bytes);
            }
        }
        Ok(answer)
    }

    /// Somewhere to read `bytes` from.
    pub(super) fn stage_bytes(&mut self, bytes: u64) -> Result<Answer, DeviceError> {
        self.staging.take(&self.context, bytes, 0, 0)
    }

    /// How far apart the rows of a buffer are, in elements.
    #[must_use]
    pub fn row_stride(&self, buffer: Buffer) -> usize {
        let config = &self.config;
        super::plan::stride(match buffer {
            Buffer::Projected => super::plan::projected_width(config),
            Buffer::Mixed => super::plan::mixed_width(config),
            Buffer::Read => super::plan::read_width(config),
            Buffer::GateUp => 2 * super::plan::mlp_width(config),
            Buffer::Gated => super::plan::mlp_width(config),
            Buffer::Routed => config.moe.as_ref().map_or(0, super::plan::routed_width),
            Buffer::ExpertGated => config.moe.as_ref().map_or(0, |moe| moe.intermediate_size),
            Buffer::Logits => config.vocab_size,
            _ => config.hidden_size,
        })
    }

    /// Takes back what an answer was read from.
    pub(super) fn recycle(&mut self, answer: Answer) {
        self.staging.give_back(answer);
    }
}

/// Whether a step's logits, the largest of what flows, fit a binding.
fn check_activations(config: &ModelConfig, binding_bytes: u64) -> Result<(), DeviceError> {
    let needed = (4 * MOST_PICKS * super::plan::stride(config.vocab_size)) as u64;
    if needed > binding_bytes {
        let what = format!("the logits of {MOST_PICKS} rows");
        return Err(DeviceError::BindingTooSmall { what, needed, limit: binding_bytes });
    }
    Ok(())
}

/// What the caches of one sequence take on a device, and how many there is room for: each kind of a layer is one binding.
#[must_use]
pub fn cache_cost(config: &ModelConfig, binding_bytes: u64) -> CacheCost {
    // One place of each has the zeros that new ones begin with.
    let places = |words: usize| (binding_bytes / (4 * words as u64).max(1)).saturating_sub(1);
    let most_sequences = super::buffers::delta_words(config).map(places).into_iter().min().unwrap_or(0);
    let count = |wanted| config.layer_types.iter().filter(|&&layer| layer == wanted).count() as u64;
    let state: u64 = super::buffers::delta_words(config).map(|words| 4 * words as u64).iter().sum();
    let block = 2 * 4 * super::buffers::block_words(config) as u64;
    CacheCost {
        fixed: count(LayerType::LinearAttention).saturating_mul(state),
        block: count(LayerType::FullAttention).saturating_mul(block),
        positions: crate::world::cache::KvCache::<Gpu>::BLOCK,
        most_sequences: if count(LayerType::LinearAttention) > 0 { most_sequences as usize } else { usize::MAX },
        most_blocks: if count(LayerType::FullAttention) > 0 {
            places(super::buffers::block_words(config))
        } else {
            u64::MAX
        },
    }
}

/// How lanes add up on an adapter: by its identity, since the last bits depend on it.
fn reduction_of(context: &GpuContext) -> Reduction {
    /// The PCI vendor whose subgroups have 32 lanes on every card.
    const NVIDIA: u32 = 0x10de;
    let info = context.info();
    let has_subgroups = context.device().features().contains(wgpu::Features::SUBGROUP);
    let exactly_32 = info.subgroup_min_size == 32 && info.subgroup_max_size == 32;
    if has_subgroups && info.vendor == NVIDIA && exactly_32 { Reduction::Subgroup32 } else { Reduction::Tree }
}
