// The gated delta rule with all around it: convolution (in a decode step), unit queries and keys, the rule in chunks of 16
// positions, and the gated norm. One workgroup a value head of a span; it takes its rows in pieces of up to ROWS.
//
// Within a chunk the state S stays as it was at the chunk's start, and rows add to it what they would have written: with
// carry(t) the product of the decays up to row t, and w(i, t) that of those after row i,
//
//   u[t]   = beta * (v[t] - carry(t) * k[t] S - sum over i < t of w(i, t) * (k[t] . k[i]) * u[i])
//   out[t] = carry(t) * q[t] S + sum over i <= t of w(i, t) * (q[t] . k[i]) * u[i]
//
// The state is brought to the next chunk's start when its first row comes, not when the last one of the chunk before
// did: a row that has been read can then always be taken back. All sums run in an order that does not depend on how rows
// were cut into spans and pieces.

struct Params {
    // Of projected rows [queries, keys, values, z, b, a], of mixed rows and of rows that go out.
    stride: u32,
    mixed_stride: u32,
    out_stride: u32,
    first_span: u32,
    layer: u32,
    taps: u32,
    rate: u32,
    bias: u32,
    norm: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> vectors: array<f32>;
@group(0) @binding(3) var<storage, read> projected: array<f32>;
@group(0) @binding(4) var<storage, read> mixed: array<f32>;
@group(0) @binding(5) var<storage, read_write> states: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> memory: array<f32>;
@group(0) @binding(7) var<storage, read_write> inputs: array<f32>;
@group(0) @binding(8) var<storage, read_write> out: array<f32>;

const CHUNK: u32 = 16u;
const KEY_DIM: u32 = KEY_HEADS * KEY;
const VALUE_DIM: u32 = VALUE_HEADS * VALUE;
// Of a sequence: unit keys, pseudo-values and decays of the rows since the last multiple, head after head.
const KEYS: u32 = VALUE_HEADS * CHUNK * KEY;
const PSEUDO_VALUES: u32 = VALUE_HEADS * CHUNK * VALUE;
const MEMORY: u32 = KEYS + PSEUDO_VALUES + VALUE_HEADS * CHUNK;
// Four columns of the state are one vector, and several threads share the rows of each.
const QUADS: u32 = (VALUE + 3u) / 4u;
const DOT_LANES: u32 = 8u;

var<workgroup> queries: array<f32, ROWS * KEY>;
var<workgroup> keys: array<f32, ROWS * KEY>;
// Values, then pseudo-values.
var<workgroup> values: array<f32, ROWS * VALUE>;
// What the state answers to each key, and to each query: then what goes out.
var<workgroup> recalled: array<f32, ROWS * VALUE>;
var<workgroup> answered: array<f32, ROWS * VALUE>;
var<workgroup> partial: array<f32, PARTIAL>;
var<workgroup> decays: array<f32, CHUNK>;
var<workgroup> betas: array<f32, ROWS>;
var<workgroup> carry: array<f32, ROWS>;
var<workgroup> recall: array<f32, ROWS * CHUNK>;
var<workgroup> reading: array<f32, ROWS * CHUNK>;
var<workgroup> keep: array<f32, CHUNK>;

struct Place {
    head: u32,
    state: u32,
    memory: u32,
    ring: u32,
    span: Span,
}

fn key_at(place: Place, row: u32) -> u32 {
    return place.memory + (place.head * CHUNK + row) * KEY;
}

fn pseudo_value_at(place: Place, row: u32) -> u32 {
    return place.memory + KEYS + (place.head * CHUNK + row) * VALUE;
}

fn decay_at(place: Place, row: u32) -> u32 {
    return place.memory + KEYS + PSEUDO_VALUES + place.head * CHUNK + row;
}

fn state_at(place: Place, row: u32, quad: u32) -> u32 {
    return place.state + (place.head * KEY + row) * QUADS + quad;
}

fn channel_of(place: Place, row: u32, channel: u32) -> f32 {
    if CONVOLVES {
        return convolve(place.span, place.ring, channel, place.span.first_position + row);
    }
    return mixed[(place.span.first_row + row) * params.mixed_stride + channel];
}

fn pseudo_quad(place: Place, row: u32, quad: u32) -> vec4<f32> {
    let at = pseudo_value_at(place, row) + 4u * quad;
    var four: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        if 4u * quad + i < VALUE {
            four[i] = memory[at + i];
        }
    }
    return four;
}

// ln(1 + e^x). Not through log: it may be off by 2^-21 near 1, where the logarithm itself is hardly more, and a state that
// decays by as little is wrong by that many times the rows it remembers. This is 2 artanh(e / (2 + e)), of e up to 1.
fn softplus(x: f32) -> f32 {
    let e = exp(-abs(x));
    let s = e / (2.0 + e);
    let square = s * s;
    var sum = 0.0;
    for (var term = 7u; term > 0u; term--) {
        sum = fma(sum, square, 1.0 / f32(2u * term - 1u));
    }
    return fma(2.0 * s, sum, max(x, 0.0));
}

