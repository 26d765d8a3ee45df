// Four-bit weights: of a block of 32, one word of codes for every eight weights, and scale and bias as two halves.
// Weight i stands for code(i) * scale + bias.

struct Block {
    words: vec4<u32>,
    scale: f32,
    bias: f32,
}

fn load_block(index: u32) -> Block {
    let factors = unpack2x16float(factors[index]);
    return Block(codes[index], factors.x, factors.y);
}

// Weights 4 * part to 4 * part + 3, before scale and bias.
fn quad(block: Block, part: u32) -> vec4<f32> {
    var words = block.words;
    let word = words[part / 2u] >> (16u * (part % 2u));
    return vec4<f32>(vec4<u32>(word, word >> 4u, word >> 8u, word >> 12u) & vec4<u32>(15u));
}
