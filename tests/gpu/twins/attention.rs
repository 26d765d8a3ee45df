//! The cache of keys and values, and attention over it.

use std::sync::Arc;

use loquent::checkpoint::{AttentionConfig, RopeConfig};
use loquent::cpu::kernels::{self, AttendShape, RopeTable};
use loquent::cpu::{CacheType, Isa, KvBlock};
use loquent::gpu::GpuContext;
use loquent::gpu::plan::{parts_of, stride};
use loquent::gpu::variant::Variant;
use proptest::prelude::*;

use super::table::{LAYER, Layer, Table};
use crate::device::context;
use crate::harness::{Dispatch, POISON, assert_close, assert_same_bits, floats, noise, poison};

const EPS: f32 = 1e-6;
const BLOCK: usize = 32;
/// Workgroups that share a context, at most.
const MOST_PARTS: usize = 32;

/// Weights of keys are exponentials, whose errors grow with the size of what goes in: some last places of single precision.
const BOUND: f64 = 1e-11;

/// Query heads, heads of keys, their dimensions and those that turn; whether there are gates, and norms.
type Shape = (usize, usize, usize, usize, bool, bool);

/// Groups of 1 to 4; odd, and more than there are threads; with and without what families leave out.
const SHAPES: [Shape; 8] = [
    (4, 2, 20, 4, true, true),
    (2, 2, 64, 64, true, true),
    (3, 1, 300, 20, true, true),
    (4, 1, 7, 2, true, true),
    (4, 1, 256, 64, true, true),
    (4, 2, 24, 24, false, true),
    (3, 1, 32, 32, false, false),
    (2, 1, 20, 4, true, false),
];

/// A layer.
struct Layers {
    config: AttentionConfig,
    q_norm: Vec<f32>,
    k_norm: Vec<f32>,
}

/// A sequence: how many positions are in its cache, and how many rows follow.
#[derive(Clone, Copy, Debug)]
struct Sequence {
    before: usize,
    rows: usize,
}

/// A batch: what a device has before, and what it must have and give after.
struct Batch {
    layer: Layers,
    table: Vec<u32>,
    vectors: Vec<f32>,
    /// A row before the first is no numbers.
    projected: Vec<f32>,
    stride: usize,
    rows: usize,
    last: usize,
    blocks: usize,
    keys: Vec<u32>,
    values: Vec<u32>,
    keys_after: Vec<u32>,
    values_after: Vec<u32>,
    /// `[rows, heads, head_dim]`
    out: Vec<f32>,
}

/// Elements of a projected row.
fn projected_width(config: &AttentionConfig) -> usize {
    config.projected_query_dim() + 2 * config.key_dim()
}

impl Batch {
    fn new(
        (num_heads, num_kv_heads, head_dim, rotary_dim, output_gate, qk_norm): Shape,
        sequences: &[Sequence],
        seed: u64,
    ) -> Self {
        let rope = RopeConfig::unscaled(rotary_dim, 1e4);
        let config = AttentionConfig { num_heads, num_kv_heads, head_dim, output_gate, qk_norm, rope };
        let layer = Layers { q_norm: noise(seed ^ 1, head_dim), k_norm: noise(seed ^ 2, head_dim), config };
        let width = projected_width(&layer.config);
        let stride = stride(width) + 32;
        let mut vectors = vec![poison(); 3];
        vectors.extend(&layer.q_norm);
        vectors.extend(&layer.k_norm);
        let mut batch = Self {
            layer,
            table: Vec::new(),
            vectors,
            projected: vec![poison(); stride],
            stride,
            rows: sequences.iter().map(|sequence| sequence.rows).sum(),
            last: sequences.iter().map(|sequence| sequence.before + sequence.rows - 1).max().unwrap_or(0),
            blocks: 0,
            keys: Vec::new(),
            values: Vec::new(),
            keys_after: Vec::new(),
            values_after: Vec::new(),
            out: Vec::new(),
        };
        batch.fill(sequences, seed);
        batch
    }