// Brings the state over the 16 rows that are remembered.
fn fold(place: Place, thread: u32) {
    if thread == 0u {
        var product = 1.0;
        for (var row = CHUNK; row > 0u; row--) {
            keep[row - 1u] = product;
            product *= memory[decay_at(place, row - 1u)];
        }
        carry[0] = product;
    }
    workgroupBarrier();
    let slice = thread / QUADS;
    let quad = thread % QUADS;
    if slice < SLICES {
        var rows: array<vec4<f32>, 16>;
        for (var i = 0u; i < CHUNK; i++) {
            rows[i] = pseudo_quad(place, i, quad) * keep[i];
        }
        for (var row = slice; row < KEY; row += SLICES) {
            var state = states[state_at(place, row, quad)] * carry[0];
            for (var i = 0u; i < CHUNK; i++) {
                state = fma(rows[i], vec4<f32>(memory[key_at(place, i) + row]), state);
            }
            states[state_at(place, row, quad)] = state;
        }
    }
    storageBarrier();
    workgroupBarrier();
}

// TILED: value heads that share a key head lie as far apart as there are key heads.
fn key_head_of(head: u32) -> u32 {
    return select(head / (VALUE_HEADS / KEY_HEADS), head % KEY_HEADS, TILED);
}

// Reads `count` rows of the span from `row` on, which are rows `start` and on of their chunk.
fn run_piece(place: Place, row: u32, start: u32, count: u32, thread: u32) {
    let head = place.head;
    let key_head = key_head_of(head);

    // Queries, keys and values; decays and betas.
    for (var i = thread; i < count * KEY; i += 256u) {
        let channel = key_head * KEY + i % KEY;
        queries[i] = channel_of(place, row + i / KEY, channel);
        keys[i] = channel_of(place, row + i / KEY, KEY_DIM + channel);
    }
    for (var i = thread; i < count * VALUE; i += 256u) {
        values[i] = channel_of(place, row + i / VALUE, 2u * KEY_DIM + head * VALUE + i % VALUE);
    }
    if thread < start {
        decays[thread] = memory[decay_at(place, thread)];
    } else if thread < start + count {
        let at = (place.span.first_row + row + thread - start) * params.stride + CHANNELS + VALUE_DIM + head;
        // An infinite rate times nothing would be no number, and all that is remembered from then on with it.
        let rate = clamp(vectors[params.rate + head], -3.4e38, 0.0);
        let x = projected[at + VALUE_HEADS] + vectors[params.bias + head];
        let time = clamp(softplus(x), 0.0, 3.4e38);
        let decay = exp(max(rate * time, -104.0));
        decays[thread] = decay;
        betas[thread - start] = sigmoid(projected[at]);
        memory[decay_at(place, thread)] = decay;
    }
    workgroupBarrier();

    // Unit vectors: 16 threads each, queries first.
    let unit = thread / 16u;
    let lane = thread % 16u;
    var squares = 0.0;
    for (var i = lane; i < KEY; i += 16u) {
        if unit < count {
            squares = fma(queries[unit * KEY + i], queries[unit * KEY + i], squares);
        } else if unit < 2u * count {
            squares = fma(keys[(unit - count) * KEY + i], keys[(unit - count) * KEY + i], squares);
        }
    }
    partial[thread] = squares;
    workgroupBarrier();
    squares = 0.0;
    for (var i = 0u; i < 16u; i++) {
        squares += partial[unit * 16u + i];
    }
    let scale = 1.0 / sqrt(squares + 1e-6);
    for (var i = lane; i < KEY; i += 16u) {
        if unit < count {
            queries[unit * KEY + i] *= scale / sqrt(f32(KEY));
        } else if unit < 2u * count {
            let value = keys[(unit - count) * KEY + i] * scale;
            keys[(unit - count) * KEY + i] = value;
            memory[key_at(place, start + unit - count) + i] = value;
        }
    }
    storageBarrier();
    workgroupBarrier();

    // Products of each key and query with the keys up to it, in eight lanes.
    for (var t = 0u; t < count; t++) {
        let dot_lane = thread % DOT_LANES;
        let i = thread / DOT_LANES % CHUNK;
        let of_query = thread / (DOT_LANES * CHUNK) == 1u;
        var sum = 0.0;
        if i <= start + t {
            for (var d = dot_lane; d < KEY; d += DOT_LANES) {
                let own = select(keys[t * KEY + d], queries[t * KEY + d], of_query);
                sum = fma(own, memory[key_at(place, i) + d], sum);
            }
        }
        partial[thread] = sum;
        workgroupBarrier();
        if dot_lane == 0u {
            sum = 0.0;
            for (var l = 0u; l < DOT_LANES; l++) {
                sum += partial[thread + l];
            }
            if of_query {
                reading[t * CHUNK + i] = sum;
            } else {
                recall[t * CHUNK + i] = sum;
            }
        }
        workgroupBarrier();
    }
    // Weighted by the decays in between. Products from the first row of the chunk on, in order.
    if thread <= CHUNK {
        var weight = 1.0;
        for (var at = 0u; at < start + count; at++) {
            if thread == CHUNK || at > thread {
                weight *= decays[at];
            }
            if at >= start {
                if thread == CHUNK {
                    carry[at - start] = weight;
                } else {
                    recall[(at - start) * CHUNK + thread] *= weight;
                    reading[(at - start) * CHUNK + thread] *= weight;
                }
            }
        }
    }

    // What the state answers: one pass over it for all rows of the piece.
    let slice = thread / QUADS;
    let quad = thread % QUADS;
    var from_key: array<vec4<f32>, ROWS>;
    var from_query: array<vec4<f32>, ROWS>;
    if slice < SLICES {
        for (var d = slice; d < KEY; d += SLICES) {
            let state = states[state_at(place, d, quad)];
            for (var t = 0u; t < ROWS; t++) {
                from_key[t] = fma(state, vec4<f32>(keys[t * KEY + d]), from_key[t]);
                from_query[t] = fma(state, vec4<f32>(queries[t * KEY + d]), from_query[t]);
            }
        }
    }
    for (var t = 0u; t < count; t++) {
        for (var which = 0u; which < 2u; which++) {
            if slice < SLICES {
                let four = select(from_key[t], from_query[t], which == 1u);
                for (var i = 0u; i < 4u; i++) {
                    partial[(slice * QUADS + quad) * 4u + i] = four[i];
                }
            }
            workgroupBarrier();
            for (var column = thread; column < VALUE; column += 256u) {
                var sum = 0.0;
                for (var s = 0u; s < SLICES; s++) {
                    sum += partial[s * QUADS * 4u + column];
                }
                if which == 0u {
                    recalled[t * VALUE + column] = sum;
                } else {
                    answered[t * VALUE + column] = sum;
                }
            }
            workgroupBarrier();
        }
    }

    // Pseudo-values and what is read, row after row; every column by one thread.
    for (var column = thread; column < VALUE; column += 256u) {
        for (var t = 0u; t < count; t++) {
            var error = fma(recalled[t * VALUE + column], -carry[t], values[t * VALUE + column]);
            var sum = answered[t * VALUE + column] * carry[t];
            for (var i = 0u; i < start + t; i++) {
                let before = memory[pseudo_value_at(place, i) + column];
                error = fma(before, -recall[t * CHUNK + i], error);
                sum = fma(before, reading[t * CHUNK + i], sum);
            }
            let pseudo_value = error * betas[t];
            memory[pseudo_value_at(place, start + t) + column] = pseudo_value;
            answered[t * VALUE + column] = fma(pseudo_value, reading[t * CHUNK + start + t], sum);
        }
    }
    workgroupBarrier();

    // The gated norm: normalised first, gated last.
    for (var t = 0u; t < count; t++) {
        var sum = 0.0;
        for (var column = thread; column < VALUE; column += 256u) {
            sum = fma(answered[t * VALUE + column], answered[t * VALUE + column], sum);
        }
        partial[thread] = sum;
        workgroupBarrier();
        for (var half = 128u; half > 0u; half /= 2u) {
            if thread < half {
                partial[thread] += partial[thread + half];
            }
            workgroupBarrier();
        }
        let inverse = 1.0 / sqrt(partial[0] / f32(VALUE) + params.eps);
        let to = place.span.first_row + row + t;
        for (var column = thread; column < VALUE; column += 256u) {
            let gate = silu(projected[to * params.stride + CHANNELS + head * VALUE + column]);
            let normed = vectors[params.norm + column] * (answered[t * VALUE + column] * inverse);
            out[to * params.out_stride + head * VALUE + column] = normed * gate;
        }
        workgroupBarrier();
    }
    storageBarrier();
    workgroupBarrier();
}

