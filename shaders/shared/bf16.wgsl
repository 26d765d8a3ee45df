// Weights in bfloat16, the upper half of a single, 32 to a block, rows filled up with zeros.

struct Block {
    start: u32,
}

fn load_block(index: u32) -> Block {
    return Block(4u * index);
}

fn quad(block: Block, part: u32) -> vec4<f32> {
    let eight = codes[block.start + part / 2u];
    let pairs = select(eight.xy, eight.zw, part % 2u == 1u);
    let low = bitcast<vec2<f32>>(pairs << vec2<u32>(16u));
    let high = bitcast<vec2<f32>>(pairs & vec2<u32>(0xffff0000u));
    return vec4<f32>(low.x, high.x, low.y, high.y);
}

fn weigh(block: Block, product: f32, sum: f32) -> f32 {
    return product;
}

fn weights(block: Block, part: u32) -> vec4<f32> {
    return quad(block, part);
}
