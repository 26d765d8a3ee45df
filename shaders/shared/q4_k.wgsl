// Four-bit weights in blocks of 256, eight of 32: of each of these one word of codes for every eight weights. Of all 256 five
// words of factors: what scales and minima are multiplied with as two halves, then a scale and a minimum of each, as bytes.
// Weight i stands for code(i) * scale + bias, where the bias is the minimum taken away.

struct Block {
    words: vec4<u32>,
    scale: f32,
    bias: f32,
}

fn load_block(index: u32) -> Block {
    let first = 5u * (index / 8u);
    let d = unpack2x16float(factors[first]);
    let small = factors[first + 1u + index % 8u / 2u] >> (16u * (index % 2u));
    return Block(codes[index], d.x * f32(small & 255u), -(d.y * f32((small >> 8u) & 255u)));
}

// Weights 4 * part to 4 * part + 3, before scale and bias.
fn quad(block: Block, part: u32) -> vec4<f32> {
    var words = block.words;
    let word = words[part / 2u] >> (16u * (part % 2u));
    return vec4<f32>(vec4<u32>(word, word >> 4u, word >> 8u, word >> 12u) & vec4<u32>(15u));
}
