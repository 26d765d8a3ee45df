//! What a device is to do in a step, as plain data: which shader, on which buffers, in how many workgroups. It is made when
//! the shape of a batch changes; the systems of a step enqueue ranges of it. Its listing reads as the forward pass.

use std::fmt;
use std::ops::Range;

use super::shader::Shader;
use super::variant::Variant;

/// A buffer, by what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Buffer {
    /// What changes from step to step.
    Table,
    /// Picked tokens.
    Picks,
    /// All small tensors.
    Vectors,
    /// The residual stream, `[rows, hidden_size]`.
    Residual,
    /// It, normalised: of a prompt's rows.
    Normed,
    /// What a mixer's first product gives.
    Projected,
    /// Queries, keys and values after the convolution: of a prompt's rows.
    Mixed,
    /// What a mixer reads from its memory.
    Read,
    /// Parts of attention over long contexts.
    Parts,
    /// Gate and up: of a prompt's rows.
    GateUp,
    /// `silu(gate) · up`.
    Gated,
    /// A router's logits, and that of the share of the expert that all rows go through.
    Routed,
    /// The experts that rows go through, and their shares.
    Picked,
    /// `silu(gate) · up` of each expert that a row goes through.
    ExpertGated,
    /// What each expert made of each row that goes through it.
    ExpertOut,
    /// What the expert made that all rows go through.
    SharedOut,
    /// `[logit rows, vocab_size]`
    Logits,
    /// The codes of a part of an arena.
    Codes(usize, usize),
    /// Its scales and biases.
    Factors(usize, usize),
    /// The states of a delta-net layer.
    States(usize),
    /// Its rows since the last multiple.
    Memory(usize),
    /// Its rings of inputs of the convolution.
    Inputs(usize),
    /// The keys of an attention layer.
    Keys(usize),
    /// Its values.
    Values(usize),
}

impl fmt::Display for Buffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table => formatter.write_str("table"),
            Self::Picks => formatter.write_str("picks"),
            Self::Vectors => formatter.write_str("vectors"),
            Self::Residual => formatter.write_str("residual"),
            Self::Normed => formatter.write_str("normed"),
            Self::Projected => formatter.write_str("projected"),
            Self::Mixed => formatter.write_str("mixed"),
            Self::Read => formatter.write_str("read"),
            Self::Parts => formatter.write_str("parts"),
            Self::GateUp => formatter.write_str("gate_up"),
            Self::Gated => formatter.write_str("gated"),
            Self::Routed => formatter.write_str("routed"),
            Self::Picked => formatter.write_str("picked"),
            Self::ExpertGated => formatter.write_str("expert_gated"),
            Self::ExpertOut => formatter.write_str("expert_out"),
            Self::SharedOut => formatter.write_str("shared_out"),
            Self::Logits => formatter.write_str("logits"),
            Self::Codes(arena, part) => write!(formatter, "arena{arena}.{part}"),
            Self::Factors(arena, part) => write!(formatter, "factors{arena}.{part}"),
            Self::States(layer) => write!(formatter, "states{layer}"),
            Self::Memory(layer) => write!(formatter, "memory{layer}"),
            Self::Inputs(layer) => write!(formatter, "inputs{layer}"),
            Self::Keys(layer) => write!(formatter, "keys{layer}"),
            Self::Values(layer) => write!(formatter, "values{layer}"),
        }
    }
}

/// A buffer as a dispatch binds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Which.
    pub buffer: Buffer,
    /// Which bytes; all, if none are named.
    pub bytes: Option<Range<u64>>,
}

impl From<Buffer> for Bound {
    fn from(buffer: Buffer) -> Self {
        Self { buffer, bytes: None }
    }
}

/// The system of a step that enqueues a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In `Embed`.
    Embed,
    /// In `Mixer` of a layer.
    Mixer(usize),
    /// In `Mlp` of a layer.
    Mlp(usize),
    /// In `Head`.
    Head,
    /// In `Sample`.
    Sample,
}

/// One run of a shader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispatch {
    /// Whose it is.
    pub place: Place,
    /// What runs.
    pub variant: Variant,
    /// On what, in the order of its bindings, parameters left out.
    pub buffers: Vec<Bound>,
    /// Its parameters, each a word.
    pub params: Vec<u32>,
    /// Workgroups.
    pub grid: [u32; 3],
}

impl Dispatch {
    /// The bytes of weights that it reads: of an embedding, a row for each token.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        let planes =
            self.buffers.iter().filter(|bound| matches!(bound.buffer, Buffer::Codes(..) | Buffer::Factors(..)));
        let bytes: u64 = planes.filter_map(|bound| bound.bytes.as_ref()).map(|bytes| bytes.end - bytes.start).sum();
        match (self.variant.shader(), &self.params[..]) {
            (Shader::Embed, &[_, _, _, rows, skipped]) => {
                bytes / u64::from(rows + skipped).max(1) * u64::from(self.grid[0])
            }
            // Of experts, those that rows go through: all of them at most.
            (Shader::Matvec, &[.., experts, _, sharing]) if sharing > 0 => {
                bytes / u64::from(experts).max(1) * u64::from(experts.min(self.grid[2]))
            }
            _ => bytes,
        }
    }
}

/// All of a step, or of a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording {
    /// In order.
    pub dispatches: Vec<Dispatch>,
}

impl Recording {
    /// The dispatches of a system: they are together.
    #[must_use]
    pub fn range(&self, place: Place) -> Range<usize> {
        let start = self.dispatches.iter().position(|dispatch| dispatch.place == place).unwrap_or(0);
        let count = self.dispatches[start..].iter().take_while(|dispatch| dispatch.place == place).count();
        start..start + count
    }

    /// The bytes of weights that it reads.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.dispatches.iter().map(Dispatch::weight_bytes).sum()
    }
}

/// A line for each dispatch: the layer and set, the shader, the workgroups, and what is bound to which of its variables.
impl fmt::Display for Recording {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Dispatch { place, variant, buffers, grid: [x, y, z], .. } in &self.dispatches {
            let place = match place {
                Place::Embed => "   Embed".to_owned(),
                Place::Mixer(layer) => format!("{layer:2} Mixer"),
                Place::Mlp(layer) => format!("{layer:2} Mlp"),
                Place::Head => "   Head".to_owned(),
                Place::Sample => "   Sample".to_owned(),
            };
            write!(formatter, "{place:<9} {:<28} {:<11}", variant.to_string(), format!("{x}×{y}×{z}"))?;
            let names = variant.bindings();
            for ((name, _), bound) in names.iter().skip(1).zip(buffers) {
                let buffer = bound.buffer.to_string();
                write!(formatter, " {name}")?;
                if buffer != *name {
                    write!(formatter, "={buffer}")?;
                }
                if let Some(bytes) = &bound.bytes {
                    write!(formatter, "[{}..{}]", bytes.start, bytes.end)?;
                }
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}
