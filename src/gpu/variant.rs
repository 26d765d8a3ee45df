//! A shader made for one purpose: its text with the sizes that it must know when it is compiled, the format of the weights
//! that it reads, and how lanes add up. Plain concatenation; each becomes one pipeline.

use std::fmt::{self, Write as _};

use super::format::Format;
use super::shader::{Access, Binding, CODES, FACTORS, Shader};
use crate::checkpoint::{AttentionConfig, DeltaNetConfig, MoeConfig};

/// Workgroups in the first dimension of a grid that is folded: no dimension may have more than 65 535.
pub(super) const FOLD: u32 = 32_768;

/// Threads of a workgroup of attention, and the keys that it looks at together.
pub(super) const ATTEND_THREADS: u32 = 128;

/// Workgroups that share a long context, at most.
pub(super) const MOST_PARTS: u32 = 32;

/// Positions of which a layer's ring keeps the convolution's inputs, beside those that a row looks back at: a chunk, which
/// can be taken back, and the row in hand.
const RING_ROWS: usize = 17;

/// Values that a shader knows when it is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Constant {
    Number(u32),
    Flag(bool),
}

/// One pipeline's shader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    shader: Shader,
    format: Option<Format>,
    reduction: Option<Reduction>,
    constants: Vec<(&'static str, Constant)>,
}

/// How the lanes of a row add up their parts. The order differs, and with it the last bits: an adapter has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reduction {
    /// Through workgroup memory: works everywhere.
    Tree,
    /// By shuffles within subgroups of eight lanes or more.
    Subgroup,
    /// By one sum over subgroups of exactly 32.
    Subgroup32,
}

impl Reduction {
    /// The lanes that share a matrix row.
    const fn lanes(self) -> u32 {
        match self {
            Self::Tree | Self::Subgroup => 8,
            Self::Subgroup32 => 32,
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::Tree => include_str!("../../shaders/shared/reduce_tree.wgsl"),
            Self::Subgroup => include_str!("../../shaders/shared/reduce_subgroup.wgsl"),
            Self::Subgroup32 => include_str!("../../shaders/shared/reduce_subgroup32.wgsl"),
        }
    }
}

/// What becomes of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is stored.
    Store,
    /// It is added to what is there.
    Add,
    /// Rows come in pairs: `silu(first) · second` is stored.
    SiluMul,
}

/// Threads of a workgroup of [`Shader::Matvec`].
const MATVEC_THREADS: u32 = 64;
/// Matrix rows that a lane of it works on.
const MATVEC_ROWS: u32 = 2;

