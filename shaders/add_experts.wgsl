// What a row's experts made of it, each times its share, from the first to the last; and last, SHARED, what the expert that
// all rows go through made, times a share of its own: added to what is there.

struct Params {
    width: u32,
    stride: u32,
    // Of the router's logits, and where among them that of the share of all rows' expert is.
    logits_stride: u32,
    gate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> picks: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> made: array<f32>;
@group(0) @binding(3) var<storage, read> logits: array<f32>;
@group(0) @binding(4) var<storage, read> shared_made: array<f32>;
@group(0) @binding(5) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let column = 64u * group.x + thread;
    let row = group.y;
    if column >= params.width {
        return;
    }
    var sum = 0.0;
    for (var i = 0u; i < PICKED; i++) {
        let pick = row * PICKED + i;
        sum += bitcast<f32>(picks[pick].y) * made[pick * params.stride + column];
    }
    if SHARED {
        let gate = logits[row * params.logits_stride + params.gate];
        sum += sigmoid(gate) * shared_made[row * params.stride + column];
    }
    out[row * params.stride + column] += sum;
}
