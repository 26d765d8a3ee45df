//! The recordings of a step: what each of its systems has a device do, for a batch of a given shape. Pure arithmetic on
//! sizes: no device is needed.

mod feed_forward;

use std::ops::Range;

use super::Gpu;
use super::layout::{Arena, Matrix, Piece, Vector};
use super::recording::{Bound, Buffer, Dispatch, Place, Recording};
use super::variant::{ATTEND_THREADS, FOLD, MOST_PARTS, Outcome, Reduction, Variant};
use crate::checkpoint::{DeltaNetConfig, ModelConfig, MoeConfig};
use crate::world::attention::Attention;
use crate::world::delta_net::DeltaNet;
use crate::world::parts::{FeedForward, Mixer, ModelParts};

/// The rows of a batch by their kind, which alone says which shader computes them. They come in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BatchShape {
    /// Generated tokens, one of a sequence.
    pub single: usize,
    /// Generated tokens that are read again, several of a sequence.
    pub again: usize,
    /// Tokens of prompts.
    pub prompt: usize,
    /// Sequences that have rows beyond `single`.
    pub spans: usize,
    /// Workgroups that share the longest context of `single`, and of the others.
    pub parts: [u32; 2],
}

impl BatchShape {
    /// All rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.single + self.again + self.prompt
    }
}

/// How many workgroups share a context of which `position` is the last position: rounded up, so that a recording lasts.
#[must_use]
pub fn parts_of(position: u32) -> u32 {
    let tiles = position / ATTEND_THREADS + 1;
    let used = tiles.div_ceil(tiles.div_ceil(MOST_PARTS));
    used.next_power_of_two()
}

/// Everything that planning asks of a model and of a device.
pub struct Planner<'a> {
    /// Its dimensions.
    pub config: &'a ModelConfig,
    /// Where its weights are.
    pub parts: &'a ModelParts<Gpu>,
    /// What they are in.
    pub arenas: &'a [Arena],
    /// How lanes add up.
    pub reduction: Reduction,
    /// The largest binding.
    pub binding_bytes: u64,
}

/// The rows of a product: which are first, and how many.
type Rows = Range<usize>;

