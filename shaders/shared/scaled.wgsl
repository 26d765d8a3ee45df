// What a block with a scale and no bias comes to.

fn weigh(block: Block, product: f32, sum: f32) -> f32 {
    return block.scale * product;
}

// Weights 4 * part to 4 * part + 3 as they are: exact.
fn weights(block: Block, part: u32) -> vec4<f32> {
    return quad(block, part) * block.scale;
}
