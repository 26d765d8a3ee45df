//! The convolution and the delta rule, against the rule row after row in double precision.

use loquent::checkpoint::DeltaNetConfig;
use loquent::gpu::GpuContext;
use loquent::gpu::plan::stride;
use loquent::gpu::variant::Variant;
use proptest::prelude::*;

use super::table::{LAYER, Layer, Table};
use crate::device::context;
use crate::harness::{Dispatch, POISON, assert_close, assert_same_bits, bits, noise, poison};

const EPS: f32 = 1e-6;
const CHUNK: usize = 16;

/// Chunks add what the rule adds row after row, in another order, and decays are products of up to 16 exponentials. An
/// exponential in single precision may be off by some last places on a device, and so may each row before that is still
/// remembered.
const BOUND: f64 = 1e-11;

/// A layer.
struct Net {
    config: DeltaNetConfig,
    /// `[kernel, channels]`
    taps: Vec<f32>,
    rate: Vec<f32>,
    bias: Vec<f32>,
    norm: Vec<f32>,
}

/// Heads: as many values as keys, twice and three times as many; odd dimensions, and one wider than a workgroup; pieces of
/// four rows, of two and of one; and the published dimensions.
const SHAPES: [Shape; 7] = [
    (2, 2, 16, 8, 4, false),
    (2, 4, 20, 12, 3, false),
    (1, 3, 7, 33, 4, false),
    (1, 1, 10, 300, 2, false),
    (1, 1, 128, 200, 4, false),
    (2, 6, 128, 128, 4, false),
    (2, 6, 16, 8, 4, true),
];

/// Key and value heads, the width of each, taps, and whether heads that share a key head lie apart.
type Shape = (usize, usize, usize, usize, usize, bool);

fn net((key_heads, value_heads, key, value, conv_kernel, tiled_value_heads): Shape, bias: f32) -> Net {
    let config = DeltaNetConfig {
        num_key_heads: key_heads,
        num_value_heads: value_heads,
        key_head_dim: key,
        value_head_dim: value,
        conv_kernel,
        tiled_value_heads,
    };
    Net {
        taps: noise(1, conv_kernel * config.channels()),
        rate: noise(2, value_heads).iter().map(|a| -(2.0 * a).exp()).collect(),
        bias: noise(3, value_heads).iter().map(|x| x + bias).collect(),
        norm: noise(4, value),
        config,
    }
}

impl Net {
    fn width(&self) -> usize {
        self.config.channels() + self.config.value_dim() + 2 * self.config.num_value_heads
    }

    /// Projected rows: queries, keys, values, gates, betas, decays.
    fn rows(&self, count: usize, seed: u64) -> Vec<Vec<f32>> {
        (0..count)
            .map(|row| noise(seed.wrapping_add(row as u64 * 77), self.width()).iter().map(|x| 3.0 * x).collect())
            .collect()
    }

    /// All small tensors, and where each begins.
    fn vectors(&self) -> (Vec<f32>, [u32; 4]) {
        let mut vectors = vec![poison(); 4];
        let starts = [&self.taps, &self.rate, &self.bias, &self.norm].map(|vector| {
            let start = vectors.len();
            vectors.extend(vector);
            vectors.resize(vectors.len().next_multiple_of(4), poison());
            start as u32
        });
        (vectors, starts)
    }

    /// Queries, keys and values of every row, `[rows, channels]`.
    fn convolved(&self, rows: &[Vec<f32>]) -> Vec<Vec<f64>> {
        let (channels, kernel) = (self.config.channels(), self.config.conv_kernel);
        let of_row = |row: usize| {
            let of_channel = |channel: usize| {
                let sum: f64 = (0..kernel)
                    .filter_map(|tap| Some((tap, (row + tap).checked_sub(kernel - 1)?)))
                    .map(|(tap, row)| f64::from(self.taps[tap * channels + channel]) * f64::from(rows[row][channel]))
                    .sum();
                silu(sum)
            };
            (0..channels).map(of_channel).collect()
        };
        (0..rows.len()).map(of_row).collect()
    }

