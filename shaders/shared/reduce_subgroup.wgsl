// Sums over the lanes of a row, where lanes are neighbours in a subgroup of any size that is at least as large.

var<workgroup> staged: array<f32, STAGED>;

// Adds up `value` over the lanes of `row`; after a barrier, `collect` has the sum.
fn stage(row: u32, lane: u32, value: f32) {
    var sum = value;
    for (var distance = LANES / 2u; distance > 0u; distance /= 2u) {
        sum += subgroupShuffleXor(sum, distance);
    }
    if lane == 0u {
        staged[row] = sum;
    }
}

fn collect(row: u32) -> f32 {
    return staged[row];
}