impl Planner<'_> {
    /// From tokens to the residual stream after the last layer.
    #[must_use]
    pub fn body(&self, shape: BatchShape) -> Recording {
        let mut recording = Recording::default();
        self.embed(&mut recording, shape.rows());
        for (layer, parts) in self.parts.layers.iter().enumerate() {
            let mut step = Step { planner: self, recording: &mut recording, shape, place: Place::Mixer(layer), layer };
            let norm = parts.norms.input_layernorm;
            match &parts.mixer {
                Mixer::DeltaNet(net) => step.delta_net(net, norm),
                Mixer::Attention(attention) => step.attention(attention, norm),
            }
            step.place = Place::Mlp(layer);
            let norm = parts.norms.post_attention_layernorm;
            match &parts.feed_forward {
                FeedForward::Mlp(mlp) => step.mlp(mlp, norm),
                FeedForward::Moe(moe) => step.moe(moe, norm),
            }
        }
        recording
    }

    /// Logits of so many rows, of which `picks` get a token here.
    #[must_use]
    pub fn ends(&self, rows: usize, picks: usize) -> Recording {
        let mut recording = Recording::default();
        let ends = &self.parts.ends;
        let product = Product {
            cols: self.config.hidden_size,
            input: Buffer::Residual,
            output: Buffer::Logits,
            stride: stride(self.config.hidden_size),
            out_stride: stride(self.config.vocab_size),
            norm: Some((ends.norm, self.config.rms_norm_eps)),
            listed: true,
        };
        self.matvec(&mut recording, Place::Head, &product, &[*ends.head()], 0..rows, Outcome::Store);
        if picks > 0 {
            recording.dispatches.push(Dispatch {
                place: Place::Sample,
                variant: Variant::sample(),
                buffers: [Buffer::Table, Buffer::Logits, Buffer::Picks].map(Bound::from).into(),
                params: vec![self.config.vocab_size as u32, stride(self.config.vocab_size) as u32, 0],
                grid: [picks as u32, 1, 1],
            });
        }
        recording
    }

    fn embed(&self, recording: &mut Recording, rows: usize) {
        let table = self.parts.ends.embed_tokens;
        let arena = &self.arenas[table.arena];
        for piece in arena.pieces(table.arena, table.first..table.first + table.rows) {
            let (planes, skipped) = self.bind(&piece);
            let mut buffers = vec![Bound::from(Buffer::Table), Buffer::Picks.into(), Buffer::Residual.into()];
            buffers.extend(planes);
            let hidden = self.config.hidden_size;
            recording.dispatches.push(Dispatch {
                place: Place::Embed,
                variant: Variant::embed(arena.format),
                buffers,
                params: [hidden, stride(hidden), piece.before, piece.rows, skipped].map(|word| word as u32).into(),
                grid: [rows as u32, 1, 1],
            });
        }
    }

    /// The planes of a piece, and how many rows of the binding come before it.
    fn bind(&self, piece: &Piece) -> (Vec<Bound>, usize) {
        let arena = &self.arenas[piece.arena];
        let skipped = piece.first % arena.aligned_rows();
        let bound = |buffer, row_bytes: usize| {
            let bytes = (piece.first - skipped) * row_bytes..(piece.first + piece.rows) * row_bytes;
            Bound { buffer, bytes: Some(bytes.start as u64..bytes.end as u64) }
        };
        let mut planes = vec![bound(Buffer::Codes(piece.arena, piece.part), arena.code_bytes())];
        if arena.format.has_factors() {
            planes.push(bound(Buffer::Factors(piece.arena, piece.part), arena.factor_bytes()));
        }
        (planes, skipped)
    }

    /// The pieces of matrices whose results lie side by side, those that lie side by side themselves as one; and where
    /// the results of each begin.
    fn pieces(&self, matrices: &[Matrix]) -> Vec<(Piece, usize)> {
        let mut runs: Vec<(Matrix, usize)> = Vec::new();
        let mut column = 0;
        for &matrix in matrices {
            match runs.last_mut() {
                Some((run, _)) if run.arena == matrix.arena && run.first + run.rows == matrix.first => {
                    run.rows += matrix.rows;
                }
                _ => runs.push((matrix, column)),
            }
            column += matrix.rows;
        }
        let pieces = runs.into_iter().flat_map(|(run, column)| {
            let pieces = self.arenas[run.arena].pieces(run.arena, run.first..run.first + run.rows);
            pieces.into_iter().map(move |piece| (piece, column + piece.before))
        });
        pieces.collect()
    }

    fn matvec(
        &self,
        recording: &mut Recording,
        place: Place,
        product: &Product,
        matrices: &[Matrix],
        rows: Rows,
        outcome: Outcome,
    ) {
        let at_once = rows.len().next_power_of_two().min(8);
        for (piece, column) in self.pieces(matrices) {
            let (planes, skipped) = self.bind(&piece);
            let half = piece.rows / 2;
            let count = if outcome == Outcome::SiluMul { half } else { piece.rows };
            let (norm, eps) = product.norm.map_or((0, 0.0), |(norm, eps)| (norm.first, eps));
            let format = self.arenas[piece.arena].format;
            let groups = count.div_ceil(Variant::matvec_rows(self.reduction, outcome) as usize);
            let mut buffers =
                vec![Bound::from(Buffer::Table), Buffer::Vectors.into(), product.input.into(), product.output.into()];
            buffers.extend(planes);
            let mut params = words([product.cols, product.stride, product.out_stride, count, skipped, half, column]);
            params.extend(words([rows.start, rows.len(), norm]));
            params.extend([eps.to_bits(), u32::from(product.listed), 0, 0, 0, 0]);
            recording.dispatches.push(Dispatch {
                place,
                variant: Variant::matvec(format, self.reduction, at_once as u32, product.norm.is_some(), outcome),
                buffers,
                params,
                grid: fold(groups, rows.len().div_ceil(at_once)),
            });
        }
    }

    fn matmul(
        &self,
        recording: &mut Recording,
        place: Place,
        product: &Product,
        matrices: &[Matrix],
        rows: Rows,
        add: bool,
    ) {
        for (piece, column) in self.pieces(matrices) {
            let (planes, skipped) = self.bind(&piece);
            let mut buffers = vec![Bound::from(product.input), product.output.into()];
            buffers.extend(planes);
            let mut params = words([product.cols, product.stride, product.out_stride, piece.rows, skipped, column]);
            params.extend(words([rows.start, rows.len()]));
            recording.dispatches.push(Dispatch {
                place,
                variant: Variant::matmul(self.arenas[piece.arena].format, add),
                buffers,
                params,
                grid: [piece.rows.div_ceil(64) as u32, rows.len().div_ceil(64) as u32, 1],
            });
        }
    }
}

/// A product of rows with matrices, whichever shader computes it.
struct Product {
    cols: usize,
    input: Buffer,
    output: Buffer,
    stride: usize,
    out_stride: usize,
    norm: Option<(Vector, f32)>,
    /// Whether the rows are those that the table lists.
    listed: bool,
}

/// A layer being planned.
struct Step<'a, 'p> {
    planner: &'a Planner<'p>,
    recording: &'a mut Recording,
    shape: BatchShape,
    place: Place,
    layer: usize,
}

