// The parts of attention over a long context -> what the head reads, gated if it has a gate. One workgroup a query head of a row; rows
// whose context has one part are done already.

struct Params {
    stride: u32,
    out_stride: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> projected: array<f32>;
@group(0) @binding(3) var<storage, read> parts: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let query_head = group.x;
    let row = params.first + group.y;
    let tiles = row_position(row) / THREADS + 1u;
    let per_part = (tiles + MOST_PARTS - 1u) / MOST_PARTS;
    let used = (tiles + per_part - 1u) / per_part;
    if used == 1u {
        return;
    }
    let start = (group.y * HEADS + query_head) * MOST_PARTS * (HEAD_DIM + 2u);
    var best = parts[start + HEAD_DIM];
    for (var part = 1u; part < used; part++) {
        best = max(best, parts[start + part * (HEAD_DIM + 2u) + HEAD_DIM]);
    }
    var sum = 0.0;
    for (var part = 0u; part < used; part++) {
        let at = start + part * (HEAD_DIM + 2u);
        sum = fma(parts[at + HEAD_DIM + 1u], exp(parts[at + HEAD_DIM] - best), sum);
    }
    for (var i = thread; i < HEAD_DIM; i += THREADS) {
        var read = 0.0;
        for (var part = 0u; part < used; part++) {
            let at = start + part * (HEAD_DIM + 2u);
            read = fma(parts[at + i], exp(parts[at + HEAD_DIM] - best), read);
        }
        var mean = read / sum;
        if GATED {
            mean *= sigmoid(projected[row * params.stride + query_head * QUERY_WIDTH + HEAD_DIM + i]);
        }
        out[row * params.out_stride + query_head * HEAD_DIM + i] = mean;
    }
}
