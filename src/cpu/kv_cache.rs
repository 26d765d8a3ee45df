//! What is in an attention layer's cache on the CPU.

use super::Cpu;
use super::kernels::{CacheType, KV_BLOCK, KvBlock};
use crate::checkpoint::{AttentionConfig, ModelConfig};
use crate::world::cache::KvCache;

/// What the kernel reads is what the table has.
const _: () = assert!(KvCache::<Cpu>::BLOCK == KV_BLOCK);

/// The bytes of one block of an attention layer's cache.
#[must_use]
pub fn kv_block_bytes(config: &ModelConfig, cache_type: CacheType) -> u64 {
    KvBlock::bytes(cache_type, config.attention.num_kv_heads, config.attention.head_dim)
}

impl KvCache<Cpu> {
    /// Appends the keys and values of some positions, both `[positions, num_kv_heads, head_dim]`. New blocks keep them as
    /// `cache_type` says.
    ///
    /// # Panics
    /// If they are not whole positions, or not as wide as those before.
    pub fn append(&mut self, cache_type: CacheType, attention: &AttentionConfig, keys: &[f32], values: &[f32]) {
        let AttentionConfig { num_kv_heads, head_dim, .. } = *attention;
        let width = num_kv_heads * head_dim;
        assert!(keys.len() == values.len() && keys.len().is_multiple_of(width), "keys and values of whole positions");
        self.extend(
            keys.len() / width,
            || KvBlock::new(cache_type, num_kv_heads, head_dim),
            |block, places, first| {
                let rows = keys.chunks_exact(width).zip(values.chunks_exact(width)).skip(first);
                places.zip(rows).for_each(|(place, (keys, values))| block.write(place, keys, values));
            },
        );
    }

    /// The bytes of memory that its blocks take. Blocks that it shares are counted in full.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blocks().iter().map(|block| block.size() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::kernels::{AttendShape, Isa, attend};
    use super::*;
    use crate::checkpoint::{RopeConfig, RopeScaling};

    const ATTENTION: AttentionConfig = AttentionConfig {
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 20,
        output_gate: true,
        qk_norm: true,
        rope: RopeConfig { rotary_dim: 4, theta: 1e4, scaling: RopeScaling::Unscaled },
    };
    const SHAPE: AttendShape = AttendShape { heads: 4, kv_heads: 2, head_dim: 20 };

    /// Numbers that differ from seed to seed.
    fn numbers(seed: usize, count: usize) -> Vec<f32> {
        (0..count).map(|index| ((index * 31 + seed * 17) % 101) as f32 / 50.0 - 1.0).collect()
    }

    const TYPES: [CacheType; 2] = [CacheType::F16, CacheType::F32];

    /// Appends `count` positions that depend on `seed` and on where they are.
    fn append(cache_type: CacheType, cache: &mut KvCache<Cpu>, seed: usize, count: usize) {
        for position in cache.positions()..cache.positions() + count {
            let width = ATTENTION.num_kv_heads * ATTENTION.head_dim;
            let [keys, values] = [0, 1].map(|half| numbers(seed + 1000 * half + 7 * position, width));
            cache.append(cache_type, &ATTENTION, &keys, &values);
        }
    }

    fn cache(cache_type: CacheType, parts: &[(usize, usize)]) -> KvCache<Cpu> {
        let mut cache = KvCache::default();
        parts.iter().for_each(|&(seed, count)| append(cache_type, &mut cache, seed, count));
        cache
    }

