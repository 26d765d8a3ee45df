//! Every shader against its twin on the CPU, on whatever adapter there is.
//!
//! Bounds are normalised mean squared errors: squared differences over squares of what is expected. Singles that are off by
//! their last place everywhere give 10⁻¹⁵ to 10⁻¹⁴.
#![allow(unreachable_pub, reason = "modules of a test")]

mod attention;
mod delta_net;
mod elementwise;
mod experts;
mod products;
mod sampling;
mod table;
mod weights;

use loquent::gpu::GpuContext;
use loquent::gpu::shader::Shader;

use crate::device::context;

/// The fixed comparison of each shader. One without does not compile.
fn twin_of(shader: Shader) -> fn(&GpuContext) {
    match shader {
        Shader::Embed => elementwise::embed_gathers_rows,
        Shader::Matvec => products::matvec_multiplies,
        Shader::Matmul => products::matmul_multiplies,
        Shader::RmsNorm => elementwise::rms_norm_normalises,
        Shader::SiluMul => elementwise::silu_mul_gates,
        Shader::CausalConv => delta_net::causal_conv_convolves,
        Shader::DeltaNet => delta_net::delta_net_follows_the_rule,
        Shader::AppendKv => attention::append_kv_fills_the_cache,
        Shader::Attend => attention::attend_reads_the_cache,
        Shader::Combine => attention::combine_puts_parts_together,
        Shader::Sample => sampling::sample_picks,
        Shader::PickExperts => experts::pick_experts_picks,
        Shader::AddExperts => experts::add_experts_adds,
        Shader::CopyBlocks => elementwise::copy_blocks_copies,
    }
}

#[test]
fn every_shader_agrees_with_its_twin() {
    let Some(context) = context() else { return };
    for shader in Shader::ALL {
        twin_of(shader)(&context);
    }
}