    fn fill(&mut self, sequences: &[Sequence], seed: u64) {
        let config = &self.layer.config;
        let AttentionConfig { num_heads: heads, num_kv_heads: kv_heads, head_dim, output_gate, qk_norm, .. } = *config;
        let rope = RopeTable::new(config.rope.frequencies().inverse, 1.0);
        let (rotary_dim, query_dim, kv_width) =
            (config.rope.rotary_dim, config.projected_query_dim(), config.key_dim());
        let blocks: usize = sequences.iter().map(|sequence| (sequence.before + sequence.rows).div_ceil(BLOCK)).sum();
        // A block is left over; those of a sequence go down and up again.
        let mut free: Vec<u32> = (0..=blocks as u32).collect();
        free.rotate_left(blocks / 2);
        let mut of_spans = vec![Vec::new()];
        self.blocks = blocks + 1;
        self.keys = vec![POISON; (blocks + 1) * kv_width * BLOCK];
        self.values = self.keys.clone();
        let mut after = [self.keys.clone(), self.values.clone()];
        let mut table = Table { rows: vec![[POISON; 3]], angles: vec![poison(); rotary_dim], ..Table::default() };
        table.spans = vec![[POISON; 4]; sequences.len() + 1];
        for ((span, sequence), seed) in (1..).zip(sequences).zip(seed..) {
            let total = sequence.before + sequence.rows;
            let taken: Vec<u32> = (0..total.div_ceil(BLOCK))
                .map(|index| if index % 2 == 0 { free.pop() } else { Some(free.remove(0)) }.expect("enough"))
                .collect();
            let mut cached = vec![KvBlock::new(CacheType::F32, kv_heads, head_dim); taken.len()];
            // What came before is keys that are done.
            let (keys, values) = (noise(seed ^ 3, total * kv_width), noise(seed ^ 4, total * kv_width));
            let positions: Vec<u32> = (sequence.before as u32..total as u32).collect();
            let angles = rope.angles(&positions);
            let mut queries = Vec::new();
            let mut gates = Vec::new();
            let mut new_keys = Vec::new();
            for (index, &position) in positions.iter().enumerate() {
                let mut row = noise(seed ^ (5 + u64::from(position) * 64), projected_width(config));
                row.iter_mut().for_each(|x| *x *= 4.0);
                for head in row[..query_dim].chunks(query_dim / heads) {
                    queries.extend(&head[..head_dim]);
                    gates.extend(&head[head_dim..]);
                }
                new_keys.extend(&row[query_dim..][..kv_width]);
                self.projected.extend(&row);
                self.projected.resize(self.projected.len() + self.stride - row.len(), poison());
                table.rows.push([POISON, position, span]);
                table.angles.extend(angles.row(index).concat());
            }
            if qk_norm {
                kernels::rms_norm_in_place(Isa::SCALAR, &mut queries, &self.layer.q_norm, EPS);
                kernels::rms_norm_in_place(Isa::SCALAR, &mut new_keys, &self.layer.k_norm, EPS);
            }
            kernels::rope(Isa::SCALAR, &mut queries, heads, head_dim, &angles);
            kernels::rope(Isa::SCALAR, &mut new_keys, kv_heads, head_dim, &angles);
            for position in 0..total {
                let new = position.checked_sub(sequence.before);
                let key = match new {
                    Some(row) => &new_keys[row * kv_width..],
                    None => &keys[position * kv_width..],
                };
                let value = match new {
                    Some(_) => {
                        let first = self.projected.len() - (total - position) * self.stride;
                        &self.projected[first + query_dim + kv_width..]
                    }
                    None => &values[position * kv_width..],
                };
                let (key, value) = (&key[..kv_width], &value[..kv_width]);
                cached[position / BLOCK].write(position % BLOCK, key, value);
                let (block, place) = (taken[position / BLOCK] as usize, position % BLOCK);
                for i in 0..kv_width {
                    let (head, dimension) = (i / head_dim, i % head_dim);
                    let key_at = ((block * kv_heads + head) * head_dim + dimension) * BLOCK + place;
                    let value_at = ((block * kv_heads + head) * BLOCK + place) * head_dim + dimension;
                    after[0][key_at] = key[i].to_bits();
                    after[1][value_at] = value[i].to_bits();
                    if new.is_none() {
                        self.keys[key_at] = key[i].to_bits();
                        self.values[value_at] = value[i].to_bits();
                    }
                }
            }
            let cached: Vec<Arc<KvBlock>> = cached.into_iter().map(Arc::new).collect();
            let mut out = vec![0.0; queries.len()];
            let shape = AttendShape { heads, kv_heads, head_dim };
            kernels::attend(Isa::SCALAR, shape, &queries, &cached, sequence.before, &mut out);
            if output_gate {
                kernels::sigmoid_gate(Isa::SCALAR, &mut out, head_dim, &gates, head_dim);
            }
            self.out.extend(out);
            of_spans.push(taken);
        }
        [self.keys_after, self.values_after] = after;
        table.layer = Layer::Blocks(of_spans);
        self.table = table.words();
    }

