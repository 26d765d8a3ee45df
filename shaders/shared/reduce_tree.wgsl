// Sums over the lanes of a row and over a workgroup, through workgroup memory alone. Works everywhere.

var<workgroup> staged: array<f32, STAGED>;

// Adds up `value` over the lanes of `row`; after a barrier, `collect` has the sum.
fn stage(row: u32, lane: u32, value: f32) {
    staged[row * LANES + lane] = value;
}

fn collect(row: u32) -> f32 {
    var sum = 0.0;
    for (var lane = 0u; lane < LANES; lane++) {
        sum += staged[row * LANES + lane];
    }
    return sum;
}
