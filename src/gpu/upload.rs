//! Turns mapped tensors into buffers of a device. Their bytes were checked when the checkpoint handed them out (sizes, scales,
//! finite values), before the first of them comes here; what shaders may index follows from the sizes that are proven here.

use std::convert::Infallible;

use super::Gpu;
use super::context::{DeviceError, GpuContext};
use super::format::Format;
use super::layout::{Arena, Matrix, Vector};
use super::planes::{Planes, has_too_large_a_bias};
use crate::checkpoint::{ModelConfig, Tensor};
use crate::world::mlp::Mlp;
use crate::world::parts::{FeedForward, ModelParts};
use crate::world::role::{MatrixRole, VectorRole};
use crate::world::storage::{MapTensors, Mapped, Shape, Shapes, StoredVector};

/// The weights of a model on a device.
#[derive(Debug)]
pub struct Weights {
    pub(super) arenas: Vec<Arena>,
    /// Of each part of each arena, its codes and its factors.
    pub(super) planes: Vec<Vec<(wgpu::Buffer, Option<wgpu::Buffer>)>>,
    pub(super) vectors: wgpu::Buffer,
}

/// Bytes that are prepared at once.
const PIECE: usize = 4 << 20;

/// Decides where everything goes.
#[derive(Default)]
struct Placer {
    arenas: Vec<Arena>,
    /// Where, in each, matrices begin that do not follow another of it: those that follow each other read the same input.
    groups: Vec<Vec<usize>>,
    last: Option<usize>,
    vectors: usize,
    /// Why a matrix has no place.
    failed: Option<DeviceError>,
}

impl Placer {
    fn place_matrix(&mut self, format: Format, dims: &[usize]) -> Matrix {
        let &[rows, cols] = dims else { return Matrix { arena: 0, first: 0, rows: 0 } };
        let found = self.arenas.iter().position(|arena| arena.format == format && arena.cols == cols);
        let arena = found.unwrap_or_else(|| {
            self.arenas.push(Arena { format, cols, rows: 0, ends: Vec::new() });
            self.groups.push(Vec::new());
            self.arenas.len() - 1
        });
        let first = self.arenas[arena].rows;
        self.arenas[arena].rows += rows;
        if self.last.replace(arena) != Some(arena) {
            self.groups[arena].push(first);
        }
        Matrix { arena, first, rows }
    }

    /// The matrices of an expert: what may be cut from each other, since only its gate and up are read together.
    fn place_expert(&mut self, name: &str, format: Format, dims: &[usize]) -> Matrix {
        let begins = !name.ends_with(".up_proj.weight");
        self.last = self.last.filter(|_| !begins);
        self.place_matrix(format, dims)
    }

    fn place_vector(&mut self, len: usize) -> Vector {
        let first = self.vectors;
        self.vectors = (first + len).next_multiple_of(4);
        Vector { first, len }
    }

    fn check(&mut self, name: &str, tensor: &Tensor) {
        if self.failed.is_none() && has_too_large_a_bias(tensor) {
            self.failed = Some(DeviceError::Unreadable { tensor: name.to_owned(), element: tensor.element() });
        }
    }

    /// Cuts arenas into parts that a binding may have.
    fn cut(mut self, binding_bytes: u64) -> Result<(Vec<Arena>, usize), DeviceError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        for (arena, groups) in self.arenas.iter_mut().zip(&self.groups) {
            let row_bytes = arena.code_bytes().max(arena.factor_bytes()) as u64;
            let rows = usize::try_from(binding_bytes / row_bytes.max(1)).unwrap_or(usize::MAX);
            arena.cut(groups, rows);
            if rows < arena.aligned_rows() {
                let what = format!("rows of {} weights ({})", arena.cols, arena.format);
                let needed = row_bytes * arena.aligned_rows() as u64;
                return Err(DeviceError::BindingTooSmall { what, needed, limit: binding_bytes });
            }
        }
        let needed = 4 * self.vectors as u64;
        if needed > binding_bytes {
            let what = "the norms and other small tensors".to_owned();
            return Err(DeviceError::BindingTooSmall { what, needed, limit: binding_bytes });
        }
        Ok((self.arenas, self.vectors))
    }
}

impl MapTensors<Mapped, Gpu> for Placer {
    type Error = Infallible;

    fn matrix(&mut self, name: &str, tensor: &Tensor) -> Result<Matrix, Infallible> {
        self.check(name, tensor);
        Ok(self.place_matrix(format_of(tensor), tensor.shape()))
    }

