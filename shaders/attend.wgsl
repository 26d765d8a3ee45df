// Attention of one query head of one row over its sequence's cache, up to its own position. Keys are taken 128 at a time,
// one a thread; long contexts are shared by up to 32 workgroups, whose parts combine puts together. How they are shared
// depends on the row's position alone.
//
// APPENDS: a decode step. The row's own key and value are not in the cache yet: all take them from the projection, and one
// head of each group puts them there.

struct Params {
    stride: u32,
    out_stride: u32,
    first: u32,
    layer: u32,
    q_norm: u32,
    k_norm: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> vectors: array<f32>;
@group(0) @binding(3) var<storage, read> projected: array<f32>;
@group(0) @binding(4) var<storage, read_write> keys: array<f32>;
@group(0) @binding(5) var<storage, read_write> values: array<f32>;
@group(0) @binding(6) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<storage, read_write> parts: array<f32>;

var<workgroup> own_key: array<f32, HEAD_DIM>;
var<workgroup> scores: array<f32, THREADS>;
var<workgroup> halves: array<f32, THREADS>;

const GROUP: u32 = HEADS / KV_HEADS;
// A lane holds every THREADS-th dimension.
const DIMS: u32 = (HEAD_DIM + THREADS - 1u) / THREADS;
// Less than any score, and finite.
const LOWEST: f32 = -3.0e38;

fn largest(value: f32, thread: u32) -> f32 {
    halves[thread] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half {
            halves[thread] = max(halves[thread], halves[thread + half]);
        }
        workgroupBarrier();
    }
    let found = halves[0];
    workgroupBarrier();
    return found;
}

fn total(value: f32, thread: u32) -> f32 {
    halves[thread] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half {
            halves[thread] += halves[thread + half];
        }
        workgroupBarrier();
    }
    let sum = halves[0];
    workgroupBarrier();
    return sum;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let query_head = group.x;
    let kv_head = query_head / GROUP;
    let row = params.first + group.z;
    let position = row_position(row);
    let span = row_span(row);
    let tiles = position / THREADS + 1u;
    let per_part = (tiles + MOST_PARTS - 1u) / MOST_PARTS;
    let used = (tiles + per_part - 1u) / per_part;
    let part = group.y;
    if part >= used {
        return;
    }
    let origin = row * params.stride;
    let own_from = origin + HEADS * QUERY_WIDTH + kv_head * HEAD_DIM;
    let own_value = own_from + KV_HEADS * HEAD_DIM;
    if APPENDS && part + 1u == used {
        load_head(row, own_from, params.k_norm, params.eps, thread);
        let block = block_of(params.layer, span, position);
        for (var i = thread; i < HEAD_DIM; i += THREADS) {
            own_key[i] = head[i];
            if query_head % GROUP == 0u {
                keys[key_at(block, kv_head, i, position % BLOCK)] = head[i];
                values[value_at(block, kv_head, i, position % BLOCK)] = projected[own_value + i];
            }
        }
        workgroupBarrier();
    }
    load_head(row, origin + query_head * QUERY_WIDTH, params.q_norm, params.eps, thread);

    var best = LOWEST;
    var sum = 0.0;
    var read: array<f32, DIMS>;
    let last_tile = min(tiles, (part + 1u) * per_part);
    for (var tile = part * per_part; tile < last_tile; tile++) {
        let key = tile * THREADS + thread;
        var score = LOWEST;
        if key <= position {
            score = 0.0;
            if APPENDS && key == position {
                for (var i = 0u; i < HEAD_DIM; i++) {
                    score = fma(head[i], own_key[i], score);
                }
            } else {
                let at = key_at(block_of(params.layer, span, key), kv_head, 0u, key % BLOCK);
                for (var i = 0u; i < HEAD_DIM; i++) {
                    score = fma(head[i], keys[at + i * BLOCK], score);
                }
            }
            score = score / sqrt(f32(HEAD_DIM));
        }
        let tile_best = max(best, largest(score, thread));
        let weight = select(0.0, exp(score - tile_best), key <= position);
        scores[thread] = weight;
        let shrink = select(exp(best - tile_best), 1.0, best == tile_best);
        sum = sum * shrink + total(weight, thread);
        best = tile_best;
        let here = min(THREADS, position + 1u - tile * THREADS);
        for (var d = 0u; d < DIMS; d++) {
            read[d] *= shrink;
        }
        for (var block_start = 0u; block_start < here; block_start += BLOCK) {
            let block = block_of(params.layer, span, tile * THREADS + block_start);
            for (var j = block_start; j < min(here, block_start + BLOCK); j++) {
                let is_own = APPENDS && tile * THREADS + j == position;
                for (var d = 0u; d < DIMS; d++) {
                    let i = min(d * THREADS + thread, HEAD_DIM - 1u);
                    var value: f32;
                    if is_own {
                        value = projected[own_value + i];
                    } else {
                        value = values[value_at(block, kv_head, i, j % BLOCK)];
                    }
                    read[d] = fma(scores[j], value, read[d]);
                }
            }
        }
        workgroupBarrier();
    }
    for (var d = 0u; d < DIMS; d++) {
        let i = d * THREADS + thread;
        if i < HEAD_DIM {
            if used == 1u {
                var mean = read[d] / sum;
                if GATED {
                    mean *= sigmoid(projected[origin + query_head * QUERY_WIDTH + HEAD_DIM + i]);
                }
                out[row * params.out_stride + query_head * HEAD_DIM + i] = mean;
            } else {
                let at = ((group.z * HEADS + query_head) * MOST_PARTS + part) * (HEAD_DIM + 2u);
                parts[at + i] = read[d];
                if i == 0u {
                    parts[at + HEAD_DIM] = best;
                    parts[at + HEAD_DIM + 1u] = sum;
                }
            }
        }
    }
}
