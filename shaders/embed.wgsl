// Each row's token -> its row of the embedding matrix, as [rows, hidden]. One workgroup a row.
// A token with its highest bit set is the place of a token that was picked on the device.

struct Params {
    hidden: u32,
    stride: u32,
    // The rows of the matrix that are bound, and how many come before the first in the binding.
    first_token: u32,
    tokens: u32,
    skipped: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> picks: array<u32>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = group.x;
    var token = row_token(row);
    if (token & 0x80000000u) != 0u {
        token = picks[token & 0x7fffffffu];
    }
    // Another part of a matrix that is split has the others. What is no number of a token (a pick that is not finite)
    // leaves the row as it was: nobody will ask what came of it.
    if token < params.first_token || token - params.first_token >= params.tokens {
        return;
    }
    let blocks = (params.hidden + 31u) / 32u;
    let first = (params.skipped + token - params.first_token) * blocks;
    for (var i = thread; i < params.stride / 4u; i += 64u) {
        out[row * (params.stride / 4u) + i] = weights(load_block(first + i / 8u), i % 8u);
    }
}
