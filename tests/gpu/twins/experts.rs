//! Routing to experts, and what becomes of what they make.

use loquent::checkpoint::MoeConfig;
use loquent::cpu::Isa;
use loquent::cpu::kernels::{self, Mixed, Pick, Shared};
use loquent::gpu::GpuContext;
use loquent::gpu::plan::stride;
use loquent::gpu::variant::Variant;

use crate::harness::{Dispatch, POISON, assert_close, assert_same_bits, noise, poison, strided};

fn settings(num_experts: usize, num_experts_per_tok: usize, norm_topk_prob: bool, has_shared: bool) -> MoeConfig {
    MoeConfig {
        num_experts,
        num_experts_per_tok,
        intermediate_size: 1,
        shared_expert_intermediate_size: has_shared.then_some(1),
        norm_topk_prob,
        layers: Vec::new(),
    }
}

fn picks_agree(context: &GpuContext, moe: &MoeConfig, logits: &[f32]) {
    let (experts, per_row) = (moe.num_experts, moe.num_experts_per_tok);
    let rows = logits.len() / experts;
    let mut expected = Vec::new();
    kernels::pick_experts(logits, experts, per_row, moe.norm_topk_prob, &mut expected);
    // The logit of the share of all rows' expert lies behind those of the others.
    let apart = stride(experts + 1);
    let dispatch = Dispatch::new(Variant::pick_experts(moe), &[apart as u32], [rows as u32, 1, 1])
        .floats("logits", &strided(logits, experts, apart))
        .words("picks", vec![POISON; 2 * rows * per_row + 2]);
    for found in dispatch.run(context) {
        let (picks, after) = found.words("picks").split_at(2 * rows * per_row);
        assert_eq!(after, [POISON; 2], "picks after the last");
        let (which, shares): (Vec<u32>, Vec<f32>) =
            picks.chunks(2).map(|pick| (pick[0], f32::from_bits(pick[1]))).unzip();
        assert_eq!(which, expected.iter().map(|pick| pick.expert).collect::<Vec<_>>(), "{moe:?}");
        if logits.iter().all(|logit| logit.is_finite()) {
            let expected: Vec<f64> = expected.iter().map(|pick| pick.weight.into()).collect();
            assert_close(&shares, &expected, 1e-12, &format!("{moe:?}"));
        }
    }
}

pub fn pick_experts_picks(context: &GpuContext) {
    for (experts, per_row, normalised) in
        [(1, 1, true), (8, 3, false), (33, 33, true), (128, 8, false), (256, 8, true), (1024, 10, true)]
    {
        let logits: Vec<f32> = noise(experts as u64, 3 * experts).iter().map(|x| 10.0 * x).collect();
        picks_agree(context, &settings(experts, per_row, normalised, false), &logits);
    }
    // Equals, and what is no number.
    let mut logits = vec![1.0; 40];
    (logits[3], logits[20], logits[37]) = (f32::NAN, 2.0, 2.0);
    picks_agree(context, &settings(40, 5, true, false), &logits);
    picks_agree(context, &settings(40, 40, true, false), &logits);
}

fn sums_agree(context: &GpuContext, per_row: usize, rows: usize, width: usize, has_shared: bool) {
    let made = noise(1, rows * per_row * width);
    let picks: Vec<Pick> = noise(2, rows * per_row).into_iter().map(|weight| Pick { expert: 7, weight }).collect();
    let before = noise(3, rows * width);
    let (gates, through_all) = (noise(4, rows), noise(5, rows * width));
    let (gate, apart) = (20, stride(21));
    let mut logits = vec![poison(); rows * apart];
    logits.chunks_mut(apart).zip(&gates).for_each(|(row, &logit)| row[gate] = logit);
    let places: Vec<u32> = (0..picks.len() as u32).collect();
    let mut expected = before.clone();
    let shared = has_shared.then_some(Shared { gates: &gates, made: &through_all });
    let mixed = Mixed { picks: &picks, places: &places, made: &made, shared };
    kernels::add_experts(Isa::SCALAR, &mut expected, width, mixed);

    let params = [width, stride(width), apart, gate].map(|number| number as u32);
    let grid = [width.div_ceil(64) as u32, rows as u32, 1];
    let variant = Variant::add_experts(&settings(32, per_row, true, has_shared));
    let dispatch = Dispatch::new(variant, &params, grid)
        .words("picks", picks.iter().flat_map(|pick| [POISON, pick.weight.to_bits()]).collect())
        .floats("made", &strided(&made, width, stride(width)))
        .floats("logits", &logits)
        .floats("shared_made", &strided(&through_all, width, stride(width)))
        .floats("out", &strided(&before, width, stride(width)));
    for found in dispatch.run(context) {
        let found = found.floats("out");
        for (row, expected) in found.chunks(stride(width)).zip(expected.chunks(width)) {
            let expected: Vec<f64> = expected.iter().map(|&value| value.into()).collect();
            assert_close(&row[..width], &expected, 1e-12, "add_experts");
            assert_same_bits(&row[width..], &vec![poison(); stride(width) - width], "padding");
        }
    }
}

pub fn add_experts_adds(context: &GpuContext) {
    for (per_row, rows, width, has_shared) in
        [(1, 1, 1, false), (3, 2, 100, true), (8, 5, 64, false), (2, 70, 33, true)]
    {
        sums_agree(context, per_row, rows, width, has_shared);
    }
}
