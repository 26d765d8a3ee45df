//! Every shader and variant goes through naga to Metal's, DirectX's and Vulkan's languages: that is how machines that are not
//! at hand are held.

use loquent::checkpoint::{AttentionConfig, DeltaNetConfig, MoeConfig, RopeConfig};
use loquent::gpu::Format;
use loquent::gpu::shader::Access;
use loquent::gpu::variant::{Outcome, Reduction, Variant};
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

/// Heads of the published shapes and of odd ones.
fn variants() -> Vec<Variant> {
    let mut variants = vec![Variant::rms_norm(), Variant::silu_mul(), Variant::sample(), Variant::copy_blocks(16)];
    for format in Format::ALL {
        variants.extend([Variant::embed(format), Variant::matmul(format, false), Variant::matmul(format, true)]);
        for reduction in [Reduction::Tree, Reduction::Subgroup, Reduction::Subgroup32] {
            for rows in [1, 2, 4, 8] {
                for (normed, outcome) in
                    [(false, Outcome::Store), (true, Outcome::Store), (false, Outcome::Add), (true, Outcome::SiluMul)]
                {
                    variants.push(Variant::matvec(format, reduction, rows, normed, outcome));
                }
            }
            variants.extend(
                [Outcome::Store, Outcome::SiluMul].map(|outcome| Variant::expert_matvec(format, reduction, outcome)),
            );
        }
    }
    for (num_experts, num_experts_per_tok, norm_topk_prob, shared) in
        [(128, 8, true, None), (5, 5, false, None), (512, 10, true, Some(1024)), (1024, 1024, true, Some(1))]
    {
        let moe = MoeConfig {
            num_experts,
            num_experts_per_tok,
            intermediate_size: 768,
            shared_expert_intermediate_size: shared,
            norm_topk_prob,
            layers: Vec::new(),
        };
        variants.extend([Variant::pick_experts(&moe), Variant::add_experts(&moe)]);
    }
    for (key_heads, value_heads, key, value, tiled_value_heads) in [
        (16, 16, 128, 128, false),
        (16, 48, 128, 128, false),
        (16, 48, 128, 128, true),
        (2, 4, 20, 12, true),
        (1, 3, 7, 33, false),
    ] {
        let net = DeltaNetConfig {
            num_key_heads: key_heads,
            num_value_heads: value_heads,
            key_head_dim: key,
            value_head_dim: value,
            conv_kernel: 4,
            tiled_value_heads,
        };
        let rules = [false, true].map(|convolves| Variant::delta_net(&net, convolves));
        variants.extend(rules);
        variants.push(Variant::causal_conv(&net));
    }
    for (num_heads, num_kv_heads, head_dim, rotary_dim, output_gate, qk_norm) in [
        (8, 2, 256, 64, true, true),
        (4, 2, 20, 4, true, true),
        (3, 1, 300, 20, true, true),
        (16, 8, 128, 128, false, true),
        (32, 8, 64, 64, false, false),
        (4, 2, 20, 4, true, false),
    ] {
        let rope = RopeConfig::unscaled(rotary_dim, 1e7);
        let attention = AttentionConfig { num_heads, num_kv_heads, head_dim, output_gate, qk_norm, rope };
        variants.push(Variant::append_kv(&attention));
        variants.push(Variant::combine(&attention));
        variants.extend([false, true].map(|appends| Variant::attend(&attention, appends)));
    }
    variants
}

fn validated(variant: &Variant) -> (naga::Module, naga::valid::ModuleInfo) {
    let source = variant.source();
    let module = naga::front::wgsl::parse_str(&source)
        .unwrap_or_else(|error| panic!("{variant}: {}", error.emit_to_string(&source)));
    let capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32 | Capabilities::SUBGROUP;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{variant}: {}", error.emit_to_string(&source)));
    (module, info)
}

#[test]
fn every_variant_is_valid_and_becomes_spirv_metal_and_hlsl() {
    for variant in variants() {
        let (module, info) = validated(&variant);
        naga::back::spv::write_vec(&module, &info, &naga::back::spv::Options::default(), None)
            .unwrap_or_else(|error| panic!("{variant} to SPIR-V: {error}"));
        let options =
            naga::back::msl::Options { lang_version: (2, 4), fake_missing_bindings: true, ..Default::default() };
        naga::back::msl::write_string(&module, &info, &options, &naga::back::msl::PipelineOptions::default())
            .unwrap_or_else(|error| panic!("{variant} to Metal: {error}"));
        let options = naga::back::hlsl::Options {
            shader_model: naga::back::hlsl::ShaderModel::V6_0,
            fake_missing_bindings: true,
            ..Default::default()
        };
        let mut text = String::new();
        naga::back::hlsl::Writer::new(&mut text, &options, &naga::back::hlsl::PipelineOptions::default())
            .write(&module, &info, None)
            .unwrap_or_else(|error| panic!("{variant} to HLSL: {error}"));
    }
}

#[test]
fn every_variant_binds_what_its_table_says_and_keeps_to_the_limits_of_webgpu() {
    for variant in variants() {
        let (module, _) = validated(&variant);
        let mut found: Vec<_> = module
            .global_variables
            .iter()
            .filter_map(|(_, variable)| {
                let access = match variable.space {
                    naga::AddressSpace::Uniform => Access::Uniform,
                    naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => {
                        Access::Write
                    }
                    naga::AddressSpace::Storage { .. } => Access::Read,
                    _ => return None,
                };
                Some((variable.binding.as_ref()?.binding, variable.name.clone()?, access))
            })
            .collect();
        found.sort_by_key(|&(binding, ..)| binding);
        let table: Vec<_> = variant
            .bindings()
            .iter()
            .zip(0..)
            .map(|(&(name, access), index)| (index, name.to_owned(), access))
            .collect();
        assert_eq!(found, table, "{variant}");
        let storage = table.iter().filter(|(_, _, access)| *access != Access::Uniform).count();
        assert!(storage <= 8, "{variant} binds {storage} storage buffers");

        let [x, y, z] = module.entry_points[0].workgroup_size;
        assert!(x * y * z <= 256, "{variant}: {x} by {y} by {z} threads");
        let context = module.to_ctx();
        let memory: u32 = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup)
            .map(|(_, variable)| module.types[variable.ty].inner.size(context))
            .sum();
        assert!(memory <= 16 * 1024, "{variant}: {memory} bytes of workgroup memory");
    }
}
