// Five-bit weights in blocks of 256, eight of 32: of each of these one word of low bits for every eight weights, and behind
// all of them one word of fifth bits for each. Factors are those of q4_k.wgsl.
// Weight i stands for code(i) * scale + bias, where the bias is the minimum taken away.

struct Block {
    words: vec4<u32>,
    high: u32,
    scale: f32,
    bias: f32,
}

fn load_block(index: u32) -> Block {
    let whole = index / 8u;
    let within = index % 8u;
    let d = unpack2x16float(factors[5u * whole]);
    let small = factors[5u * whole + 1u + within / 2u] >> (16u * (within % 2u));
    var high = codes[10u * whole + 8u + within / 4u];
    let scale = d.x * f32(small & 255u);
    let bias = -(d.y * f32((small >> 8u) & 255u));
    return Block(codes[10u * whole + within], high[within % 4u], scale, bias);
}

// Weights 4 * part to 4 * part + 3, before scale and bias.
fn quad(block: Block, part: u32) -> vec4<f32> {
    var words = block.words;
    let word = words[part / 2u] >> (16u * (part % 2u));
    let low = vec4<u32>(word, word >> 4u, word >> 8u, word >> 12u) & vec4<u32>(15u);
    let bits = block.high >> (4u * part);
    let high = vec4<u32>(bits << 4u, bits << 3u, bits << 2u, bits << 1u) & vec4<u32>(16u);
    return vec4<f32>(low | high);
}
