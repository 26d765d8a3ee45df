//! Which adapter is taken, and what is said where none is.

use loquent::gpu::choose::choose_among;
use loquent::gpu::{Decision, Description, GpuError, GpuRequest, Kind, adapters, decide};
use loquent::{Backend, BackendError};

use crate::device::context;

/// One with no more than WebGPU guarantees.
pub(crate) fn adapter(name: &str, kind: Kind) -> Description {
    Description {
        name: name.to_owned(),
        kind,
        backend: "vulkan".to_owned(),
        driver: String::new(),
        vendor: String::new(),
        max_buffer_size: 256 << 20,
        max_storage_buffer_binding_size: 128 << 20,
        max_storage_buffers_per_shader_stage: 8,
        max_compute_workgroup_storage_size: 16 << 10,
        max_compute_invocations_per_workgroup: 256,
        max_compute_workgroups_per_dimension: 65_535,
        subgroup_min_size: 32,
        subgroup_max_size: 32,
        has_subgroups: true,
        has_timestamps: true,
    }
}

fn named(name: &str) -> GpuRequest {
    GpuRequest::Named(name.to_owned())
}

#[test]
fn backends_are_read_from_their_names() {
    for (text, backend) in [
        ("auto", Backend::Auto),
        ("cpu", Backend::Cpu),
        ("gpu", Backend::Gpu(GpuRequest::Best)),
        ("gpu:llvmpipe", Backend::Gpu(named("llvmpipe"))),
        ("gpu: Radeon: 780M ", Backend::Gpu(named("Radeon: 780M"))),
    ] {
        assert_eq!(text.parse(), Ok(backend), "{text}");
    }
    for text in ["", "GPU", "gpu:", "gpu: ", "cpu:", "auto:x", "gpux", "cuda"] {
        assert_eq!(text.parse::<Backend>(), Err(BackendError::Unknown { found: text.to_owned() }), "{text}");
    }
}

#[test]
fn the_best_is_the_first_hardware_that_shaders_run_on() {
    let mut found = [
        adapter("Small", Kind::Discrete),
        adapter("Card", Kind::Discrete),
        adapter("Chip", Kind::Integrated),
        adapter("llvmpipe", Kind::Software),
    ];
    found[0].max_compute_workgroup_storage_size = 8 << 10;
    assert_eq!(choose_among(&GpuRequest::Best, &found).unwrap(), 1);
    assert_eq!(choose_among(&GpuRequest::Best, &found[2..]).unwrap(), 0);
    let error = choose_among(&named("small"), &found).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Small (discrete, vulkan): max_compute_workgroup_storage_size is 8192: expected at least 16384"
    );
    assert!(matches!(choose_among(&GpuRequest::Best, &found[..1]), Err(GpuError::TooSmall { .. })));
}

#[test]
fn every_limit_that_shaders_rely_on_is_looked_at() {
    let good = adapter("Card", Kind::Discrete);
    assert_eq!(good.too_small(), None);
    let bad = [
        Description { max_storage_buffers_per_shader_stage: 7, ..good.clone() },
        Description { max_compute_workgroup_storage_size: 16_383, ..good.clone() },
        Description { max_compute_invocations_per_workgroup: 255, ..good.clone() },
        Description { max_compute_workgroups_per_dimension: 65_534, ..good },
    ];
    let expected = ["is 7: expected at least 8", "is 16383: expected at least 16384", "is 255: expected at least 256"];
    for (adapter, expected) in bad.iter().zip(expected.into_iter().chain(["is 65534: expected at least 65535"])) {
        assert!(adapter.too_small().is_some_and(|why| why.ends_with(expected)), "{expected}");
    }
}

#[test]
fn software_is_used_where_it_is_named_and_not_otherwise() {
    let found = [adapter("llvmpipe (LLVM 19)", Kind::Software)];
    let error = choose_among(&GpuRequest::Best, &found).unwrap_err();
    assert!(matches!(error, GpuError::OnlySoftware { .. }));
    assert!(error.to_string().ends_with("where it is named: llvmpipe (LLVM 19) (software, vulkan)"), "{error}");
    assert_eq!(choose_among(&named("LLVMpipe"), &found).unwrap(), 0);
    assert!(matches!(choose_among(&named("llvmpipe"), &[]), Err(GpuError::NoAdapter)));
}

#[test]
fn a_name_must_be_that_of_one_adapter() {
    let found = [adapter("Card 70 Ti", Kind::Discrete), adapter("Card 70", Kind::Discrete)];
    let error = choose_among(&named("Voodoo"), &found).unwrap_err().to_string();
    assert!(error.contains(r#""Voodoo""#) && error.contains("Card 70 Ti (discrete") && error.contains("Card 70 (d"));
    let error = choose_among(&named("card"), &found).unwrap_err();
    assert!(matches!(&error, GpuError::Ambiguous { found, .. } if found.len() == 2), "{error}");
    // A whole name is no part of another.
    assert_eq!(choose_among(&named("card 70"), &found).unwrap(), 1);
    // The same card through two drivers, or two of them.
    let twice = [adapter("Card", Kind::Discrete), adapter("Card", Kind::Discrete)];
    assert_eq!(choose_among(&named("card"), &twice).unwrap(), 0);
}

#[test]
fn adapters_come_best_first() {
    let kinds: Vec<Kind> = adapters().iter().map(|adapter| adapter.description.kind).collect();
    assert!(kinds.is_sorted(), "{kinds:?}");
    let best_first = [Kind::Discrete, Kind::Integrated, Kind::Virtual, Kind::Other, Kind::Software];
    assert!(best_first.is_sorted());
}

#[test]
fn auto_takes_hardware_and_else_the_cpu_with_a_reason() {
    let hardware = adapters().into_iter().find(|adapter| {
        let description = &adapter.description;
        description.is_hardware() && description.too_small().is_none()
    });
    let auto = decide(&Backend::Auto).expect("auto never fails");
    let gpu = decide(&Backend::Gpu(GpuRequest::Best));
    match (hardware, &auto) {
        (Some(best), Decision::Gpu { adapter, .. }) => {
            assert_eq!(adapter.description, best.description);
            assert!(gpu.is_ok());
        }
        (None, Decision::Cpu { why: Some(why) }) => {
            assert_eq!(why, &gpu.unwrap_err().to_string(), "what auto gets around, gpu fails of");
            assert_eq!(auto.to_string(), format!("computing on the CPU: {why}"));
        }
        (_, auto) => panic!("{auto}"),
    }
    assert!(matches!(decide(&Backend::Cpu), Ok(Decision::Cpu { why: None })));
}

#[test]
fn an_adapter_is_opened_with_all_that_it_allows() {
    let Some(context) = context() else { return };
    let found = adapters();
    let description = &found[0].description;
    let limits = context.device().limits();
    assert_eq!(context.info().name, description.name);
    assert_eq!(limits.max_buffer_size, description.max_buffer_size);
    assert_eq!(limits.max_storage_buffer_binding_size, description.max_storage_buffer_binding_size);
    let features = context.device().features();
    assert_eq!(features.contains(wgpu::Features::SUBGROUP), description.has_subgroups);
    assert_eq!(features.contains(wgpu::Features::TIMESTAMP_QUERY), description.has_timestamps);
    // What it is called is enough to ask for it.
    let request = Backend::Gpu(named(&description.name));
    assert!(matches!(decide(&request), Ok(Decision::Gpu { adapter, .. }) if adapter.description == *description));
}