impl Variant {
    fn new(shader: Shader, constants: Vec<(&'static str, Constant)>) -> Self {
        Self { shader, format: None, reduction: None, constants }
    }

    /// Rows of an embedding in `format`.
    #[must_use]
    pub fn embed(format: Format) -> Self {
        Self { format: Some(format), ..Self::new(Shader::Embed, Vec::new()) }
    }

    /// `rows` rows, at most eight, times a matrix; `normed` if they are to be normalised first.
    #[must_use]
    pub fn matvec(format: Format, reduction: Reduction, rows: u32, normed: bool, outcome: Outcome) -> Self {
        Self::any_matvec(format, reduction, rows, normed, outcome, false)
    }

    /// Rows times the matrices of their experts.
    #[must_use]
    pub fn expert_matvec(format: Format, reduction: Reduction, outcome: Outcome) -> Self {
        Self::any_matvec(format, reduction, 1, false, outcome, true)
    }

    fn any_matvec(
        format: Format,
        reduction: Reduction,
        rows: u32,
        normed: bool,
        outcome: Outcome,
        experts: bool,
    ) -> Self {
        let lanes = reduction.lanes();
        let teams = MATVEC_THREADS / lanes;
        let sums = teams * MATVEC_ROWS * rows;
        let staged = if reduction == Reduction::Tree { sums * lanes } else { sums };
        let constants = vec![
            ("THREADS", Constant::Number(MATVEC_THREADS)),
            ("LANES", Constant::Number(lanes)),
            ("TEAMS", Constant::Number(teams)),
            ("ROWS", Constant::Number(MATVEC_ROWS)),
            ("M", Constant::Number(rows)),
            ("STAGED", Constant::Number(staged)),
            ("FOLD", Constant::Number(FOLD)),
            ("NORM", Constant::Flag(normed)),
            ("ADD", Constant::Flag(outcome == Outcome::Add)),
            ("PAIRED", Constant::Flag(outcome == Outcome::SiluMul)),
            ("EXPERTS", Constant::Flag(experts)),
        ];
        Self { format: Some(format), reduction: Some(reduction), ..Self::new(Shader::Matvec, constants) }
    }

    /// The matrix rows (or pairs of them) that one workgroup of a [`matvec`](Self::matvec) computes.
    pub(super) fn matvec_rows(reduction: Reduction, outcome: Outcome) -> u32 {
        let teams = MATVEC_THREADS / reduction.lanes();
        if outcome == Outcome::SiluMul { teams } else { teams * MATVEC_ROWS }
    }

    /// Many rows times a matrix.
    #[must_use]
    pub fn matmul(format: Format, add: bool) -> Self {
        Self { format: Some(format), ..Self::new(Shader::Matmul, vec![("ADD", Constant::Flag(add))]) }
    }

    /// Rows normalised.
    #[must_use]
    pub fn rms_norm() -> Self {
        Self::new(Shader::RmsNorm, Vec::new())
    }

    /// The gate of the MLP.
    #[must_use]
    pub fn silu_mul() -> Self {
        Self::new(Shader::SiluMul, Vec::new())
    }

    /// The convolution of a prompt's rows.
    #[must_use]
    pub fn causal_conv(net: &DeltaNetConfig) -> Self {
        let constants = vec![
            ("CHANNELS", Constant::Number(net.channels() as u32)),
            ("KERNEL", Constant::Number(net.conv_kernel as u32)),
            ("RING", Constant::Number(ring_rows(net) as u32)),
        ];
        Self::new(Shader::CausalConv, constants)
    }

    /// The delta rule: of single rows, `convolves` among them, or of many.
    #[must_use]
    pub fn delta_net(net: &DeltaNetConfig, convolves: bool) -> Self {
        let quads = net.value_head_dim.div_ceil(4) as u32;
        let slices = (256 / quads).clamp(1, 8);
        let mut constants = Self::causal_conv(net).constants;
        constants.extend([
            ("KEY_HEADS", Constant::Number(net.num_key_heads as u32)),
            ("VALUE_HEADS", Constant::Number(net.num_value_heads as u32)),
            ("KEY", Constant::Number(net.key_head_dim as u32)),
            ("VALUE", Constant::Number(net.value_head_dim as u32)),
            ("SLICES", Constant::Number(slices)),
            ("PARTIAL", Constant::Number((slices * quads * 4).max(256))),
            ("ROWS", Constant::Number(if convolves { 1 } else { piece_rows(net) })),
            ("CONVOLVES", Constant::Flag(convolves)),
            ("TILED", Constant::Flag(net.tiled_value_heads)),
        ]);
        Self::new(Shader::DeltaNet, constants)
    }

    /// A prompt's keys and values into the cache.
    #[must_use]
    pub fn append_kv(attention: &AttentionConfig) -> Self {
        Self::new(Shader::AppendKv, attention_constants(attention))
    }

    /// Attention over the cache; `appends` if a row's own key and value are not in it yet.
    #[must_use]
    pub fn attend(attention: &AttentionConfig, appends: bool) -> Self {
        let mut constants = attention_constants(attention);
        constants.extend([("MOST_PARTS", Constant::Number(MOST_PARTS)), ("APPENDS", Constant::Flag(appends))]);
        Self::new(Shader::Attend, constants)
    }

    /// Parts of attention over a long context.
    #[must_use]
    pub fn combine(attention: &AttentionConfig) -> Self {
        let mut constants = attention_constants(attention);
        constants.push(("MOST_PARTS", Constant::Number(MOST_PARTS)));
        Self::new(Shader::Combine, constants)
    }

    /// Tokens from logits.
    #[must_use]
    pub fn sample() -> Self {
        Self::new(Shader::Sample, Vec::new())
    }

    /// Experts for rows.
    #[must_use]
    pub fn pick_experts(moe: &MoeConfig) -> Self {
        let constants = vec![
            ("EXPERTS", Constant::Number(moe.num_experts as u32)),
            ("PICKED", Constant::Number(moe.num_experts_per_tok as u32)),
            ("NORMALISED", Constant::Flag(moe.norm_topk_prob)),
        ];
        Self::new(Shader::PickExperts, constants)
    }

    /// What experts made, added up.
    #[must_use]
    pub fn add_experts(moe: &MoeConfig) -> Self {
        let constants = vec![
            ("PICKED", Constant::Number(moe.num_experts_per_tok as u32)),
            ("SHARED", Constant::Flag(moe.shared_expert_intermediate_size.is_some())),
        ];
        Self::new(Shader::AddExperts, constants)
    }

    /// Blocks of a pool onto others, by `width` workgroups each.
    #[must_use]
    pub fn copy_blocks(width: u32) -> Self {
        Self::new(Shader::CopyBlocks, vec![("WIDTH", Constant::Number(width))])
    }

    /// Which shader it is of.
    #[must_use]
    pub fn shader(&self) -> Shader {
        self.shader
    }

    /// Its variables, the planes of its weights among them.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        let mut bindings = self.shader.bindings().to_vec();
        if let Some(format) = self.format {
            bindings.push((CODES, Access::Read));
            if format.has_factors() {
                bindings.push((FACTORS, Access::Read));
            }
        }
        bindings
    }

