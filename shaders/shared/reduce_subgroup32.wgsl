// Sums over the 32 lanes of a row, where subgroups are exactly that.

var<workgroup> staged: array<f32, STAGED>;

// Adds up `value` over the lanes of `row`; after a barrier, `collect` has the sum.
fn stage(row: u32, lane: u32, value: f32) {
    let sum = subgroupAdd(value);
    if lane == 0u {
        staged[row] = sum;
    }
}

fn collect(row: u32) -> f32 {
    return staged[row];
}