    fn out_stride(&self) -> usize {
        stride(self.layer.config.num_heads * self.layer.config.head_dim) + 32
    }

    fn q_norm(&self) -> u32 {
        3
    }

    fn k_norm(&self) -> u32 {
        3 + self.layer.config.head_dim as u32
    }

    /// Keys of new rows are close, all else as it was.
    fn check_cache(&self, keys: &[u32], values: &[u32], what: &str) {
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        for ((&key, &after), &before) in keys.iter().zip(&self.keys_after).zip(&self.keys) {
            if after == before {
                assert_eq!(key, before, "{what}: a key that is not of the rows");
            } else {
                found.push(f32::from_bits(key));
                expected.push(f32::from_bits(after).into());
            }
        }
        assert_close(&found, &expected, 1e-12, &format!("{what}: keys"));
        assert!(values == self.values_after, "{what}: values");
    }

    fn append(&self) -> Dispatch {
        let config = &self.layer.config;
        let params = [self.stride as u32, 1, LAYER, self.k_norm(), EPS.to_bits()];
        let grid = [config.num_kv_heads as u32, self.rows as u32, 1];
        Dispatch::new(Variant::append_kv(config), &params, grid)
            .words("table", self.table.clone())
            .floats("vectors", &self.vectors)
            .floats("projected", &self.projected)
            .words("keys", self.keys.clone())
            .words("values", self.values.clone())
    }

    /// Attention by so many workgroups to a context. A prompt's keys are in the cache already.
    fn attend(&self, appends: bool, parts: u32) -> Dispatch {
        let config = &self.layer.config;
        let (keys, values) = if appends { (&self.keys, &self.values) } else { (&self.keys_after, &self.values_after) };
        let numbers =
            [self.stride as u32, self.out_stride() as u32, 1, LAYER, self.q_norm(), self.k_norm(), EPS.to_bits()];
        let grid = [config.num_heads as u32, parts, self.rows as u32];
        let part = config.num_heads * MOST_PARTS * (config.head_dim + 2);
        Dispatch::new(Variant::attend(config, appends), &numbers, grid)
            .words("table", self.table.clone())
            .floats("vectors", &self.vectors)
            .floats("projected", &self.projected)
            .words("keys", keys.clone())
            .words("values", values.clone())
            .floats("out", &vec![poison(); (self.rows + 1) * self.out_stride()])
            .floats("parts", &vec![poison(); self.rows * part])
    }

    fn combine(&self, out: &[u32], parts: &[u32]) -> Dispatch {
        let config = &self.layer.config;
        let params = [self.stride as u32, self.out_stride() as u32, 1];
        Dispatch::new(Variant::combine(config), &params, [config.num_heads as u32, self.rows as u32, 1])
            .words("table", self.table.clone())
            .floats("projected", &self.projected)
            .words("parts", parts.to_vec())
            .words("out", out.to_vec())
    }

    /// What heads read, in both ways to run shaders.
    fn read(&self, context: &GpuContext, appends: bool, parts: u32, what: &str) -> [Vec<f32>; 2] {
        [true, false].map(|checks| {
            let found = self.attend(appends, parts).run_once(context, checks);
            if appends {
                self.check_cache(found.words("keys"), found.words("values"), what);
            } else {
                assert!(found.words("keys") == self.keys_after && found.words("values") == self.values_after, "{what}");
            }
            let mut out = found.words("out").to_vec();
            if parts > 1 {
                let combined = self.combine(&out, found.words("parts")).run_once(context, checks);
                out = combined.words("out").to_vec();
            }
            let width = self.layer.config.num_heads * self.layer.config.head_dim;
            let mut taken = Vec::new();
            for (index, row) in floats(&out).chunks(self.out_stride()).enumerate() {
                let (values, padding) = row.split_at(if index == 0 { 0 } else { width });
                taken.extend(values);
                assert!(padding.iter().all(|value| value.to_bits() == POISON), "{what}: row {index} beyond its end");
            }
            taken
        })
    }

    fn check(&self, context: &GpuContext, appends: bool, what: &str) {
        let expected: Vec<f64> = self.out.iter().map(|&x| x.into()).collect();
        for found in self.read(context, appends, parts_of(self.last as u32), what) {
            assert_close(&found, &expected, BOUND, what);
        }
    }
}

fn contexts(positions: &[usize]) -> Vec<Sequence> {
    positions.iter().map(|&positions| Sequence { before: positions - 1, rows: 1 }).collect()
}

