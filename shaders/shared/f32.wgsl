// Weights in single precision, 32 to a block, rows filled up with zeros.

struct Block {
    start: u32,
}

fn load_block(index: u32) -> Block {
    return Block(8u * index);
}

fn quad(block: Block, part: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(codes[block.start + part]);
}

fn weigh(block: Block, product: f32, sum: f32) -> f32 {
    return product;
}

fn weights(block: Block, part: u32) -> vec4<f32> {
    return quad(block, part);
}
