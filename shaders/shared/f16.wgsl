// Weights in half precision, 32 to a block, rows filled up with zeros.

struct Block {
    start: u32,
}

fn load_block(index: u32) -> Block {
    return Block(4u * index);
}

fn quad(block: Block, part: u32) -> vec4<f32> {
    let eight = codes[block.start + part / 2u];
    let pairs = select(eight.xy, eight.zw, part % 2u == 1u);
    return vec4<f32>(unpack2x16float(pairs.x), unpack2x16float(pairs.y));
}

fn weigh(block: Block, product: f32, sum: f32) -> f32 {
    return product;
}

fn weights(block: Block, part: u32) -> vec4<f32> {
    return quad(block, part);
}