pub fn append_kv_fills_the_cache(context: &GpuContext) {
    for shape in SHAPES {
        let batch = Batch::new(shape, &[Sequence { before: 0, rows: 40 }, Sequence { before: 31, rows: 2 }], 1);
        for found in batch.append().run(context) {
            batch.check_cache(found.words("keys"), found.words("values"), &format!("{shape:?}"));
        }
    }
}

pub fn attend_reads_the_cache(context: &GpuContext) {
    for shape in SHAPES {
        let single = Batch::new(shape, &contexts(&[1, 31, 32, 33, 127, 128]), 2);
        single.check(context, true, &format!("decode of {shape:?}"));
        let prompt = Batch::new(shape, &[Sequence { before: 0, rows: 40 }, Sequence { before: 95, rows: 33 }], 3);
        prompt.check(context, false, &format!("prompt of {shape:?}"));
    }
}

/// Long contexts beside short ones, which have one part and are done before.
pub fn combine_puts_parts_together(context: &GpuContext) {
    for shape in SHAPES {
        // 5000 positions are two tiles for each part.
        let single = Batch::new(shape, &contexts(&[1, 128, 129, 300, 5000]), 4);
        single.check(context, true, &format!("long decode of {shape:?}"));
        let sequences = [Sequence { before: 126, rows: 5 }, Sequence { before: 4990, rows: 3 }];
        Batch::new(shape, &sequences, 5).check(context, false, &format!("long prompt of {shape:?}"));
    }
}

#[test]
fn attention_does_not_depend_on_who_else_is_in_the_step() {
    let Some(context) = context() else { return };
    let width = |batch: &Batch| batch.layer.config.num_heads * batch.layer.config.head_dim;
    for positions in [[128, 300], [129, 5000]] {
        let both = Batch::new(SHAPES[0], &contexts(&positions), 6);
        let alone = Batch::new(SHAPES[0], &contexts(&positions[..1]), 6);
        let [_, together] = both.read(&context, true, parts_of(both.last as u32), "together");
        // Workgroups beyond those that a context needs change nothing.
        for parts in [parts_of(alone.last as u32), 32] {
            let [_, found] = alone.read(&context, true, parts, "alone");
            assert_same_bits(&found, &together[..width(&both)], &format!("{positions:?} in {parts} parts"));
        }
    }
}

#[test]
fn scores_far_apart_leave_the_largest() {
    let Some(context) = context() else { return };
    let mut batch = Batch::new(SHAPES[0], &contexts(&[140]), 7);
    let head_dim = batch.layer.config.head_dim;
    // Scores of many thousands, of which one is the largest: its value is what is read. It is in the second part, so far
    // above the first that no exponential holds the difference.
    let per_block = batch.keys.len() / batch.blocks;
    let last = batch.keys.iter().zip(&batch.keys_after).position(|(before, after)| before != after);
    let last = last.expect("a new key") / per_block;
    for (index, block) in batch.keys.chunks_mut(per_block).enumerate() {
        for word in block.iter_mut().filter(|word| **word != POISON) {
            *word = (f32::from_bits(*word) * if index == last { 1e7 } else { 1e5 }).to_bits();
        }
    }
    for found in batch.attend(true, 2).run(&context) {
        let combined = batch.combine(found.words("out"), found.words("parts")).run_once(&context, true);
        let out = combined.floats("out");
        let row = &out[batch.out_stride()..][..head_dim];
        let gate = &batch.projected[batch.stride + head_dim..][..head_dim];
        let read: Vec<f32> = row.iter().zip(gate).map(|(x, gate)| x * (1.0 + (-gate).exp())).collect();
        let values = floats(&batch.values_after);
        let is_read = |value: &&[f32]| value.iter().zip(&read).all(|(value, read)| (value - read).abs() < 1e-3);
        assert!(values.chunks(head_dim).any(|value| is_read(&value)), "{read:?} is nobody's value");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_contexts_are_read(
        shape in prop::sample::select(SHAPES.to_vec()),
        sequences in prop::collection::vec((0..700_usize, 1..5_usize), 1..4), decodes: bool, seed in 0..1_u64 << 40,
    ) {
        if let Some(context) = context() {
            let sequences: Vec<Sequence> = sequences
                .into_iter()
                .map(|(before, rows)| Sequence { before, rows: if decodes { 1 } else { rows } })
                .collect();
            let batch = Batch::new(shape, &sequences, seed);
            let what = format!("{sequences:?} of {shape:?}");
            if !decodes {
                let found = batch.append().run_once(&context, false);
                batch.check_cache(found.words("keys"), found.words("values"), &what);
            }
            batch.check(&context, decodes, &what);
        }
    }
}
