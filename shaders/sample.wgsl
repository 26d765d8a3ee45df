// Logits -> a token, or NONE where the largest is not finite or one is no number. One workgroup a row that picks. The steps
// are those of the sampler on the host: top-k, top-p, min-p in this order, and one random number.
//
// Thresholds are found by bisection over the bits of the logits, each step one pass over the row, so that nothing has to be
// sorted and any setting works on any vocabulary.

struct Params {
    vocab_size: u32,
    stride: u32,
    // How many of the step's logit rows came in earlier groups.
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> picks: array<u32>;

const NONE: u32 = 0xffffffffu;
// e^-30 and less is no candidate, as on the host.
const NEGLIGIBLE: f32 = 30.0;
// Of each row that picks: its row of logits, where its pick goes, temperature, top-k, top-p, min-p, and the random number.
const PICK: u32 = 7u;

var<workgroup> numbers: array<f32, 256>;
var<workgroup> indices: array<u32, 256>;

// Bits in the order of the numbers; both zeros are one.
fn ordered(value: f32) -> u32 {
    let bits = bitcast<u32>(select(value, 0.0, value == 0.0));
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn is_nan(value: f32) -> bool {
    return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u;
}

fn add_up(value: f32, thread: u32) -> f32 {
    numbers[thread] = value;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if thread < half {
            numbers[thread] += numbers[thread + half];
        }
        workgroupBarrier();
    }
    let sum = numbers[0];
    workgroupBarrier();
    return sum;
}

fn count_up(value: u32, thread: u32) -> u32 {
    indices[thread] = value;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if thread < half {
            indices[thread] += indices[thread + half];
        }
        workgroupBarrier();
    }
    let sum = indices[0];
    workgroupBarrier();
    return sum;
}

// Whether a token is a candidate: of those that reach the threshold and no more, the first ones are.
fn is_kept(logit: f32, token: u32, lowest: u32, until: u32) -> bool {
    let bits = ordered(logit);
    return bits > lowest || (bits == lowest && token < until);
}

