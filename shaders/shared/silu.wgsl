// x * sigmoid(x). For large negative x the exponential is infinite and the quotient zero, as it should be.
fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(min(-x, 88.0)));
}

fn silu(x: f32) -> f32 {
    return x * sigmoid(x);
}
