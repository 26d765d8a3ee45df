// Blocks of a pool -> other blocks of it, for a fork that is about to write. The table has pairs of from and to.

struct Params {
    // Words in a block.
    words: u32,
    pairs_at: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> pairs: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read_write> blocks: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let pair = pairs[params.pairs_at + group.y];
    for (var i = 256u * group.x + thread; i < params.words; i += 256u * WIDTH) {
        blocks[pair.y * params.words + i] = blocks[pair.x * params.words + i];
    }
}