// The least token before which `wanted` tokens have the logit of `bits`; the end of the vocabulary if there are not as many.
fn until_tie(start: u32, bits: u32, wanted: u32, thread: u32) -> u32 {
    var low = 0u;
    var high = params.vocab_size;
    while low < high {
        let middle = low + (high - low) / 2u;
        var count = 0u;
        for (var i = thread; i < middle; i += 256u) {
            count += select(0u, 1u, ordered(logits[start + i]) == bits);
        }
        if count_up(count, thread) >= wanted {
            high = middle;
        } else {
            low = middle + 1u;
        }
    }
    return low;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let pick = table[4] + PICK * (params.first + group.x);
    let start = table[pick] * params.stride;
    let to = table[pick + 1u];
    let temperature = bitcast<f32>(table[pick + 2u]);
    let top_k = table[pick + 3u];
    let top_p = bitcast<f32>(table[pick + 4u]);
    let min_p = bitcast<f32>(table[pick + 5u]);
    let random = bitcast<f32>(table[pick + 6u]);

    // The first of the largest.
    var best = -3.4e38;
    var best_index = NONE;
    var broken = 0u;
    for (var i = thread; i < params.vocab_size; i += 256u) {
        let logit = logits[start + i];
        broken |= select(0u, 1u, is_nan(logit));
        if logit > best || best_index == NONE {
            best = logit;
            best_index = i;
        }
    }
    numbers[thread] = best;
    indices[thread] = best_index;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if thread < half {
            let other = numbers[thread + half];
            let other_index = indices[thread + half];
            let is_more = other > numbers[thread] || (other == numbers[thread] && other_index < indices[thread]);
            // A thread that had no token has no say: the largest may be less than what it began with.
            if other_index != NONE && (indices[thread] == NONE || is_more) {
                numbers[thread] = other;
                indices[thread] = other_index;
            }
        }
        workgroupBarrier();
    }
    best = numbers[0];
    best_index = indices[0];
    workgroupBarrier();
    let any_broken = count_up(broken, thread);
    let infinite = (bitcast<u32>(best) & 0x7fffffffu) >= 0x7f800000u;
    if any_broken > 0u || infinite || temperature == 0.0 {
        if thread == 0u {
            picks[to] = select(best_index, NONE, any_broken > 0u || infinite);
        }
        return;
    }

    // Candidates are the logits whose ordered bits are above `lowest`; of those that are just there, tokens before `until`.
    var until = params.vocab_size;
    var lowest = ordered(best - NEGLIGIBLE * temperature);
    let highest = ordered(best);
    if top_k > 0u && top_k < params.vocab_size {
        var low = lowest;
        var high = highest;
        // The largest threshold that as many reach.
        while low < high {
            let middle = low + (high - low + 1u) / 2u;
            var count = 0u;
            for (var i = thread; i < params.vocab_size; i += 256u) {
                count += select(0u, 1u, ordered(logits[start + i]) >= middle);
            }
            if count_up(count, thread) >= top_k {
                low = middle;
            } else {
                high = middle - 1u;
            }
        }
        lowest = low;
        var above = 0u;
        var level = 0u;
        for (var i = thread; i < params.vocab_size; i += 256u) {
            let bits = ordered(logits[start + i]);
            above += select(0u, 1u, bits > lowest);
            level += select(0u, 1u, bits == lowest);
        }
        let left = top_k - min(count_up(above, thread), top_k);
        if count_up(level, thread) > left {
            until = until_tie(start, lowest, left, thread);
        }
    }
    if top_p < 1.0 {
        var all = 0.0;
        for (var i = thread; i < params.vocab_size; i += 256u) {
            let logit = logits[start + i];
            if is_kept(logit, i, lowest, until) {
                all += exp((logit - best) / temperature);
            }
        }
        let wanted = add_up(all, thread) * top_p;
        var low = lowest;
        var high = highest;
        while low < high {
            let middle = low + (high - low + 1u) / 2u;
            var sum = 0.0;
            for (var i = thread; i < params.vocab_size; i += 256u) {
                let logit = logits[start + i];
                if ordered(logit) >= middle {
                    sum += exp((logit - best) / temperature);
                }
            }
            if add_up(sum, thread) >= wanted {
                low = middle;
            } else {
                high = middle - 1u;
            }
        }
        until = select(params.vocab_size, until, low == lowest);
        lowest = low;
        var above = 0.0;
        var level = 0u;
        for (var i = thread; i < params.vocab_size; i += 256u) {
            let logit = logits[start + i];
            let bits = ordered(logit);
            if bits > lowest {
                above += exp((logit - best) / temperature);
            }
            level += select(0u, 1u, bits == lowest);
        }
        // As many ties as it takes, but one at least.
        let value = bitcast<f32>(select(~lowest, lowest & 0x7fffffffu, lowest >= 0x80000000u));
        let ties = (wanted - add_up(above, thread)) / exp((value - best) / temperature);
        let left = u32(clamp(ceil(ties), 1.0, 1e9));
        if count_up(level, thread) > left {
            until = min(until, until_tie(start, lowest, left, thread));
        }
    }

    // The draw, in the order of the tokens: each thread has a run of them.
    let run = (params.vocab_size + 255u) / 256u;
    let first = thread * run;
    let end = min(first + run, params.vocab_size);
    var weight = 0.0;
    for (var i = first; i < end; i++) {
        let logit = logits[start + i];
        let each = exp((logit - best) / temperature);
        if is_kept(logit, i, lowest, until) && each >= min_p {
            weight += each;
        }
    }
    numbers[thread] = weight;
    workgroupBarrier();
    if thread == 0u {
        var sum = 0.0;
        for (var i = 0u; i < 256u; i++) {
            sum += numbers[i];
        }
        var left = random * sum;
        // The run that the number falls into; rounding can leave a hair after the last.
        var chosen = best_index / run;
        var within = left;
        for (var i = 0u; i < 256u; i++) {
            if numbers[i] > 0.0 {
                chosen = i;
                within = left;
                if left < numbers[i] {
                    break;
                }
                left -= numbers[i];
            }
        }
        var token = best_index;
        for (var i = chosen * run; i < min((chosen + 1u) * run, params.vocab_size); i++) {
            let logit = logits[start + i];
            let each = exp((logit - best) / temperature);
            // What has no weight is not what a hair is left for.
            if is_kept(logit, i, lowest, until) && each >= min_p && each > 0.0 {
                token = i;
                within -= each;
                if within < 0.0 {
                    break;
                }
            }
        }
        picks[to] = token;
    }
}
