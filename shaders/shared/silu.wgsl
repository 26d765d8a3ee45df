// For large negative x the exponential would be infinite, of which not every device knows that its inverse is zero.
fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(min(-x, 88.0)));
}

fn silu(x: f32) -> f32 {
    return x * sigmoid(x);
}