impl Step<'_, '_> {
    fn push(&mut self, variant: Variant, buffers: &[Buffer], params: Vec<u32>, grid: [u32; 3]) {
        let buffers = buffers.iter().map(|&buffer| buffer.into()).collect();
        self.recording.dispatches.push(Dispatch { place: self.place, variant, buffers, params, grid });
    }

    /// Rows of generated tokens.
    fn generated(&self) -> Rows {
        0..self.shape.single + self.shape.again
    }

    /// Rows of prompts.
    fn prompt(&self) -> Rows {
        self.shape.single + self.shape.again..self.shape.rows()
    }

    /// Rows of spans that may have several.
    fn spanned(&self) -> Rows {
        self.shape.single..self.shape.rows()
    }

    fn config(&self) -> &ModelConfig {
        self.planner.config
    }

    fn projected_stride(&self) -> usize {
        stride(projected_width(self.config()))
    }

    /// The residual, normalised by `norm`, times `matrices` → `output`.
    fn read_stream(&mut self, norm: Vector, matrices: &[Matrix], output: Buffer, out_stride: usize) {
        let (hidden, eps) = (self.config().hidden_size, self.config().rms_norm_eps);
        let product = Product {
            cols: hidden,
            input: Buffer::Residual,
            output,
            stride: stride(hidden),
            out_stride,
            norm: Some((norm, eps)),
            listed: false,
        };
        let (generated, prompt) = (self.generated(), self.prompt());
        if !generated.is_empty() {
            self.planner.matvec(self.recording, self.place, &product, matrices, generated, Outcome::Store);
        }
        if !prompt.is_empty() {
            self.normalise(norm, prompt.clone());
            let product = Product { input: Buffer::Normed, norm: None, ..product };
            self.planner.matmul(self.recording, self.place, &product, matrices, prompt, false);
        }
    }

    /// Rows of the residual → those of `Normed`.
    fn normalise(&mut self, norm: Vector, rows: Rows) {
        let hidden = self.config().hidden_size;
        let mut params = words([hidden, stride(hidden), rows.start, norm.first]);
        params.push(self.config().rms_norm_eps.to_bits());
        let buffers = [Buffer::Vectors, Buffer::Residual, Buffer::Normed];
        self.push(Variant::rms_norm(), &buffers, params, [rows.len() as u32, 1, 1]);
    }

    /// `input` times `matrix`, added to the residual.
    fn write_stream(&mut self, matrix: Matrix, cols: usize, input: Buffer, input_stride: usize) {
        let product = Product {
            cols,
            input,
            output: Buffer::Residual,
            stride: input_stride,
            out_stride: stride(self.config().hidden_size),
            norm: None,
            listed: false,
        };
        self.multiply(&product, &[matrix], true);
    }

    /// All rows times `matrices`, stored or added to what is there.
    fn multiply(&mut self, product: &Product, matrices: &[Matrix], add: bool) {
        let (generated, prompt) = (self.generated(), self.prompt());
        let outcome = if add { Outcome::Add } else { Outcome::Store };
        if !generated.is_empty() {
            self.planner.matvec(self.recording, self.place, product, matrices, generated, outcome);
        }
        if !prompt.is_empty() {
            self.planner.matmul(self.recording, self.place, product, matrices, prompt, add);
        }
    }

    fn delta_net(&mut self, net: &DeltaNet<Gpu>, norm: Vector) {
        let config = self.config().linear_attention().clone();
        let projected = self.projected_stride();
        let matrices = [net.in_proj_qkv, net.in_proj_z, net.in_proj_b, net.in_proj_a];
        self.read_stream(norm, &matrices, Buffer::Projected, projected);

        let spanned = self.spanned();
        let (mixed, out) = (stride(config.channels()), stride(read_width(self.config())));
        if !spanned.is_empty() {
            let params = words([projected, mixed, spanned.start, self.layer, net.conv1d.first]);
            let (layer, groups) = (self.layer, config.channels().div_ceil(64) as u32);
            let buffers = [Buffer::Table, Buffer::Vectors, Buffer::Projected, Buffer::Inputs(layer), Buffer::Mixed];
            self.push(Variant::causal_conv(&config), &buffers, params, [groups, spanned.len() as u32, 1]);
        }
        let (single, spans) = (self.shape.single, self.shape.spans);
        for (first_span, spans, convolves) in [(0, single, true), (single, spans, false)] {
            if spans == 0 {
                continue;
            }
            let mut params = words([projected, mixed, out, first_span, self.layer]);
            params.extend(words([net.conv1d, net.a_log, net.dt_bias, net.norm].map(|vector| vector.first)));
            params.push(self.config().rms_norm_eps.to_bits());
            let layer = self.layer;
            let buffers = [
                Buffer::Table,
                Buffer::Vectors,
                Buffer::Projected,
                // A decode step convolves by itself and leaves this one alone.
                if convolves { Buffer::Projected } else { Buffer::Mixed },
                Buffer::States(layer),
                Buffer::Memory(layer),
                Buffer::Inputs(layer),
                Buffer::Read,
            ];
            let grid = [config.num_value_heads as u32, spans as u32, 1];
            self.push(Variant::delta_net(&config, convolves), &buffers, params, grid);
        }
        self.write_stream(net.out_proj, config.value_dim(), Buffer::Read, out);
    }