    /// What the heads read, `[rows, value_heads, value]`: the rule row after row.
    fn expected(&self, rows: &[Vec<f32>]) -> Vec<f64> {
        let DeltaNetConfig { num_key_heads, num_value_heads, key_head_dim: key, value_head_dim: value, .. } =
            self.config;
        let (key_dim, channels, value_dim) = (num_key_heads * key, self.config.channels(), self.config.value_dim());
        let mut states = vec![vec![0.0; key * value]; num_value_heads];
        let mut expected = Vec::new();
        for (mixed, row) in self.convolved(rows).iter().zip(rows) {
            for (head, state) in states.iter_mut().enumerate() {
                let apart = self.config.tiled_value_heads;
                let shared = if apart { head % num_key_heads } else { head / (num_value_heads / num_key_heads) };
                let unit = |from: usize| {
                    let vector = &mixed[from + shared * key..][..key];
                    let length = (vector.iter().map(|x| x * x).sum::<f64>() + 1e-6).sqrt();
                    vector.iter().map(|x| x / length).collect::<Vec<f64>>()
                };
                let (q, k) = (unit(0), unit(key_dim));
                let v = &mixed[2 * key_dim + head * value..][..value];
                let z = &row[channels + head * value..][..value];
                let b = f64::from(row[channels + value_dim + head]);
                let a = f64::from(row[channels + value_dim + num_value_heads + head]) + f64::from(self.bias[head]);
                let time = if a > 20.0 { a } else { a.exp().ln_1p() };
                let decay = (f64::from(self.rate[head]).max(f64::from(f32::MIN)) * time).exp();
                let beta = 1.0 / (1.0 + (-b).exp());
                state.iter_mut().for_each(|s| *s *= decay);
                let mut out = vec![0.0; value];
                for column in 0..value {
                    let recalled: f64 = (0..key).map(|d| k[d] * state[d * value + column]).sum();
                    let pseudo_value = (v[column] - recalled) * beta;
                    (0..key).for_each(|d| state[d * value + column] += k[d] * pseudo_value);
                    out[column] = (0..key).map(|d| q[d] * state[d * value + column]).sum::<f64>() / (key as f64).sqrt();
                }
                let mean = out.iter().map(|x| x * x).sum::<f64>() / value as f64;
                let inverse = 1.0 / (mean + f64::from(EPS)).sqrt();
                let gated = out.iter().zip(&self.norm).zip(z);
                expected.extend(gated.map(|((x, &norm), &z)| f64::from(norm) * x * inverse * silu(z.into())));
            }
        }
        expected
    }
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// What a device keeps of some sequences.
#[derive(Clone)]
struct Kept {
    states: Vec<u32>,
    memory: Vec<u32>,
    inputs: Vec<u32>,
}

/// Slots of the sequences, in no order: of states, rows and inputs. There is one more of each, which nobody may touch.
const SLOTS: [[u32; 3]; 2] = [[2, 0, 1], [0, 2, 0]];
const SPARE: [usize; 3] = [1, 1, 2];

/// Rows of a sequence from some position on.
struct Part<'a> {
    sequence: usize,
    position: usize,
    since: usize,
    rows: &'a [Vec<f32>],
}

impl Kept {
    /// States are zeros; nothing else is cleared.
    fn new(net: &Net) -> Self {
        let [state, memory, inputs] = Self::sizes(net);
        let mut states = vec![0; 3 * state];
        states[SPARE[0] * state..(SPARE[0] + 1) * state].fill(POISON);
        Self { states, memory: vec![POISON; 3 * memory], inputs: vec![POISON; 3 * inputs] }
    }

    /// Numbers of each that a sequence has: of states, filled up to fours; of 16 rows; and of a chunk, the row in hand and
    /// those that it looks back at.
    fn sizes(net: &Net) -> [usize; 3] {
        let DeltaNetConfig { num_value_heads, key_head_dim, value_head_dim, conv_kernel, .. } = net.config;
        let state = num_value_heads * key_head_dim * value_head_dim.next_multiple_of(4);
        let memory = num_value_heads * CHUNK * (key_head_dim + value_head_dim + 1);
        [state, memory, (conv_kernel - 1 + 17) * net.config.channels()]
    }

