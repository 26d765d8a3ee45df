// Products of a matrix with many rows: out[m] = W * x[m], in tiles of 64 rows by 64 matrix rows. Of both, a block of 32
// columns at a time lies in workgroup memory (16 KiB), and each of 256 threads holds 4 by 4 sums. Every sum runs from the
// first column to the last, wherever its row lies in the tile.
//
// ADD: the sum is added to what is there.

struct Params {
    cols: u32,
    stride: u32,
    out_stride: u32,
    rows: u32,
    skipped: u32,
    out_first: u32,
    first: u32,
    count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const TILE: u32 = 64u;

var<workgroup> inputs: array<f32, 32u * TILE>;
var<workgroup> matrix: array<f32, 32u * TILE>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let blocks = (params.cols + 31u) / 32u;
    let across = thread % 16u;
    let down = thread / 16u;
    var sums: array<array<f32, 4>, 4>;
    for (var block = 0u; block < blocks; block++) {
        for (var i = thread; i < TILE * 8u; i += 256u) {
            let row = i / 8u;
            let part = i % 8u;
            let origin = min(group.y * TILE + row, params.count - 1u) + params.first;
            let column = 32u * block + 4u * part;
            let at = vec4<u32>(column) + vec4<u32>(0u, 1u, 2u, 3u);
            let loaded = x[origin * (params.stride / 4u) + column / 4u];
            let values = select(vec4<f32>(0.0), loaded, at < vec4<u32>(params.cols));
            let of_row = min(group.x * TILE + row, params.rows - 1u);
            let loaded_block = load_block((params.skipped + of_row) * blocks + block);
            let factors = weights(loaded_block, part);
            let to = 4u * part * TILE + row;
            inputs[to] = values.x;
            inputs[to + TILE] = values.y;
            inputs[to + 2u * TILE] = values.z;
            inputs[to + 3u * TILE] = values.w;
            matrix[to] = factors.x;
            matrix[to + TILE] = factors.y;
            matrix[to + 2u * TILE] = factors.z;
            matrix[to + 3u * TILE] = factors.w;
        }
        workgroupBarrier();
        for (var k = 0u; k < 32u; k++) {
            let at = k * TILE;
            let w = vec4<f32>(
                matrix[at + across], matrix[at + 16u + across], matrix[at + 32u + across], matrix[at + 48u + across]);
            for (var i = 0u; i < 4u; i++) {
                let value = inputs[at + 16u * i + down];
                for (var j = 0u; j < 4u; j++) {
                    sums[i][j] = fma(w[j], value, sums[i][j]);
                }
            }
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i++) {
        let row = group.y * TILE + 16u * i + down;
        for (var j = 0u; j < 4u; j++) {
            let column = group.x * TILE + 16u * j + across;
            if row < params.count && column < params.rows {
                let at = (params.first + row) * params.out_stride + params.out_first + column;
                if ADD {
                    out[at] += sums[i][j];
                } else {
                    out[at] = sums[i][j];
                }
            }
        }
    }
}
