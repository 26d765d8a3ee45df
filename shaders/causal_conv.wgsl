// The short convolution of every channel over time, for the rows of a prompt: projected queries, keys and values ->
// mixed. The decode step does this within delta_net. One thread a channel of a row.

struct Params {
    stride: u32,
    mixed_stride: u32,
    first: u32,
    layer: u32,
    taps: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> vectors: array<f32>;
@group(0) @binding(3) var<storage, read> projected: array<f32>;
@group(0) @binding(4) var<storage, read> inputs: array<f32>;
@group(0) @binding(5) var<storage, read_write> mixed: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let channel = 64u * group.x + thread;
    let row = params.first + group.y;
    if channel < CHANNELS {
        let index = row_span(row);
        let ring = table[layer_at(params.layer) + 3u * index + 2u];
        mixed[row * params.mixed_stride + channel] = convolve(load_span(index), ring, channel, row_position(row));
    }
}
