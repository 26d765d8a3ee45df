//! The buffers of a model on a device that are not weights: activations, which grow with the batch, and the pools of its
//! caches, which grow with its sequences.

use super::Gpu;
use super::context::{DeviceError, GpuContext};
use super::plan::{BatchShape, mixed_width, mlp_width, projected_width, read_width, routed_width, stride};
use super::pool::Pool;
use super::recording::Buffer;
use super::variant::{MOST_PARTS, ring_rows};
use crate::checkpoint::{LayerType, ModelConfig};
use crate::world::cache::{DeltaState, KvCache};

/// One kind of contents of a layer's caches.
#[derive(Debug)]
pub(super) struct Store {
    /// What it is bound as: keys and values share their places.
    pub(super) buffers: Vec<(Buffer, wgpu::Buffer)>,
    pub(super) pool: Pool,
    /// Words of a place.
    pub(super) words: usize,
    capacity: u32,
}

/// The pools of one layer.
#[derive(Debug)]
pub(super) enum LayerStores {
    /// States, rows since the last multiple, inputs.
    DeltaNet([Store; 3]),
    /// Blocks of keys and of values.
    Attention(Store),
}

impl LayerStores {
    pub(super) fn of(config: &ModelConfig, layer: usize, context: &GpuContext) -> Result<Self, DeviceError> {
        Ok(match config.layer_types[layer] {
            LayerType::LinearAttention => {
                let [states, memory, inputs] = delta_words(config);
                Self::DeltaNet([
                    Store::new(&[Buffer::States(layer)], states, context)?,
                    Store::new(&[Buffer::Memory(layer)], memory, context)?,
                    Store::new(&[Buffer::Inputs(layer)], inputs, context)?,
                ])
            }
            LayerType::FullAttention => {
                let buffers = [Buffer::Keys(layer), Buffer::Values(layer)];
                Self::Attention(Store::new(&buffers, block_words(config), context)?)
            }
        })
    }

    pub(super) fn stores(&self) -> &[Store] {
        match self {
            Self::DeltaNet(stores) => stores,
            Self::Attention(store) => std::slice::from_ref(store),
        }
    }

    pub(super) fn stores_mut(&mut self) -> &mut [Store] {
        match self {
            Self::DeltaNet(stores) => stores,
            Self::Attention(store) => std::slice::from_mut(store),
        }
    }
}

/// The words that a delta-net layer keeps of a sequence: of its state, of the rows since the last multiple, of its inputs.
/// None where there are no such layers.
pub(crate) fn delta_words(config: &ModelConfig) -> [usize; 3] {
    let Some(net) = &config.delta_net else { return [0; 3] };
    let state = net.num_value_heads * net.key_head_dim * net.value_head_dim.next_multiple_of(4);
    let memory = net.num_value_heads * DeltaState::<Gpu>::CHUNK * (net.key_head_dim + net.value_head_dim + 1);
    [state, memory, ring_rows(net) * net.channels()]
}

/// The words of a block of keys, and of one of values.
pub(crate) fn block_words(config: &ModelConfig) -> usize {
    config.attention.key_dim() * KvCache::<Gpu>::BLOCK
}

const CACHE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_SRC).union(wgpu::BufferUsages::COPY_DST);

impl Store {
    fn new(buffers: &[Buffer], words: usize, context: &GpuContext) -> Result<Self, DeviceError> {
        let capacity = 2;
        let made = buffers.iter().map(|&buffer| {
            let bytes = 4 * words as u64 * u64::from(capacity);
            Ok((buffer, context.buffer(&format!("caches ({buffer})"), bytes, CACHE)?))
        });
        let buffers = made.collect::<Result<_, DeviceError>>()?;
        Ok(Self { buffers, pool: Pool::default(), words, capacity })
    }

    /// Whether more places are taken than there are.
    pub(super) fn is_outgrown(&self) -> bool {
        self.pool.len() > self.capacity
    }

