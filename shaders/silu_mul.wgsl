// The gate of the MLP: out = silu(gate) * up, from rows that hold both, one after the other.

struct Params {
    width: u32,
    stride: u32,
    out_stride: u32,
    first: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gate_up: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let column = 64u * group.x + thread;
    let row = params.first + group.y;
    if column < params.width {
        let at = row * params.stride + column;
        out[row * params.out_stride + column] = silu(gate_up[at]) * gate_up[at + params.width];
    }
}
