// Eight-bit weights: of a block of 32, two times four words of codes with signs, and the scale as a half.
// Weight i stands for code(i) * scale.

struct Block {
    start: u32,
    scale: f32,
}

fn load_block(index: u32) -> Block {
    return Block(2u * index, unpack2x16float(factors[index]).x);
}

// Weights 4 * part to 4 * part + 3, before the scale.
fn quad(block: Block, part: u32) -> vec4<f32> {
    let words = codes[block.start + part / 4u];
    let word = bitcast<i32>(words[part % 4u]);
    return vec4<f32>(vec4<i32>(word << 24u, word << 16u, word << 8u, word) >> vec4<u32>(24u));
}
