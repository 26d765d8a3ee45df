// Six-bit weights in blocks of 256, eight of 32: of each of these one word of low bits for every eight weights, and behind
// all of them two words of high bits for each. Of all 256 five words of factors: what scales are multiplied with as a half,
// then a scale of each 16 weights, as bytes with signs.
// Weight i stands for (code(i) - 32) * small scale * scale.

struct Block {
    words: vec4<u32>,
    high: vec2<u32>,
    small: vec2<f32>,
    scale: f32,
}

fn load_block(index: u32) -> Block {
    let whole = index / 8u;
    let within = index % 8u;
    let highs = codes[12u * whole + 8u + within / 2u];
    let pair = bitcast<i32>(factors[5u * whole + 1u + within / 2u] >> (16u * (within % 2u)));
    let small = vec2<i32>(pair << 24u, pair << 16u) >> vec2<u32>(24u);
    return Block(
        codes[12u * whole + within],
        select(highs.xy, highs.zw, within % 2u == 1u),
        vec2<f32>(small),
        unpack2x16float(factors[5u * whole]).x);
}

// Weights 4 * part to 4 * part + 3, before the scale. Integers, and so exact.
fn quad(block: Block, part: u32) -> vec4<f32> {
    var words = block.words;
    var highs = block.high;
    var smalls = block.small;
    let word = words[part / 2u] >> (16u * (part % 2u));
    let low = vec4<u32>(word, word >> 4u, word >> 8u, word >> 12u) & vec4<u32>(15u);
    let bits = highs[part / 4u] >> (8u * (part % 4u));
    let high = vec4<u32>(bits << 4u, bits << 2u, bits, bits >> 2u) & vec4<u32>(48u);
    return (vec4<f32>(low | high) - 32.0) * smalls[part / 4u];
}