// The span's inputs that later convolutions look back at. Those that value heads share are written by one of them.
fn remember_inputs(place: Place, thread: u32) {
    let span = place.span;
    let key_head = key_head_of(place.head);
    let is_first = select(place.head % (VALUE_HEADS / KEY_HEADS) == 0u, place.head < KEY_HEADS, TILED);
    let shared_width = select(0u, 2u * KEY, is_first);
    let width = shared_width + VALUE;
    let kept = min(span.rows, RING);
    for (var i = thread; i < kept * width; i += 256u) {
        let row = span.rows - kept + i / width;
        let own = i % width;
        var channel = 2u * KEY_DIM + place.head * VALUE + own - shared_width;
        if own < shared_width {
            channel = own / KEY * KEY_DIM + key_head * KEY + own % KEY;
        }
        let to = (place.ring * RING + (span.first_position + row) % RING) * CHANNELS + channel;
        inputs[to] = projected[(span.first_row + row) * params.stride + channel];
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let index = params.first_span + group.y;
    let slots = layer_at(params.layer) + 3u * index;
    let span = load_span(index);
    let place = Place(
        group.x, table[slots] * VALUE_HEADS * KEY * QUADS, table[slots + 1u] * MEMORY, table[slots + 2u], span);
    var since = span.since;
    var row = 0u;
    while row < span.rows {
        if since == CHUNK {
            fold(place, thread);
            since = 0u;
        }
        let count = min(min(ROWS, CHUNK - since), span.rows - row);
        run_piece(place, row, since, count, thread);
        since += count;
        row += count;
    }
    remember_inputs(place, thread);
}
