// Products of a matrix with up to M rows at once: out[m] = W * x[m]. Each matrix row is summed by LANES lanes, and each
// lane works on ROWS of them, so that what it reads of x serves several.
//
// NORM: the rows are normalised first. The norm is factored: weights multiply x, and 1 / rms the sum.
// PAIRED: rows n and n + half belong together: silu(first) * second goes out.
// ADD: the sum is added to what is there.
// EXPERTS: every row has a matrix of its own, that of the expert that the table lists for it; M is 1.
// Every sum runs in the same order however many rows share the pass, so that none of its bits depends on the others.

struct Params {
    cols: u32,
    stride: u32,
    out_stride: u32,
    // Matrix rows to compute (pairs, if PAIRED), where the first is in the binding, and where it goes.
    rows: u32,
    skipped: u32,
    half: u32,
    out_first: u32,
    // The rows of x: which is first, and how many.
    first: u32,
    count: u32,
    norm: u32,
    eps: f32,
    // Where the rows to read are listed in the table, if they are: 0 if they are consecutive.
    listed: u32,
    // Of experts: the one whose matrix is first in the binding, how many of them are there, how many rows lie from one
    // matrix to the next, and how many of them share a row of x.
    first_expert: u32,
    experts: u32,
    expert_rows: u32,
    sharing: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> vectors: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

// Four inputs, zero beyond the last: what is there is anything.
fn inputs(row: u32, part: u32) -> vec4<f32> {
    let values = x[row * (params.stride / 4u) + part];
    let at = vec4<u32>(4u * part) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(0.0), values, at < vec4<u32>(params.cols));
}

fn scales(part: u32) -> vec4<f32> {
    let values = vectors[params.norm / 4u + part];
    let at = vec4<u32>(4u * part) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(0.0), values, at < vec4<u32>(params.cols));
}

var<workgroup> squares: array<f32, THREADS * M>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let lane = thread % LANES;
    let team = thread / LANES;
    // Rows beyond the last are computed like it, and not kept.
    var origin: array<u32, M>;
    for (var m = 0u; m < M; m++) {
        let row = min(group.z * M + m, params.count - 1u);
        origin[m] = params.first + row;
        if params.listed != 0u {
            origin[m] = table[table[3] + row];
        }
    }
    var matrix_start = params.skipped;
    if EXPERTS {
        // One that is in another binding counts from far above.
        let expert = table[2u * group.z] - params.first_expert;
        if expert >= params.experts {
            return;
        }
        matrix_start += expert * params.expert_rows;
        origin[0] = group.z / params.sharing;
    }
    let parts = (params.cols + 3u) / 4u;
    var inverse_rms: array<f32, M>;
    if NORM {
        for (var m = 0u; m < M; m++) {
            var sum = 0.0;
            for (var part = thread; part < parts; part += THREADS) {
                let values = inputs(origin[m], part);
                sum += dot(values, values);
            }
            squares[m * THREADS + thread] = sum;
        }
        workgroupBarrier();
        for (var m = 0u; m < M; m++) {
            var sum = 0.0;
            for (var i = 0u; i < THREADS; i++) {
                sum += squares[m * THREADS + i];
            }
            inverse_rms[m] = 1.0 / sqrt(sum / f32(params.cols) + params.eps);
        }
    }

    // Folded: a grid has at most 65 535 groups in a dimension.
    let index = group.y * FOLD + group.x;
    let blocks = (params.cols + 31u) / 32u;
    let step = select(ROWS, 1u, PAIRED);
    let first = (index * TEAMS + team) * step;
    var start: array<u32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        var row = min(first + r, params.rows - 1u);
        if PAIRED {
            row = min(first, params.rows - 1u) + r * params.half;
        }
        start[r] = (matrix_start + row) * blocks;
    }
    var sums: array<array<f32, M>, ROWS>;
    for (var block = lane; block < blocks; block += LANES) {
        var matrix: array<Block, ROWS>;
        var products: array<array<f32, M>, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            matrix[r] = load_block(start[r] + block);
        }
        var input_sums: array<f32, M>;
        for (var part = 0u; part < 8u; part++) {
            for (var m = 0u; m < M; m++) {
                var values = inputs(origin[m], 8u * block + part);
                if NORM {
                    values *= scales(8u * block + part);
                }
                input_sums[m] += dot(values, vec4<f32>(1.0));
                for (var r = 0u; r < ROWS; r++) {
                    products[r][m] += dot(quad(matrix[r], part), values);
                }
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            for (var m = 0u; m < M; m++) {
                sums[r][m] += weigh(matrix[r], products[r][m], input_sums[m]);
            }
        }
    }

    for (var r = 0u; r < ROWS; r++) {
        for (var m = 0u; m < M; m++) {
            stage((team * ROWS + r) * M + m, lane, sums[r][m]);
        }
    }
    workgroupBarrier();
    // The results of a team, dealt out among its lanes.
    for (var result = lane; result < step * M; result += LANES) {
        let r = result / M;
        let m = result % M;
        let to = group.z * M + m;
        if first + r >= params.rows || to >= params.count {
            continue;
        }
        var value = collect((team * ROWS + r) * M + m);
        if NORM {
            value *= inverse_rms[m];
        }
        if PAIRED {
            let second = collect((team * ROWS + 1u) * M + m) * select(1.0, inverse_rms[m], NORM);
            value = silu(value) * second;
        }
        let at = to * params.out_stride + params.out_first + first + r;
        if ADD {
            value += out[at];
        }
        out[at] = value;
    }
}