    /// The bits of what a query at the last position reads.
    fn attended(cache: &KvCache<Cpu>) -> Vec<u32> {
        let queries = numbers(5, ATTENTION.num_heads * ATTENTION.head_dim);
        let mut out = vec![f32::NAN; queries.len()];
        attend(Isa::widest(), SHAPE, &queries, cache.blocks(), cache.positions() - 1, &mut out);
        out.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn positions_appended_together_are_those_appended_one_by_one() {
        for kept in TYPES {
            let width = ATTENTION.num_kv_heads * ATTENTION.head_dim;
            let one_by_one = cache(kept, &[(1, 100)]);
            let all = |half: usize| (0..100).flat_map(move |position| numbers(1 + 1000 * half + 7 * position, width));
            let [keys, values] = [0, 1].map(|half| all(half).collect::<Vec<_>>());
            let mut together = KvCache::<Cpu>::default();
            for rows in [0..3, 3..3, 3..32, 32..33, 33..97, 97..100] {
                let rows = rows.start * width..rows.end * width;
                together.append(kept, &ATTENTION, &keys[rows.clone()], &values[rows]);
            }
            assert_eq!(together.positions(), 100);
            assert_eq!(attended(&together), attended(&one_by_one));
        }
    }

    #[test]
    fn forks_go_their_own_ways_and_do_not_disturb_each_other() {
        for (kept, shared) in TYPES.into_iter().flat_map(|kept| [1, 31, 32, 33, 64, 70].map(|shared| (kept, shared))) {
            let mut original = cache(kept, &[(1, shared)]);
            let before = attended(&original);
            let mut fork = original.clone();
            append(kept, &mut fork, 2, 40);
            assert_eq!(attended(&original), before, "{shared}");
            append(kept, &mut original, 3, 40);
            assert_eq!(attended(&fork), attended(&cache(kept, &[(1, shared), (2, 40)])), "{shared}");
            assert_eq!(attended(&original), attended(&cache(kept, &[(1, shared), (3, 40)])), "{shared}");
            assert_ne!(attended(&original), attended(&fork));
        }
    }

    #[test]
    fn a_fork_shares_full_blocks_for_good_and_the_last_one_until_it_writes() {
        for kept in TYPES {
            let original = cache(kept, &[(1, 70)]);
            let mut fork = original.clone();
            let shared = |fork: &KvCache<Cpu>| {
                let pairs = original.blocks().iter().zip(fork.blocks());
                pairs.map(|(one, other)| Arc::ptr_eq(one, other)).collect::<Vec<_>>()
            };
            assert_eq!(shared(&fork), [true, true, true]);
            append(kept, &mut fork, 2, 1);
            assert_eq!(shared(&fork), [true, true, false]);
        }
    }

    #[test]
    fn a_cache_grows_without_moving_what_it_has() {
        let mut cache = cache(CacheType::F16, &[(1, 32)]);
        let first = Arc::as_ptr(&cache.blocks()[0]);
        append(CacheType::F16, &mut cache, 1, 2000);
        assert_eq!(Arc::as_ptr(&cache.blocks()[0]), first);
    }

    #[test]
    fn a_truncated_cache_is_as_if_it_had_never_been_longer() {
        let lengths = [(70, 70), (70, 65), (70, 64), (70, 33), (64, 1), (40, 0), (5, 9)];
        for (kept, (long, short)) in TYPES.into_iter().flat_map(|kept| lengths.map(|lengths| (kept, lengths))) {
            let mut truncated = cache(kept, &[(1, long)]);
            let untouched = truncated.clone();
            truncated.truncate(short);
            let short = short.min(long);
            assert_eq!(truncated.positions(), short);
            assert_eq!(truncated.bytes(), cache(kept, &[(1, short)]).bytes());
            append(kept, &mut truncated, 2, 50);
            assert_eq!(attended(&truncated), attended(&cache(kept, &[(1, short), (2, 50)])), "{long} to {short}");
            assert_eq!(attended(&untouched), attended(&cache(kept, &[(1, long)])), "the clone keeps all");
        }
    }

    #[test]
    fn bytes_are_those_of_whole_blocks() {
        for (kept, size) in TYPES.into_iter().zip([2, 4]) {
            let block = KvBlock::bytes(kept, ATTENTION.num_kv_heads, ATTENTION.head_dim);
            assert_eq!(block, 2 * 2 * 32 * 20 * size);
            let bytes = [0, 1, 32, 33].map(|positions| cache(kept, &[(1, positions)]).bytes());
            assert_eq!(bytes, [0, block, block, 2 * block]);
            assert_eq!(KvBlock::bytes(kept, usize::MAX, 256), u64::MAX);
        }
    }
}