    /// Whether it needs subgroups.
    #[must_use]
    pub fn needs_subgroups(&self) -> bool {
        matches!(self.reduction, Some(Reduction::Subgroup | Reduction::Subgroup32))
    }

    /// Its text.
    #[must_use]
    pub fn source(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.constants {
            _ = match value {
                Constant::Number(number) => writeln!(text, "const {name}: u32 = {number}u;"),
                Constant::Flag(flag) => writeln!(text, "const {name}: bool = {flag};"),
            };
        }
        for (index, (name, _)) in self.bindings().iter().enumerate().skip(self.shader.bindings().len()) {
            let element = if *name == CODES { "vec4<u32>" } else { "u32" };
            _ = writeln!(text, "@group(0) @binding({index}) var<storage, read> {name}: array<{element}>;");
        }
        for part in self.format.into_iter().flat_map(Format::sources).copied() {
            text += part;
        }
        text += self.reduction.map_or("", Reduction::source);
        text + &self.shader.sources().concat()
    }
}

/// As a listing names it: the shader, and what sets the variant apart.
impl fmt::Display for Variant {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.shader.name())?;
        if let Some(format) = self.format {
            write!(formatter, " {format}")?;
        }
        for (name, value) in &self.constants {
            match (*name, value) {
                ("M", Constant::Number(rows)) => write!(formatter, " x{rows}")?,
                ("NORM", Constant::Flag(true)) => formatter.write_str(" norm")?,
                ("ADD", Constant::Flag(true)) => formatter.write_str(" add")?,
                ("PAIRED", Constant::Flag(true)) => formatter.write_str(" silu·mul")?,
                ("EXPERTS", Constant::Flag(true)) => formatter.write_str(" experts")?,
                ("CONVOLVES", Constant::Flag(true)) => formatter.write_str(" conv")?,
                ("APPENDS", Constant::Flag(true)) => formatter.write_str(" append")?,
                ("GATED", Constant::Flag(false)) => formatter.write_str(" -gate")?,
                ("QK_NORM", Constant::Flag(false)) => formatter.write_str(" -norm")?,
                _ => {}
            }
        }
        Ok(())
    }
}

/// The rows of a layer's ring of inputs.
pub(super) fn ring_rows(net: &DeltaNetConfig) -> usize {
    net.conv_kernel - 1 + RING_ROWS
}

/// The rows of a piece of the delta rule: as many as fit 16 KiB of workgroup memory, beside what does not depend on them.
fn piece_rows(net: &DeltaNetConfig) -> u32 {
    let fixed = 4 * 256.max(8 * net.value_head_dim.next_multiple_of(4)) + 256;
    let row = 4 * (2 * net.key_head_dim + 3 * net.value_head_dim + 2 * 16 + 2);
    [4, 2].into_iter().find(|&rows| fixed + rows * row <= 16 * 1024).unwrap_or(1) as u32
}

fn attention_constants(attention: &AttentionConfig) -> Vec<(&'static str, Constant)> {
    vec![
        ("THREADS", Constant::Number(ATTEND_THREADS)),
        ("HEADS", Constant::Number(attention.num_heads as u32)),
        ("KV_HEADS", Constant::Number(attention.num_kv_heads as u32)),
        ("HEAD_DIM", Constant::Number(attention.head_dim as u32)),
        ("ROTARY", Constant::Number(attention.rope.rotary_dim as u32)),
        ("QUERY_WIDTH", Constant::Number((attention.projected_query_dim() / attention.num_heads) as u32)),
        ("GATED", Constant::Flag(attention.output_gate)),
        ("QK_NORM", Constant::Flag(attention.qk_norm)),
    ]
}
