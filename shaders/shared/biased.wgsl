// What a block with a scale and a bias comes to.

// The product of a block with inputs, from that of its codes and the sum of the inputs.
fn weigh(block: Block, product: f32, sum: f32) -> f32 {
    return fma(block.scale, product, block.bias * sum);
}

// Weights 4 * part to 4 * part + 3 as they are. The product is exact, so this rounds once, as on the CPU.
fn weights(block: Block, part: u32) -> vec4<f32> {
    return fma(quad(block, part), vec4<f32>(block.scale), vec4<f32>(block.bias));
}