    fn attention(&mut self, weights: &Attention<Gpu>, norm: Vector) {
        let config = self.config().attention.clone();
        let projected = self.projected_stride();
        self.read_stream(norm, &[weights.q_proj, weights.k_proj, weights.v_proj], Buffer::Projected, projected);

        let (layer, spanned) = (self.layer, self.spanned());
        let (keys, values) = (Buffer::Keys(layer), Buffer::Values(layer));
        let eps = self.config().rms_norm_eps.to_bits();
        // Where they are not normalised, nobody looks.
        let (q_norm, k_norm) = weights.qk_norm.as_ref().map_or((0, 0), |norm| (norm.q_norm.first, norm.k_norm.first));
        if !spanned.is_empty() {
            let mut params = words([projected, spanned.start, layer, k_norm]);
            params.push(eps);
            let buffers = [Buffer::Table, Buffer::Vectors, Buffer::Projected, keys, values];
            let grid = [config.num_kv_heads as u32, spanned.len() as u32, 1];
            self.push(Variant::append_kv(&config), &buffers, params, grid);
        }
        let out = stride(read_width(self.config()));
        let part_bytes = (config.num_heads * MOST_PARTS as usize * (config.head_dim + 2) * 4) as u64;
        for (rows, parts, appends) in
            [(0..self.shape.single, self.shape.parts[0], true), (spanned, self.shape.parts[1], false)]
        {
            // As many rows at once as leave their parts in one binding.
            let most = if parts > 1 { (self.planner.binding_bytes / part_bytes).max(1) as usize } else { rows.len() };
            for first in rows.clone().step_by(most.max(1)) {
                let count = most.min(rows.end - first) as u32;
                let mut params = words([projected, out, first, layer]);
                params.extend(words([q_norm, k_norm]));
                params.push(eps);
                let buffers =
                    [Buffer::Table, Buffer::Vectors, Buffer::Projected, keys, values, Buffer::Read, Buffer::Parts];
                let heads = config.num_heads as u32;
                self.push(Variant::attend(&config, appends), &buffers, params, [heads, parts, count]);
                if parts > 1 {
                    let params = words([projected, out, first]);
                    let buffers = [Buffer::Table, Buffer::Projected, Buffer::Parts, Buffer::Read];
                    self.push(Variant::combine(&config), &buffers, params, [heads, count, 1]);
                }
            }
        }
        self.write_stream(weights.o_proj, config.query_dim(), Buffer::Read, out);
    }
}

/// How far rows of so many values are apart: blocks of 32 are read whole.
#[must_use]
pub fn stride(width: usize) -> usize {
    width.next_multiple_of(32)
}

/// The width of the widest MLP that all rows go through.
pub(super) fn mlp_width(config: &ModelConfig) -> usize {
    let shared = config.moe.as_ref().and_then(|moe| moe.shared_expert_intermediate_size);
    config.intermediate_size.max(shared.unwrap_or(0))
}

/// What a router gives for a row, with the share of the expert that all rows go through.
pub(super) fn routed_width(moe: &MoeConfig) -> usize {
    moe.num_experts + usize::from(moe.shared_expert_intermediate_size.is_some())
}

/// What a mixer's first product gives for a row.
pub(super) fn projected_width(config: &ModelConfig) -> usize {
    let attention = &config.attention;
    let delta_net = config.delta_net.as_ref().map(|net| net.channels() + net.value_dim() + 2 * net.num_value_heads);
    delta_net.unwrap_or(0).max(attention.projected_query_dim() + 2 * attention.key_dim())
}

/// What the convolution of a delta net gives for a row.
pub(super) fn mixed_width(config: &ModelConfig) -> usize {
    config.delta_net.as_ref().map_or(0, DeltaNetConfig::channels)
}

/// What a mixer reads for a row.
pub(super) fn read_width(config: &ModelConfig) -> usize {
    config.delta_net.as_ref().map_or(0, DeltaNetConfig::value_dim).max(config.attention.query_dim())
}

fn words<const N: usize>(numbers: [usize; N]) -> Vec<u32> {
    numbers.map(|number| number as u32).into()
}

/// So many workgroups, folded where one dimension does not hold them.
fn fold(groups: usize, rows: usize) -> [u32; 3] {
    [groups.min(FOLD as usize) as u32, groups.div_ceil(FOLD as usize) as u32, rows as u32]
}
