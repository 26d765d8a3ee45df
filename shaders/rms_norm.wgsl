// Rows normalised by their root mean square: out = x / rms * weight. One workgroup a row.

struct Params {
    cols: u32,
    stride: u32,
    first: u32,
    norm: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> vectors: array<f32>;
@group(0) @binding(2) var<storage, read> x: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

var<workgroup> squares: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let start = (params.first + group.x) * params.stride;
    var sum = 0.0;
    for (var i = thread; i < params.cols; i += 64u) {
        sum = fma(x[start + i], x[start + i], sum);
    }
    squares[thread] = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < 64u; i++) {
        sum += squares[i];
    }
    let inverse = 1.0 / sqrt(sum / f32(params.cols) + params.eps);
    for (var i = thread; i < params.cols; i += 64u) {
        out[start + i] = x[start + i] * inverse * vectors[params.norm + i];
    }
}