    fn expert(&mut self, name: &str, tensor: &Tensor) -> Result<Matrix, Infallible> {
        self.check(name, tensor);
        Ok(self.place_expert(name, format_of(tensor), tensor.shape()))
    }

    fn vector(&mut self, _: &str, vector: &StoredVector) -> Result<Vector, Infallible> {
        Ok(self.place_vector(vector.tensor.len()))
    }
}

/// The same of what a configuration promises, with all matrices in one format.
struct Promised {
    placer: Placer,
    format: Format,
}

impl MapTensors<Shapes, Gpu> for Promised {
    type Error = Infallible;

    fn matrix(&mut self, _: &str, matrix: &Shape<MatrixRole>) -> Result<Matrix, Infallible> {
        Ok(self.placer.place_matrix(self.format, &matrix.dims))
    }

    fn expert(&mut self, name: &str, matrix: &Shape<MatrixRole>) -> Result<Matrix, Infallible> {
        Ok(self.placer.place_expert(name, self.format, &matrix.dims))
    }

    fn vector(&mut self, _: &str, vector: &Shape<VectorRole>) -> Result<Vector, Infallible> {
        Ok(self.placer.place_vector(vector.dims.iter().product()))
    }
}

/// Where the tensors of a model of `config` would go, all its matrices in `format`: to plan steps without a model. A head that
/// predicts several tokens is left out: no shader runs it.
///
/// # Errors
/// As [`place`].
pub fn place_promised(
    config: &ModelConfig,
    format: Format,
    binding_bytes: u64,
) -> Result<(ModelParts<Gpu>, Vec<Arena>), DeviceError> {
    let mut promised = Promised { placer: Placer::default(), format };
    let Ok(placed) = ModelParts::shapes(config).without_mtp().map(&mut promised);
    let (arenas, _) = promised.placer.cut(binding_bytes)?;
    check_experts(&placed, &arenas, binding_bytes)?;
    Ok((placed, arenas))
}

/// Where the tensors of a model go, on a device whose bindings have at most `binding_bytes`.
///
/// # Errors
/// If a matrix is stored as shaders do not read it, or if a row of one, or all small tensors together, do not fit a binding.
pub fn place(
    parts: &ModelParts<Mapped>,
    binding_bytes: u64,
) -> Result<(ModelParts<Gpu>, Vec<Arena>, usize), DeviceError> {
    let mut placer = Placer::default();
    let Ok(placed) = parts.map(&mut placer);
    let (arenas, vectors) = placer.cut(binding_bytes)?;
    check_experts(&placed, &arenas, binding_bytes)?;
    Ok((placed, arenas, vectors))
}

fn format_of(tensor: &Tensor) -> Format {
    Format::of(tensor.element(), tensor.shape().last().copied().unwrap_or(0))
}

/// Whether shaders find the matrices of experts by counting: one kind of each layer lies at equal distances, and none is cut.
fn check_experts(parts: &ModelParts<Gpu>, arenas: &[Arena], binding_bytes: u64) -> Result<(), DeviceError> {
    for (layer, parts) in parts.layers.iter().enumerate() {
        let FeedForward::Moe(moe) = &parts.feed_forward else { continue };
        let follows =
            |mlp: &Mlp<Gpu>| mlp.up_proj == Matrix { first: mlp.gate_proj.first + mlp.gate_proj.rows, ..mlp.gate_proj };
        let kinds: [Vec<Matrix>; 2] =
            [moe.experts.iter().map(Mlp::gate_and_up).collect(), moe.experts.iter().map(|mlp| mlp.down_proj).collect()];
        let are_even = kinds.iter().all(|matrices| {
            // Each lies behind those before it.
            let distances = matrices.windows(2).map(|pair| pair[1].first - pair[0].first);
            matrices.iter().all(|matrix| matrix.arena == matrices[0].arena)
                && distances.clone().all(|distance| Some(distance) == distances.clone().next())
        });
        if !are_even || !moe.experts.iter().all(follows) {
            return Err(DeviceError::MixedExperts { layer });
        }
        for matrix in kinds.iter().flatten() {
            let arena = &arenas[matrix.arena];
            if arena.pieces(matrix.arena, matrix.first..matrix.first + matrix.rows).len() > 1 {
                let needed = matrix.rows as u64 * arena.code_bytes().max(arena.factor_bytes()) as u64;
                let what = format!("the matrices of an expert of layer {layer}");
                return Err(DeviceError::BindingTooSmall { what, needed, limit: binding_bytes });
            }
        }
    }
    Ok(())
}

