// The causal convolution of one channel at one position, with its SiLU. Inputs of the span are in the batch; those before
// it, in the sequence's ring of RING rows. Before the start of a sequence there are zeros.

fn input_at(span: Span, ring: u32, channel: u32, position: i32) -> f32 {
    if position < 0 {
        return 0.0;
    }
    let at = u32(position);
    if at >= span.first_position {
        return projected[(span.first_row + at - span.first_position) * params.stride + channel];
    }
    return inputs[(ring * RING + at % RING) * CHANNELS + channel];
}

fn convolve(span: Span, ring: u32, channel: u32, position: u32) -> f32 {
    var sum = 0.0;
    for (var tap = 0u; tap < KERNEL; tap++) {
        let at = i32(position) + i32(tap) - i32(KERNEL - 1u);
        sum = fma(vectors[params.taps + tap * CHANNELS + channel], input_at(span, ring, channel, at), sum);
    }
    return silu(sum);
}
