//! Attention against its definition, and its bits against each other.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::cpu::kernels::halves::round_to_half;
use crate::cpu::kernels::kv_block::CacheType;
use crate::cpu::kernels::testing::{assert_close, assert_same_bits, noise, on_threads};

struct Case {
    shape: AttendShape,
    queries: Vec<f32>,
    /// `[positions, kv_heads, head_dim]`
    keys: Vec<f32>,
    values: Vec<f32>,
    first: usize,
}

impl Case {
    fn new(shape: AttendShape, first: usize, rows: usize, seed: u64) -> Self {
        let cache = |seed: u64| noise(seed, (first + rows) * shape.kv_heads * shape.head_dim);
        Self {
            shape,
            // Large enough that some positions stand out.
            queries: noise(seed, rows * shape.heads * shape.head_dim).iter().map(|x| 6.0 * x).collect(),
            keys: cache(seed ^ 0x100),
            values: cache(seed ^ 0x200),
            first,
        }
    }

    /// The cache, with what must not be read in the places after the last position.
    fn blocks(&self, cache_type: CacheType) -> Vec<Arc<KvBlock>> {
        let width = self.shape.kv_heads * self.shape.head_dim;
        let poison = vec![f32::NAN; width];
        let parts = self.keys.chunks(KV_BLOCK * width).zip(self.values.chunks(KV_BLOCK * width));
        let block = |(keys, values): (&[f32], &[f32])| {
            let mut block = KvBlock::new(cache_type, self.shape.kv_heads, self.shape.head_dim);
            let rows = keys.chunks(width).zip(values.chunks(width)).chain(std::iter::repeat((&*poison, &*poison)));
            rows.take(KV_BLOCK).enumerate().for_each(|(place, (keys, values))| block.write(place, keys, values));
            Arc::new(block)
        };
        parts.map(block).collect()
    }

    /// The outputs of calls of `part` rows over a cache in single precision.
    fn run(&self, isa: Isa, part: usize) -> Vec<f32> {
        self.run_over(&self.blocks(CacheType::F32), isa, part)
    }

    fn run_over(&self, blocks: &[Arc<KvBlock>], isa: Isa, part: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.queries.len()];
        let part_len = part * self.shape.heads * self.shape.head_dim;
        for (i, out) in out.chunks_mut(part_len).enumerate() {
            let queries = &self.queries[i * part_len..][..out.len()];
            attend(isa, self.shape, queries, blocks, self.first + i * part, out);
        }
        out
    }

    /// The same, with the keys and values that half precision has for these.
    fn rounded(&self) -> Self {
        let rounded = |numbers: &[f32]| {
            let mut halves = vec![f16::ZERO; numbers.len()];
            round_to_half(numbers, &mut halves);
            halves.iter().map(|half| half.to_f32()).collect()
        };
        let (keys, values) = (rounded(&self.keys), rounded(&self.values));
        Self { queries: self.queries.clone(), keys, values, ..*self }
    }

    fn of_head<'a>(&self, cache: &'a [f32], kv_head: usize) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        cache.chunks(self.shape.head_dim).skip(kv_head).step_by(self.shape.kv_heads)
    }

    /// The definition in f64.
    fn naive(&self) -> Vec<f64> {
        let n = self.shape.head_dim;
        let mut out = Vec::new();
        for (i, q) in self.queries.chunks(n).enumerate() {
            let (row, head) = (i / self.shape.heads, i % self.shape.heads);
            let kv_head = head / self.shape.group();
            let seen = self.first + row + 1;
            let scores: Vec<f64> = self
                .of_head(&self.keys, kv_head)
                .take(seen)
                .map(|k| q.iter().zip(k).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>() / (n as f64).sqrt())
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - max).exp()).sum();
            let mut mean = vec![0.0; n];
            for (score, v) in scores.iter().zip(self.of_head(&self.values, kv_head)) {
                let share = (score - max).exp() / sum;
                mean.iter_mut().zip(v).for_each(|(mean, &v)| *mean += share * f64::from(v));
            }
            out.extend(mean);
        }
        out
    }
}

fn shapes() -> impl Strategy<Value = AttendShape> {
    (1..4_usize, 1..8_usize, 1..90_usize).prop_map(|(kv_heads, group, head_dim)| AttendShape {
        heads: kv_heads * group,
        kv_heads,
        head_dim,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn agrees_with_f64_on_every_isa_and_split(
        shape in shapes(), first in 0..80_usize, rows in 0..24_usize, part in 1..8_usize, seed in 0..1_u64 << 60
    ) {
        let case = Case::new(shape, first, rows, seed);
        let out = case.run(Isa::SCALAR, 24);
        assert_close(&out, &case.naive(), 4e-6);
        for isa in Isa::available() {
            assert_same_bits(&case.run(isa, part), &out);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn half_precision_is_single_precision_over_rounded_keys_and_values(
        shape in shapes(), first in 0..80_usize, rows in 0..24_usize, part in 1..8_usize, seed in 0..1_u64 << 60
    ) {
        let case = Case::new(shape, first, rows, seed);
        let out = case.rounded().run(Isa::SCALAR, 24);
        let halves = case.blocks(CacheType::F16);
        for isa in Isa::available() {
            assert_same_bits(&case.run_over(&halves, isa, part), &out);
        }
    }
}

#[test]
fn threads_and_splits_change_nothing_over_several_segments() {
    let shape = AttendShape { heads: 4, kv_heads: 2, head_dim: 24 };
    for (first, rows) in [(0, 1100), (1500, 90), (SEGMENT - 3, 9)] {
        let case = Case::new(shape, first, rows, 5);
        let out = on_threads(1, || case.run(Isa::widest(), rows));
        assert_close(&out, &case.naive(), 4e-6);
        let halves = case.blocks(CacheType::F16);
        let of_halves = case.rounded().run(Isa::widest(), rows);
        for part in [rows, 7, 1] {
            assert_same_bits(&on_threads(3, || case.run(Isa::widest(), part)), &out);
            assert_same_bits(&on_threads(3, || case.run_over(&halves, Isa::widest(), part)), &of_halves);
        }
    }
}