    /// Reads rows; what their heads read comes out. `convolves`: each part is one row, and one shader does it all.
    fn read(&mut self, context: &GpuContext, checks: bool, net: &Net, parts: &[Part<'_>], convolves: bool) -> Vec<f32> {
        let (config, width) = (&net.config, net.width());
        let [projected, mixed, out] = [width, config.channels(), config.value_dim()].map(|width| stride(width) + 32);
        // A row and a span come before.
        let mut table = Table { rows: vec![[POISON; 3]], spans: vec![[POISON; 4]], ..Table::default() };
        let (mut slots, mut rows) = (vec![[POISON; 3]], vec![poison(); projected]);
        for (part, span) in parts.iter().zip(1..) {
            let first = table.rows.len() as u32;
            table.spans.push([first, part.rows.len() as u32, part.position as u32, part.since as u32]);
            slots.push(SLOTS[part.sequence]);
            for (row, position) in part.rows.iter().zip(part.position..) {
                table.rows.push([POISON, position as u32, span]);
                rows.extend(row);
                rows.resize(rows.len() + projected - width, poison());
            }
        }
        let count = table.rows.len() - 1;
        table.layer = Layer::Slots(slots);
        let table = table.words();
        let (vectors, [taps, rate, bias, norm]) = net.vectors();
        let mut convolved = vec![poison(); mixed * (count + 1)];
        if !convolves {
            let params = [projected as u32, mixed as u32, 1, LAYER, taps];
            let grid = [config.channels().div_ceil(64) as u32, count as u32, 1];
            let dispatch = Dispatch::new(Variant::causal_conv(config), &params, grid)
                .words("table", table.clone())
                .floats("vectors", &vectors)
                .floats("projected", &rows)
                .words("inputs", self.inputs.clone())
                .floats("mixed", &convolved);
            convolved = dispatch.run_once(context, checks).floats("mixed");
            for row in convolved.chunks(mixed).skip(1) {
                assert!(row[config.channels()..].iter().all(|x| x.to_bits() == POISON), "padding of mixed rows");
            }
        }
        let mut params = [projected, mixed, out, 1].map(|number| number as u32).to_vec();
        params.extend([LAYER, taps, rate, bias, norm, EPS.to_bits()]);
        let grid = [config.num_value_heads as u32, parts.len() as u32, 1];
        let found = Dispatch::new(Variant::delta_net(config, convolves), &params, grid)
            .words("table", table)
            .floats("vectors", &vectors)
            .floats("projected", &rows)
            .floats("mixed", &convolved)
            .words("states", self.states.clone())
            .words("memory", self.memory.clone())
            .words("inputs", self.inputs.clone())
            .floats("out", &vec![poison(); out * (count + 1)])
            .run_once(context, checks);
        self.states = found.words("states").to_vec();
        self.memory = found.words("memory").to_vec();
        self.inputs = found.words("inputs").to_vec();
        let kept = [&self.states, &self.memory, &self.inputs];
        for ((kept, size), spare) in kept.into_iter().zip(Self::sizes(net)).zip(SPARE) {
            assert!(kept[spare * size..(spare + 1) * size].iter().all(|&word| word == POISON), "another's slot");
        }
        let mut taken = Vec::new();
        for (index, row) in found.floats("out").chunks(out).enumerate() {
            let (values, padding) = row.split_at(if index == 0 { 0 } else { config.value_dim() });
            taken.extend(values);
            assert!(padding.iter().all(|value| value.to_bits() == POISON), "row {index} beyond its end");
        }
        taken
    }

    /// Reads all of a sequence, cut at `cuts`.
    fn read_cut(
        &mut self,
        context: &GpuContext,
        checks: bool,
        net: &Net,
        rows: &[Vec<f32>],
        cuts: &[usize],
        convolves: bool,
    ) -> Vec<f32> {
        let (mut position, mut out) = (0, Vec::new());
        for end in cuts.iter().copied().chain([rows.len()]).filter(|&end| end <= rows.len()) {
            if end > position {
                let part = Part { sequence: 0, position, since: since(position), rows: &rows[position..end] };
                out.extend(self.read(context, checks, net, &[part], convolves));
                position = end;
            }
        }
        out
    }
}

/// Rows since the state's multiple, as the host counts them: a chunk stays in memory until the row after it comes.
fn since(position: usize) -> usize {
    if position == 0 { 0 } else { (position - 1) % CHUNK + 1 }
}

pub fn causal_conv_convolves(context: &GpuContext) {
    for shape in SHAPES {
        let net = net(shape, 0.0);
        let rows = net.rows(45, 8);
        let (channels, kernel) = (net.config.channels(), net.config.conv_kernel);
        let expected: Vec<f64> = net.convolved(&rows).concat();
        // The first 40 rows are in the ring, as far as it goes.
        let ring = kernel - 1 + 17;
        for (position, count) in [(0, 45), (0, 1), (1, 3), (20, 5), (40, 5)] {
            let mut inputs = vec![POISON; 3 * ring * channels];
            for (position, row) in rows[..position].iter().enumerate() {
                let at = (ring + position % ring) * channels;
                inputs[at..at + channels].copy_from_slice(&bits(&row[..channels]));
            }
            let table = Table {
                rows: (position..position + count).map(|position| [POISON, position as u32, 0]).collect(),
                spans: vec![[0, count as u32, position as u32, POISON]],
                layer: Layer::Slots(vec![[POISON, POISON, 1]]),
                ..Table::default()
            };
            let (vectors, [taps, ..]) = net.vectors();
            let params = [net.width() as u32, channels as u32, 0, LAYER, taps];
            let grid = [channels.div_ceil(64) as u32, count as u32, 1];
            let dispatch = Dispatch::new(Variant::causal_conv(&net.config), &params, grid)
                .words("table", table.words())
                .floats("vectors", &vectors)
                .floats("projected", &rows[position..position + count].concat())
                .words("inputs", inputs)
                .floats("mixed", &vec![poison(); count * channels]);
            let expected = &expected[position * channels..(position + count) * channels];
            for found in dispatch.run(context) {
                assert_close(&found.floats("mixed"), expected, 1e-12, &format!("{shape:?} from {position}"));
            }
        }
    }
}

pub fn delta_net_follows_the_rule(context: &GpuContext) {
    for shape in SHAPES {
        let net = net(shape, 0.0);
        let rows = net.rows(40, 9);
        for checks in [true, false] {
            let found = Kept::new(&net).read_cut(context, checks, &net, &rows, &[], false);
            assert_close(&found, &net.expected(&rows), BOUND, &format!("{shape:?}"));
        }
    }
}

#[test]
fn spans_of_any_length_follow_the_rule_however_they_are_cut() {
    let Some(context) = context() else { return };
    // Decays through nearly everything, and through hardly anything.
    for (shape, bias) in [(SHAPES[1], 0.0), (SHAPES[2], 0.0), (SHAPES[0], -20.0), (SHAPES[0], 5.0), (SHAPES[0], -6.0)] {
        let net = net(shape, bias);
        let all = net.rows(200, 10);
        // A row depends on none that comes later.
        let (width, expected) = (net.config.value_dim(), net.expected(&all));
        let all_cuts: [&[usize]; 3] = [&[1, 2, 16], &[15, 64, 65], &[3, 19, 35, 100, 128]];
        let counts = [1, 15, 16, 17, 63, 64, 65, 127, 128, 200];
        for (count, cuts) in counts.into_iter().zip(all_cuts.into_iter().cycle()) {
            let rows = &all[..count];
            let found = Kept::new(&net).read_cut(&context, false, &net, rows, &[], false);
            let what = format!("{count} rows of {shape:?} at {bias}");
            assert_close(&found, &expected[..count * width], BOUND, &what);
            let parts = Kept::new(&net).read_cut(&context, false, &net, rows, cuts, false);
            assert_same_bits(&parts, &found, &format!("{what} cut at {cuts:?}"));
        }
    }
}

#[test]
fn a_decode_step_gives_the_bits_of_a_prompt() {
    let Some(context) = context() else { return };
    for shape in SHAPES {
        let net = net(shape, 0.0);
        let rows = net.rows(37, 11);
        let prompt = Kept::new(&net).read_cut(&context, false, &net, &rows, &[], false);
        let cuts: Vec<usize> = (1..rows.len()).collect();
        let mut kept = Kept::new(&net);
        let decoded = kept.read_cut(&context, false, &net, &rows, &cuts, true);
        assert_same_bits(&decoded, &prompt, &format!("{shape:?}"));
        // And they go on alike, from what the other has left.
        let more = net.rows(3, 12);
        let part = |rows| [Part { sequence: 0, position: 37, since: since(37), rows }];
        let mut other = kept.clone();
        let prompt = other.read(&context, false, &net, &part(&more[..1]), false);
        let decoded = kept.read(&context, false, &net, &part(&more[..1]), true);
        assert_same_bits(&decoded, &prompt, &format!("{shape:?}, after a decode"));
    }
}

#[test]
fn sequences_of_a_step_do_not_meet() {
    let Some(context) = context() else { return };
    let net = net(SHAPES[1], 0.0);
    let (left, right) = (net.rows(35, 13), net.rows(35, 14));
    let alone = |rows: &[Vec<f32>]| Kept::new(&net).read_cut(&context, false, &net, rows, &[20], false);
    let (expected_left, expected_right) = (alone(&left), alone(&right));
    let width = net.config.value_dim();
    let mut kept = Kept::new(&net);
    for (left_rows, right_rows, convolves) in [(0..20, 0..3, false), (20..21, 3..4, true), (21..35, 4..35, false)] {
        let parts = [
            Part {
                sequence: 0,
                position: left_rows.start,
                since: since(left_rows.start),
                rows: &left[left_rows.clone()],
            },
            Part {
                sequence: 1,
                position: right_rows.start,
                since: since(right_rows.start),
                rows: &right[right_rows.clone()],
            },
        ];
        let found = kept.read(&context, false, &net, &parts, convolves);
        let (found_left, found_right) = found.split_at(left_rows.len() * width);
        assert_same_bits(found_left, &expected_left[left_rows.start * width..left_rows.end * width], "the first");
        assert_same_bits(found_right, &expected_right[right_rows.start * width..right_rows.end * width], "the second");
    }
}

#[test]
fn rows_that_are_taken_back_leave_no_trace() {
    let Some(context) = context() else { return };
    let net = net(SHAPES[2], 0.0);
    let (rows, wrong) = (net.rows(60, 15), net.rows(60, 16));
    let width = net.config.value_dim();
    let expected = Kept::new(&net).read_cut(&context, false, &net, &rows, &[], false);
    for position in [1, 3, 15, 16, 17, 31, 32, 40] {
        let (before, after) = rows[..47].split_at(position);
        // One row too many, and as many as a chunk has.
        let behind = if since(position) == CHUNK { 0 } else { since(position) };
        for count in [1, CHUNK - behind] {
            for convolves in [true, false] {
                let mut kept = Kept::new(&net);
                kept.read_cut(&context, false, &net, before, &[], false);
                if convolves && count > 1 {
                    continue;
                }
                let taken_back = Part { sequence: 0, position, since: since(position), rows: &wrong[..count] };
                kept.read(&context, false, &net, &[taken_back], convolves);
                let again = Part { sequence: 0, position, since: since(position + count) - count, rows: after };
                let found = kept.read(&context, false, &net, &[again], false);
                let what = format!("{count} rows taken back at {position}");
                assert_same_bits(&found, &expected[position * width..47 * width], &what);
            }
        }
    }
}

#[test]
fn an_infinite_rate_and_no_time_to_decay_in_leave_numbers() {
    let Some(context) = context() else { return };
    let mut net = net(SHAPES[0], 0.0);
    net.rate = vec![f32::NEG_INFINITY, -1e-30];
    // softplus(-1e4) is nothing; softplus(1e4) of a rate of next to nothing, too.
    net.bias = vec![-1e4, 1e4];
    let rows = net.rows(20, 17);
    let found = Kept::new(&net).read_cut(&context, false, &net, &rows, &[7, 17], false);
    assert_close(&found, &net.expected(&rows), BOUND, "an infinite rate");
    // With time, all is forgotten at once.
    net.bias = vec![0.0; 2];
    let found = Kept::new(&net).read_cut(&context, false, &net, &rows, &[], false);
    assert!(found.iter().all(|x| x.is_finite()));
    assert_close(&found, &net.expected(&rows), BOUND, "an infinite rate, and time");
}

/// Decays are near 1 where little time passes, and their distance to 1 is what counts over many rows.
#[test]
fn decays_of_little_time_and_a_large_rate_are_exact() {
    let Some(context) = context() else { return };
    for bias in [-12.0, -8.0, -7.5, -5.0] {
        let mut net = net(SHAPES[0], bias);
        net.rate = vec![-300.0, -0.5 / (bias.exp())];
        let rows = net.rows(100, 18);
        let found = Kept::new(&net).read_cut(&context, false, &net, &rows, &[], false);
        assert_close(&found, &net.expected(&rows), BOUND, &format!("large rates at {bias}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_rows_follow_the_rule(
        shape in prop::sample::select(SHAPES.to_vec()), bias in -20.0..6.0_f32, count in 1..90_usize,
        mut cuts in prop::collection::vec(1..90_usize, 0..5), seed in 0..1_u64 << 40,
    ) {
        if let Some(context) = context() {
            cuts.sort_unstable();
            let net = net(shape, bias);
            let rows = net.rows(count, seed);
            let found = Kept::new(&net).read_cut(&context, true, &net, &rows, &cuts, false);
            assert_close(&found, &net.expected(&rows), BOUND, &format!("{count} rows of {shape:?} cut at {cuts:?}"));
        }
    }
}
