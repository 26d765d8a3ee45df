//! The feed-forward half of a layer: one MLP for all rows, or experts.

use super::super::Gpu;
use super::super::layout::{Matrix, Piece, Vector};
use super::super::recording::{Bound, Buffer, Dispatch, Place, Recording};
use super::super::variant::{Outcome, Variant};
use super::{Planner, Product, Rows, Step, fold, routed_width, stride, words};
use crate::world::mlp::Mlp;
use crate::world::moe::{Moe, SharedExpert};

impl Step<'_, '_> {
    pub(super) fn mlp(&mut self, mlp: &Mlp<Gpu>, norm: Vector) {
        let (hidden, width) = (self.config().hidden_size, self.config().intermediate_size);
        let both = [mlp.gate_proj, mlp.up_proj];
        let generated = self.generated();
        if !generated.is_empty() && self.planner.pieces(&both).len() == 1 {
            let product = Product {
                cols: hidden,
                input: Buffer::Residual,
                output: Buffer::Gated,
                stride: stride(hidden),
                out_stride: stride(width),
                norm: Some((norm, self.config().rms_norm_eps)),
                listed: false,
            };
            self.planner.matvec(self.recording, self.place, &product, &both, generated, Outcome::SiluMul);
            if !self.prompt().is_empty() {
                let prompt = self.prompt();
                self.normalise(norm, prompt.clone());
                let product = Product {
                    input: Buffer::Normed,
                    output: Buffer::GateUp,
                    out_stride: stride(2 * width),
                    norm: None,
                    ..product
                };
                self.planner.matmul(self.recording, self.place, &product, &both, prompt.clone(), false);
                self.gate(prompt, width);
            }
        } else {
            self.read_stream(norm, &both, Buffer::GateUp, stride(2 * width));
            self.gate(0..self.shape.rows(), width);
        }
        self.write_stream(mlp.down_proj, width, Buffer::Gated, stride(width));
    }

    /// The rows that go through an expert go there one by one: which they are is known on the device alone.
    pub(super) fn moe(&mut self, moe: &Moe<Gpu>, norm: Vector) {
        let Some(settings) = self.config().experts_of(self.layer).cloned() else { return };
        let (hidden, width, rows) = (self.config().hidden_size, settings.intermediate_size, self.shape.rows());
        let (routed, per_row) = (stride(routed_width(&settings)), settings.num_experts_per_tok);
        self.normalise(norm, 0..rows);
        let of_normed = |output, out_stride| Product {
            cols: hidden,
            input: Buffer::Normed,
            output,
            stride: stride(hidden),
            out_stride,
            norm: None,
            listed: false,
        };
        let gates: Vec<Matrix> = [moe.gate].into_iter().chain(moe.shared.as_ref().map(|shared| shared.gate)).collect();
        self.multiply(&of_normed(Buffer::Routed, routed), &gates, false);
        let buffers = [Buffer::Routed, Buffer::Picked];
        self.push(Variant::pick_experts(&settings), &buffers, words([routed]), [rows as u32, 1, 1]);

        // Gate and up of an expert follow each other.
        let both: Vec<Matrix> = moe.experts.iter().map(Mlp::gate_and_up).collect();
        let down: Vec<Matrix> = moe.experts.iter().map(|mlp| mlp.down_proj).collect();
        let (place, picks) = (self.place, rows * per_row);
        let gated = of_normed(Buffer::ExpertGated, stride(width));
        let (sharing, outcome) = ([picks, per_row], Outcome::SiluMul);
        self.planner.expert_matvec(self.recording, place, &gated, &both, sharing, outcome);
        let made = Product {
            cols: width,
            input: Buffer::ExpertGated,
            output: Buffer::ExpertOut,
            stride: stride(width),
            out_stride: stride(hidden),
            ..gated
        };
        self.planner.expert_matvec(self.recording, place, &made, &down, [picks, 1], Outcome::Store);
        if let Some(SharedExpert { mlp, .. }) = &moe.shared {
            let width = mlp.gate_proj.rows;
            self.multiply(&of_normed(Buffer::GateUp, stride(2 * width)), &[mlp.gate_proj, mlp.up_proj], false);
            self.gate(0..rows, width);
            let made = Product {
                cols: width,
                input: Buffer::Gated,
                output: Buffer::SharedOut,
                stride: stride(width),
                out_stride: stride(hidden),
                ..made
            };
            self.multiply(&made, &[mlp.down_proj], false);
        }
        let buffers = [Buffer::Picked, Buffer::ExpertOut, Buffer::Routed, Buffer::SharedOut, Buffer::Residual];
        let params = words([hidden, stride(hidden), routed, settings.num_experts]);
        let grid = [hidden.div_ceil(64) as u32, rows as u32, 1];
        self.push(Variant::add_experts(&settings), &buffers, params, grid);
    }

    /// Rows of gate and up → `silu(gate) · up`.
    fn gate(&mut self, rows: Rows, width: usize) {
        let params = words([width, stride(2 * width), stride(width), rows.start]);
        let grid = [width.div_ceil(64) as u32, rows.len() as u32, 1];
        self.push(Variant::silu_mul(), &[Buffer::GateUp, Buffer::Gated], params, grid);
    }
}

impl Planner<'_> {
    /// Each of so many rows of `output` from the matrix of its expert; `sharing` of them share a row of `input`.
    fn expert_matvec(
        &self,
        recording: &mut Recording,
        place: Place,
        product: &Product,
        matrices: &[Matrix],
        [count, sharing]: [usize; 2],
        outcome: Outcome,
    ) {
        let [first, ..] = matrices else { return };
        let arena = &self.arenas[first.arena];
        let expert_rows = matrices.get(1).map_or(first.rows, |second| second.first - first.first);
        let half = if outcome == Outcome::SiluMul { first.rows / 2 } else { 0 };
        let rows = if half > 0 { half } else { first.rows };
        for part in 0..arena.parts() {
            let bounds = arena.part(part);
            let is_in = |matrix: &Matrix| bounds.start <= matrix.first && matrix.first + matrix.rows <= bounds.end;
            let Some(first_expert) = matrices.iter().position(is_in) else { continue };
            let experts = matrices[first_expert..].iter().take_while(|matrix| is_in(matrix)).count();
            let (from, to) = (matrices[first_expert].first, matrices[first_expert + experts - 1].first + first.rows);
            let piece = Piece { arena: first.arena, part, first: from - bounds.start, rows: to - from, before: 0 };
            let (planes, skipped) = self.bind(&piece);
            let groups = rows.div_ceil(Variant::matvec_rows(self.reduction, outcome) as usize);
            let mut buffers =
                vec![Bound::from(Buffer::Picked), Buffer::Vectors.into(), product.input.into(), product.output.into()];
            buffers.extend(planes);
            let mut params = words([product.cols, product.stride, product.out_stride, rows, skipped, half, 0]);
            params.extend(words([0, count, 0, 0, 0, first_expert, experts, expert_rows, sharing]));
            recording.dispatches.push(Dispatch {
                place,
                variant: Variant::expert_matvec(arena.format, self.reduction, outcome),
                buffers,
                params,
                grid: fold(groups, count),
            });
        }
    }
}
