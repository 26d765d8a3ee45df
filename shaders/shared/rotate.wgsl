// A head of a query or key as attention uses it: normalised where the model does so (QK_NORM), then rotated to its position.
// It lies in `head`.

var<workgroup> head: array<f32, HEAD_DIM>;
var<workgroup> squares: array<f32, THREADS>;

// One over the root mean square of the head at `origin` of the projected rows.
fn inverse_rms(origin: u32, eps: f32, thread: u32) -> f32 {
    var sum = 0.0;
    for (var i = thread; i < HEAD_DIM; i += THREADS) {
        sum = fma(projected[origin + i], projected[origin + i], sum);
    }
    squares[thread] = sum;
    workgroupBarrier();
    sum = 0.0;
    for (var i = 0u; i < THREADS; i++) {
        sum += squares[i];
    }
    return 1.0 / sqrt(sum / f32(HEAD_DIM) + eps);
}

// An element of it, by the norm that begins at `norm`.
fn normed(origin: u32, i: u32, inverse: f32, norm: u32) -> f32 {
    if QK_NORM {
        return projected[origin + i] * inverse * vectors[norm + i];
    }
    return projected[origin + i];
}

// Loads the head at `origin`.
fn load_head(row: u32, origin: u32, norm: u32, eps: f32, thread: u32) {
    var inverse = 1.0;
    if QK_NORM {
        inverse = inverse_rms(origin, eps, thread);
    }
    let angles = table[2] + row * ROTARY;
    for (var i = thread; i < HEAD_DIM; i += THREADS) {
        let value = normed(origin, i, inverse, norm);
        if i >= ROTARY {
            head[i] = value;
            continue;
        }
        // Dimension i turns with its partner, half of the rotary dimensions away.
        let low = i < ROTARY / 2u;
        let partner = select(i - ROTARY / 2u, i + ROTARY / 2u, low);
        let other = normed(origin, partner, inverse, norm);
        let cosine = bitcast<f32>(table[angles + i % (ROTARY / 2u)]);
        let sine = bitcast<f32>(table[angles + ROTARY / 2u + i % (ROTARY / 2u)]);
        head[i] = value * cosine + select(other, -other, low) * sine;
    }
    workgroupBarrier();
}
