// The keys and values of a prompt's rows -> the cache: keys normalised, if the model does so, and rotated. A decode step does
// this within attend. One workgroup a key head of a row. Projected rows are [heads, query and, where there is one, gate],
// keys, values.

struct Params {
    stride: u32,
    first: u32,
    layer: u32,
    norm: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> vectors: array<f32>;
@group(0) @binding(3) var<storage, read> projected: array<f32>;
@group(0) @binding(4) var<storage, read_write> keys: array<f32>;
@group(0) @binding(5) var<storage, read_write> values: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = params.first + group.y;
    let start = row * params.stride + HEADS * QUERY_WIDTH + group.x * HEAD_DIM;
    load_head(row, start, params.norm, params.eps, thread);
    let position = row_position(row);
    let block = block_of(params.layer, row_span(row), position);
    for (var i = thread; i < HEAD_DIM; i += THREADS) {
        keys[key_at(block, group.x, i, position % BLOCK)] = head[i];
        values[value_at(block, group.x, i, position % BLOCK)] = projected[start + KV_HEADS * HEAD_DIM + i];
    }
}
