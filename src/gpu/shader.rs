//! The shaders by name, and what each binds: `shaders/NAME.wgsl`.

/// A shader, one for each kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shader {
    /// Tokens → rows of the embedding.
    Embed,
    /// Few rows times a matrix.
    Matvec,
    /// Many rows times a matrix.
    Matmul,
    /// Rows normalised by their root mean square.
    RmsNorm,
    /// The gate of the MLP.
    SiluMul,
    /// The convolution of a prompt's rows.
    CausalConv,
    /// The gated delta rule.
    DeltaNet,
    /// A prompt's keys and values → the cache.
    AppendKv,
    /// Attention over the cache.
    Attend,
    /// Parts of attention over a long context → one.
    Combine,
    /// Logits → tokens.
    Sample,
    /// A router's logits → the experts that rows go through.
    PickExperts,
    /// What experts made → the residual stream.
    AddExperts,
    /// Blocks of a cache → other blocks.
    CopyBlocks,
}

/// What a shader does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Parameters, the same for the whole dispatch.
    Uniform,
    /// It reads.
    Read,
    /// It reads and writes.
    Write,
}

use Access::{Read, Uniform, Write};

/// A variable of a shader, in the order of their binding numbers.
pub type Binding = (&'static str, Access);

macro_rules! shader {
    ($name:literal) => {
        include_str!(concat!("../../shaders/", $name, ".wgsl"))
    };
}

/// The planes of a weight matrix come after a shader's own bindings.
pub(super) const CODES: &str = "codes";
pub(super) const FACTORS: &str = "factors";

impl Shader {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Embed,
        Self::Matvec,
        Self::Matmul,
        Self::RmsNorm,
        Self::SiluMul,
        Self::CausalConv,
        Self::DeltaNet,
        Self::AppendKv,
        Self::Attend,
        Self::Combine,
        Self::Sample,
        Self::PickExperts,
        Self::AddExperts,
        Self::CopyBlocks,
    ];

    /// Its name, and that of its file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embed => "embed",
            Self::Matvec => "matvec",
            Self::Matmul => "matmul",
            Self::RmsNorm => "rms_norm",
            Self::SiluMul => "silu_mul",
            Self::CausalConv => "causal_conv",
            Self::DeltaNet => "delta_net",
            Self::AppendKv => "append_kv",
            Self::Attend => "attend",
            Self::Combine => "combine",
            Self::Sample => "sample",
            Self::PickExperts => "pick_experts",
            Self::AddExperts => "add_experts",
            Self::CopyBlocks => "copy_blocks",
        }
    }

    /// Its text, and before it what it shares with others.
    pub(super) const fn sources(self) -> &'static [&'static str] {
        match self {
            Self::Embed => &[shader!("shared/table"), shader!("embed")],
            Self::Matvec => &[shader!("shared/silu"), shader!("matvec")],
            Self::Matmul => &[shader!("matmul")],
            Self::RmsNorm => &[shader!("rms_norm")],
            Self::SiluMul => &[shader!("shared/silu"), shader!("silu_mul")],
            Self::CausalConv => {
                &[shader!("shared/table"), shader!("shared/silu"), shader!("shared/convolve"), shader!("causal_conv")]
            }
            Self::DeltaNet => {
                &[shader!("shared/table"), shader!("shared/silu"), shader!("shared/convolve"), shader!("delta_net")]
            }
            Self::AppendKv => {
                &[shader!("shared/table"), shader!("shared/rotate"), shader!("shared/kv"), shader!("append_kv")]
            }
            Self::Attend => &[
                shader!("shared/table"),
                shader!("shared/silu"),
                shader!("shared/rotate"),
                shader!("shared/kv"),
                shader!("attend"),
            ],
            Self::Combine => &[shader!("shared/table"), shader!("shared/silu"), shader!("combine")],
            Self::Sample => &[shader!("sample")],
            Self::PickExperts => &[shader!("pick_experts")],
            Self::AddExperts => &[shader!("shared/silu"), shader!("add_experts")],
            Self::CopyBlocks => &[shader!("copy_blocks")],
        }
    }

    /// Its own variables; where it multiplies weights, their planes follow.
    #[must_use]
    pub const fn bindings(self) -> &'static [Binding] {
        const PARAMS: Binding = ("params", Uniform);
        const TABLE: Binding = ("table", Read);
        const VECTORS: Binding = ("vectors", Read);
        const PROJECTED: Binding = ("projected", Read);
        match self {
            Self::Embed => &[PARAMS, TABLE, ("picks", Read), ("out", Write)],
            Self::Matvec => &[PARAMS, TABLE, VECTORS, ("x", Read), ("out", Write)],
            Self::Matmul => &[PARAMS, ("x", Read), ("out", Write)],
            Self::RmsNorm => &[PARAMS, VECTORS, ("x", Read), ("out", Write)],
            Self::SiluMul => &[PARAMS, ("gate_up", Read), ("out", Write)],
            Self::CausalConv => &[PARAMS, TABLE, VECTORS, PROJECTED, ("inputs", Read), ("mixed", Write)],
            Self::DeltaNet => &[
                PARAMS,
                TABLE,
                VECTORS,
                PROJECTED,
                ("mixed", Read),
                ("states", Write),
                ("memory", Write),
                ("inputs", Write),
                ("out", Write),
            ],
            Self::AppendKv => &[PARAMS, TABLE, VECTORS, PROJECTED, ("keys", Write), ("values", Write)],
            Self::Attend => &[
                PARAMS,
                TABLE,
                VECTORS,
                PROJECTED,
                ("keys", Write),
                ("values", Write),
                ("out", Write),
                ("parts", Write),
            ],
            Self::Combine => &[PARAMS, TABLE, PROJECTED, ("parts", Read), ("out", Write)],
            Self::Sample => &[PARAMS, TABLE, ("logits", Read), ("picks", Write)],
            Self::PickExperts => &[PARAMS, ("logits", Read), ("picks", Write)],
            Self::AddExperts => {
                &[PARAMS, ("picks", Read), ("made", Read), ("logits", Read), ("shared_made", Read), ("out", Write)]
            }
            Self::CopyBlocks => &[PARAMS, ("pairs", Read), ("blocks", Write)],
        }
    }
}