    /// Makes room for all places that are taken, in new buffers. What was there stays.
    pub(super) fn grow(&mut self, context: &GpuContext, encoder: &mut wgpu::CommandEncoder) -> Result<(), DeviceError> {
        let needed = self.pool.len();
        let word_bytes = 4 * self.words as u64;
        let most = context.binding_bytes() / word_bytes.max(1);
        if u64::from(needed) > most {
            let what = format!("caches of all sequences ({})", self.buffers[0].0);
            let (needed, limit) = (u64::from(needed) * word_bytes, context.binding_bytes());
            return Err(DeviceError::BindingTooSmall { what, needed, limit });
        }
        let capacity = u64::from(needed.max(2 * self.capacity)).min(most) as u32;
        for (buffer, old) in &mut self.buffers {
            let new = context.buffer(&format!("caches ({buffer})"), word_bytes * u64::from(capacity), CACHE)?;
            encoder.copy_buffer_to_buffer(old, 0, &new, 0, old.size());
            *old = new;
        }
        self.capacity = capacity;
        Ok(())
    }
}

/// What flows through the layers.
#[derive(Debug)]
pub(super) struct Activations {
    buffers: Vec<(Buffer, wgpu::Buffer)>,
    rows: usize,
    parts_rows: usize,
    logit_rows: usize,
}

impl Activations {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { buffers: Vec::new(), rows: 0, parts_rows: 0, logit_rows: 0 }
    }

    pub(super) fn buffer(&self, buffer: Buffer) -> Option<&wgpu::Buffer> {
        self.buffers.iter().find(|(found, _)| *found == buffer).map(|(_, buffer)| buffer)
    }

    /// Makes room for a batch, and for its logits. Returns whether any buffer is a new one.
    pub(super) fn fit(
        &mut self,
        config: &ModelConfig,
        shape: BatchShape,
        logit_rows: usize,
        context: &GpuContext,
    ) -> Result<bool, DeviceError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let mut changed = false;
        let mut make = |buffer: Buffer, words: usize| {
            changed = true;
            self.buffers.retain(|(found, _)| *found != buffer);
            let made = context.buffer(&format!("activations ({buffer})"), 4 * words as u64, usage)?;
            self.buffers.push((buffer, made));
            Ok::<_, DeviceError>(())
        };
        if shape.rows() > self.rows {
            let rows = shape.rows().next_power_of_two().max(8);
            for (buffer, width) in [
                (Buffer::Residual, config.hidden_size),
                (Buffer::Normed, config.hidden_size),
                (Buffer::Projected, projected_width(config)),
                (Buffer::Mixed, mixed_width(config)),
                (Buffer::Read, read_width(config)),
                (Buffer::GateUp, 2 * mlp_width(config)),
                (Buffer::Gated, mlp_width(config)),
            ] {
                // Models without delta nets convolve nothing.
                if width > 0 {
                    make(buffer, rows * stride(width))?;
                }
            }
            if let Some(moe) = &config.moe {
                let picks = rows * moe.num_experts_per_tok;
                make(Buffer::Routed, rows * stride(routed_width(moe)))?;
                make(Buffer::Picked, 2 * picks)?;
                make(Buffer::ExpertGated, picks * stride(moe.intermediate_size))?;
                make(Buffer::ExpertOut, picks * stride(config.hidden_size))?;
                make(Buffer::SharedOut, rows * stride(config.hidden_size))?;
            }
            self.rows = rows;
        }
        let [single, others] = shape.parts;
        let single = if single > 1 { shape.single } else { 0 };
        let others = if others > 1 { shape.again + shape.prompt } else { 0 };
        let row_words = config.attention.num_heads * MOST_PARTS as usize * (config.attention.head_dim + 2);
        let most = (context.binding_bytes() / (4 * row_words as u64)).max(1) as usize;
        let parts_rows = single.max(others).min(most).max(1);
        if parts_rows > self.parts_rows {
            self.parts_rows = parts_rows.next_power_of_two().min(most);
            make(Buffer::Parts, self.parts_rows * row_words)?;
        }
        if logit_rows > self.logit_rows {
            self.logit_rows = logit_rows.next_power_of_two();
            make(Buffer::Logits, self.logit_rows * stride(config.vocab_size))?;
        }
        Ok(changed)
    }
}