/// Uploads the tensors of a model to where [`place`] puts them. They are those of the trunk: no shader runs a head that predicts
/// several tokens.
///
/// # Errors
/// If they do not fit the device's bindings or its memory, or it is lost.
pub fn upload(parts: &ModelParts<Mapped>, context: &GpuContext) -> Result<(ModelParts<Gpu>, Weights), DeviceError> {
    let (placed, arenas, vectors) = place(parts, context.binding_bytes())?;
    let buffer = |what: &str, bytes: usize| {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        context.buffer(what, bytes as u64, usage)
    };
    let mut planes = Vec::new();
    for arena in &arenas {
        let parts = (0..arena.parts()).map(|part| {
            let rows = arena.part(part).len();
            let factors = match arena.factor_bytes() {
                0 => None,
                bytes => Some(buffer("scales and biases", rows * bytes)?),
            };
            Ok((buffer("weights", rows * arena.code_bytes())?, factors))
        });
        planes.push(parts.collect::<Result<Vec<_>, DeviceError>>()?);
    }
    let vectors = buffer("norms and other small tensors", 4 * vectors.max(4))?;
    let weights = Weights { arenas, planes, vectors };
    let mut writer = Writer { context, placer: Placer::default(), weights: &weights, failed: None };
    let Ok(_): Result<ModelParts<Gpu>, _> = parts.map(&mut writer);
    match writer.failed {
        Some(error) => Err(error),
        None => Ok((placed, weights)),
    }
}

/// Writes each tensor to its place. It finds it as it was found before: by counting.
struct Writer<'a> {
    context: &'a GpuContext,
    placer: Placer,
    weights: &'a Weights,
    failed: Option<DeviceError>,
}

impl MapTensors<Mapped, Gpu> for Writer<'_> {
    type Error = Infallible;

    fn matrix(&mut self, name: &str, tensor: &Tensor) -> Result<Matrix, Infallible> {
        let matrix = self.placer.matrix(name, tensor)?;
        self.write(name, tensor, matrix);
        Ok(matrix)
    }

    fn expert(&mut self, name: &str, tensor: &Tensor) -> Result<Matrix, Infallible> {
        let matrix = self.placer.expert(name, tensor)?;
        self.write(name, tensor, matrix);
        Ok(matrix)
    }

    fn vector(&mut self, name: &str, vector: &StoredVector) -> Result<Vector, Infallible> {
        let place = self.placer.vector(name, vector)?;
        let mut values = vector.tensor.to_f32();
        vector.role.make_arithmetic(&mut values);
        if let (VectorRole::ConvTaps, &[.., kernel]) = (vector.role, vector.tensor.shape()) {
            values = (0..kernel).flat_map(|tap| values.iter().skip(tap).step_by(kernel).copied()).collect();
        }
        self.context.queue().write_buffer(&self.weights.vectors, 4 * place.first as u64, bytemuck::cast_slice(&values));
        Ok(place)
    }
}

impl Writer<'_> {
    fn write(&mut self, name: &str, tensor: &Tensor, matrix: Matrix) {
        let arena = &self.weights.arenas[matrix.arena];
        let rows_at_once = (PIECE / arena.code_bytes().max(1)).max(1);
        for piece in arena.pieces(matrix.arena, matrix.first..matrix.first + matrix.rows) {
            let (codes, factors) = &self.weights.planes[matrix.arena][piece.part];
            for start in (0..piece.rows).step_by(rows_at_once) {
                let count = rows_at_once.min(piece.rows - start);
                let rows = piece.before + start..piece.before + start + count;
                let to = piece.first + start;
                let planes = Planes::of(tensor, rows);
                self.context.queue().write_buffer(codes, (to * arena.code_bytes()) as u64, &planes.codes);
                if let Some(factors) = factors {
                    self.context.queue().write_buffer(factors, (to * arena.factor_bytes()) as u64, &planes.factors);
                }
                self.flush(name);
            }
        }
    }

    /// Sends what was written: what waits takes host memory.
    fn flush(&mut self, name: &str) {
        self.context.queue().submit([]);
        if self.failed.is_none()
            && let Err(error) = self.context.wait(&format!("uploading {name}"))
        {
            self.failed = Some(error);
        }
    }
}
