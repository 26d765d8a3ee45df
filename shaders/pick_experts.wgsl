// A router's logits -> the experts that each row goes through, from the first to the last, and their shares: those of the
// largest logits, of equals the first, and what is no number last. One workgroup a row. An expert's rank is how many come
// before it, which every thread counts for itself.

struct Params {
    stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read_write> picks: array<vec2<u32>>;

const WORDS: u32 = (EXPERTS + 31u) / 32u;

var<workgroup> numbers: array<f32, 64>;
// A bit for each expert that is picked.
var<workgroup> picked: array<atomic<u32>, WORDS>;
var<workgroup> shares: array<f32, PICKED>;

fn ranked(logit: f32) -> f32 {
    let is_nan = (bitcast<u32>(logit) & 0x7fffffffu) > 0x7f800000u;
    return select(logit, -3.4e38, is_nan);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let start = group.x * params.stride;
    for (var word = thread; word < WORDS; word += 64u) {
        atomicStore(&picked[word], 0u);
    }
    var largest = -3.4e38;
    for (var i = thread; i < EXPERTS; i += 64u) {
        largest = max(largest, ranked(logits[start + i]));
    }
    numbers[thread] = largest;
    workgroupBarrier();
    for (var i = 0u; i < 64u; i++) {
        largest = max(largest, numbers[i]);
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = thread; i < EXPERTS; i += 64u) {
        let logit = logits[start + i];
        sum += exp(logit - largest);
        let own = ranked(logit);
        var rank = 0u;
        for (var j = 0u; j < EXPERTS; j++) {
            let other = ranked(logits[start + j]);
            rank += select(0u, 1u, other > own || (other == own && j < i));
        }
        if rank < PICKED {
            atomicOr(&picked[i / 32u], 1u << (i % 32u));
        }
    }
    numbers[thread] = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < 64u; i++) {
        sum += numbers[i];
    }
    for (var i = thread; i < EXPERTS; i += 64u) {
        let word = atomicLoad(&picked[i / 32u]);
        if (word >> (i % 32u) & 1u) == 1u {
            var place = countOneBits(word & ((1u << (i % 32u)) - 1u));
            for (var before = 0u; before < i / 32u; before++) {
                place += countOneBits(atomicLoad(&picked[before]));
            }
            let share = exp(logits[start + i] - largest) / sum;
            shares[place] = share;
            picks[group.x * PICKED + place] = vec2<u32>(i, bitcast<u32>(share));
        }
    }
    workgroupBarrier();
    if NORMALISED {
        var all = 0.0;
        for (var i = 0u; i < PICKED; i++) {
            all += shares[i];
        }
        for (var i = thread; i < PICKED; i += 64u) {
            picks[group.x * PICKED + i].y = bitcast<u32>(shares[i] / all);
        }
    }
}
