//! What comes of a sequence depends on nothing but the sequence: not on where steps are cut, on who shares the batch, on what
//! was sent ahead.

use bevy_ecs::prelude::*;
use loquent::cpu::Cpu;
use loquent::gpu::recording::Buffer;
use loquent::gpu::{Recorder, Tap, Tapped};
use loquent::prelude::*;
use loquent::sampling::Sampling;
use loquent::schedule::LayerPass;
use loquent::world::activations::Logits;
use loquent::world::cache::Caches;
use loquent::world::sequence::HostLogits;

use crate::device::{context, open};
use crate::models::{generate, gpu_world};
use crate::support::{demo, run, some_prompt, spawn, take, vocab_size};

/// The bits of the logits after `prompt` and `new` tokens more.
fn bits_after(world: &mut World, prompt: &[u32], new: usize, budget: Budget) -> Vec<u32> {
    let sequence = spawn(world, prompt, new + 1);
    world.entity_mut(sequence).insert(HostLogits);
    run(world, budget);
    let bits = world.resource::<Logits<Cpu>>().0.row(0).iter().map(|logit| logit.to_bits()).collect();
    take(world, sequence);
    bits
}

#[test]
fn bits_do_not_depend_on_where_steps_and_prompts_are_cut() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let prompt = some_prompt(75, vocab_size(&mut world));
    let whole = bits_after(&mut world, &prompt, 20, Budget::Step);
    for (rows, budget) in [(256, Budget::Pieces(1)), (64, Budget::Step), (7, Budget::Pieces(3)), (1, Budget::Step)] {
        world.insert_resource(Limits { rows, ..Limits::default() });
        assert_eq!(bits_after(&mut world, &prompt, 20, budget), whole, "{rows} rows, {budget:?}");
    }
}

#[test]
fn neighbours_and_late_arrivals_change_nothing() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let vocab_size = vocab_size(&mut world);
    let prompts: Vec<_> = [40, 3, 17, 1, 90, 33, 64, 5, 16].map(|length| some_prompt(length, vocab_size)).into();
    let alone: Vec<_> = prompts.iter().map(|prompt| generate(&mut world, prompt, 20)).collect();
    let mut sequences = Vec::new();
    for prompt in &prompts {
        sequences.push(spawn(&mut world, prompt, 20));
        for _ in 0..3 {
            advance(&mut world, Budget::Step);
        }
    }
    run(&mut world, Budget::Step);
    let together: Vec<_> = sequences.into_iter().map(|sequence| take(&mut world, sequence)).collect();
    assert_eq!(together, alone);
}

#[test]
fn forks_go_on_as_the_original_does_and_do_not_disturb_it() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let prompt = some_prompt(30, vocab_size(&mut world));
    let expected = generate(&mut world, &prompt, 40);
    for after in [1, 3, 20] {
        let original = spawn(&mut world, &prompt, 40);
        while world.get::<Tokens>(original).is_none_or(|tokens| tokens.generated.len() < after) {
            advance(&mut world, Budget::Step);
        }
        let fork = world.entity_mut(original).clone_and_spawn_with_opt_out(|builder| {
            builder.linked_cloning(true);
        });
        let other = world.entity_mut(original).clone_and_spawn_with_opt_out(|builder| {
            builder.linked_cloning(true);
        });
        world.entity_mut(other).insert(Sampler::new(Sampling { temperature: 2.0, ..Sampling::default() }, 7).unwrap());
        assert!(world.get::<Caches>(fork).is_some());
        run(&mut world, Budget::Step);
        assert_eq!(take(&mut world, original), expected, "the original, after {after}");
        assert_eq!(take(&mut world, fork), expected, "the fork, after {after}");
        assert_ne!(take(&mut world, other), expected);
    }
}

#[test]
fn a_step_that_was_sent_ahead_for_nothing_leaves_no_trace() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let prompt = some_prompt(30, vocab_size(&mut world));
    let sampling = Sampling { temperature: 0.9, top_k: 40, ..Sampling::default() };
    let random = |world: &mut World| {
        let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(40) };
        world.spawn((Prompt::ids(prompt.as_slice()), Sampler::new(sampling.clone(), 3).unwrap(), rules)).id()
    };
    let sequence = random(&mut world);
    run(&mut world, Budget::Step);
    let expected = take(&mut world, sequence);
    // At every step, a newcomer changes the batch that was foreseen; the sequence's positions pass every place in a chunk.
    let sequence = random(&mut world);
    while world.get::<Finished>(sequence).is_none() {
        advance(&mut world, Budget::Step);
        let newcomer = spawn(&mut world, &[1, 2, 3], 1);
        while world.get::<Finished>(newcomer).is_none() {
            advance(&mut world, Budget::Step);
        }
        world.despawn(newcomer);
    }
    assert_eq!(take(&mut world, sequence), expected);
    // An end token is known a step late only.
    let place = expected.iter().position(|&token| token == expected[25]).unwrap();
    let rules = StopRules { end_tokens: Some(vec![expected[25]]), ..StopRules::after(40) };
    let sampler = Sampler::new(sampling.clone(), 3).unwrap();
    let sequence = world.spawn((Prompt::ids(prompt.as_slice()), sampler, rules)).id();
    run(&mut world, Budget::Step);
    assert_eq!(take(&mut world, sequence), expected[..=place]);
    // A change of mind between two steps.
    let sequence = random(&mut world);
    while world.get::<Tokens>(sequence).is_none_or(|tokens| tokens.generated.len() < 20) {
        advance(&mut world, Budget::Step);
    }
    world.entity_mut(sequence).insert(Sampler::default());
    advance(&mut world, Budget::Step);
    let greedy = world.get::<Tokens>(sequence).unwrap().generated[20];
    let asked = [prompt.as_slice(), &expected[..20]].concat();
    world.despawn(sequence);
    let mut cpu = crate::support::exact_world(&demo());
    assert_eq!(crate::support::generate(&mut cpu, &asked, 1), [greedy]);
    // Logits that are asked for in between come back, and one token is picked from them.
    let sequence = random(&mut world);
    while world.get::<Finished>(sequence).is_none() {
        advance(&mut world, Budget::Step);
        let count = world.get::<Tokens>(sequence).unwrap().generated.len();
        if count % 7 == 3 {
            world.entity_mut(sequence).insert(HostLogits);
        } else {
            world.entity_mut(sequence).remove::<HostLogits>();
        }
    }
    assert_eq!(take(&mut world, sequence), expected);
}

#[test]
fn the_device_picks_what_the_host_would_with_the_same_random_numbers() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let prompt = some_prompt(20, vocab_size(&mut world));
    for (top_k, top_p, min_p) in [(0, 1.0, 0.0), (20, 1.0, 0.0), (0, 0.9, 0.0), (0, 1.0, 0.1), (50, 0.8, 0.02)] {
        let sampling = Sampling { temperature: 1.1, top_k, top_p, min_p, ..Sampling::default() };
        let texts = [false, true].map(|on_host| {
            let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(60) };
            let sampler = Sampler::new(sampling.clone(), 11).unwrap();
            let sequence = world.spawn((Prompt::ids(prompt.as_slice()), sampler, rules)).id();
            if on_host {
                world.entity_mut(sequence).insert(HostLogits);
            }
            run(&mut world, Budget::Step);
            take(&mut world, sequence)
        });
        assert_eq!(texts[0], texts[1], "{sampling:?}");
    }
}

#[test]
fn a_tap_sees_the_residual_and_changes_nothing() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let prompt = some_prompt(30, vocab_size(&mut world));
    let expected = generate(&mut world, &prompt, 20);
    #[derive(Resource, Default)]
    struct Wanted(bool);
    world.init_resource::<Wanted>();
    world.schedule_scope(LayerPass, |_, schedule| {
        let tap = |wanted: Res<Wanted>, mut recorder: ResMut<Recorder>| {
            if wanted.0 {
                recorder.tap(Tap { label: "after a mixer".to_owned(), buffer: Buffer::Residual });
            }
        };
        schedule.add_systems(tap.after(LayerSystems::Mixer).before(LayerSystems::MlpNorm));
    });
    let sequence = spawn(&mut world, &prompt, 20);
    let mut taps = 0;
    while world.get::<Finished>(sequence).is_none() {
        // Now and then, in the middle of steps that were sent ahead.
        let generated = world.get::<Tokens>(sequence).map_or(0, |tokens| tokens.generated.len());
        world.resource_mut::<Wanted>().0 = generated % 11 == 10;
        advance(&mut world, Budget::Step);
        for tapped in world.resource_mut::<Messages<Tapped>>().drain() {
            taps += 1;
            assert_eq!(tapped.rows.len(), 1);
            assert!(tapped.rows[0].iter().any(|&value| value != 0.0));
        }
    }
    assert!(taps > 0);
    assert_eq!(take(&mut world, sequence), expected);
}

#[test]
fn a_budget_of_time_never_waits_for_the_device_and_gives_it_no_more_than_fits() {
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let prompt = some_prompt(50, vocab_size(&mut world));
    let expected = generate(&mut world, &prompt, 20);
    let budget = Budget::Time(std::time::Duration::from_millis(3));
    let sequence = spawn(&mut world, &prompt, 20);
    let (mut waits, mut suspended, mut longest) = (0, 0, std::time::Duration::ZERO);
    loop {
        let started = std::time::Instant::now();
        let progress = advance(&mut world, budget);
        longest = longest.max(started.elapsed());
        match progress {
            Progress::Idle => break,
            Progress::Waiting => {
                waits += 1;
                std::thread::sleep(std::time::Duration::from_micros(200));
            }
            Progress::Suspended => suspended += 1,
            _ => {}
        }
    }
    assert_eq!(take(&mut world, sequence), expected);
    assert!(waits > 0, "a device that computes beside the host is waited for between calls");
    eprintln!("{waits} waits, {suspended} suspended, longest call {longest:?}");
}

#[test]
fn a_profile_has_the_time_of_each_system_by_the_clock_of_the_device() {
    let Some(context) = context() else { return };
    if !context.device().features().contains(wgpu::Features::TIMESTAMP_QUERY) {
        eprintln!("skipped: this adapter has no timestamps");
        return;
    }
    let mut world = gpu_world(&demo(), &context);
    world.resource_mut::<loquent::schedule::profile::Profile>().start(false);
    let prompt = some_prompt(20, vocab_size(&mut world));
    generate(&mut world, &prompt, 30);
    let costs: Vec<_> = world.resource::<loquent::schedule::profile::Profile>().costs().collect();
    for system in ["embed_tokens", "mix_with_delta_net", "mix_with_attention", "run_mlp", "compute_logits"] {
        let cost = costs.iter().find(|cost| cost.system == system && cost.device.count > 0);
        assert!(cost.is_some(), "{system}: {costs:?}");
    }
    let [whole, split] = world.resource::<loquent::gpu::GpuStep>().step_times();
    assert!(whole.is_some() && split.is_some(), "both are timed, so that it can be said what splitting costs");
}

#[test]
fn steps_are_sent_ahead_and_nothing_is_made_anew() {
    if context().is_none() {
        return;
    }
    // Other tests make things on theirs.
    let context = open(|_| {}).unwrap();
    let mut world = gpu_world(&demo(), &context);
    let prompt = some_prompt(34, vocab_size(&mut world));
    let sequence = spawn(&mut world, &prompt, 40);
    let until = |world: &mut World, tokens: usize| {
        while world.get::<Tokens>(sequence).is_none_or(|found| found.generated.len() < tokens) {
            advance(world, Budget::Step);
        }
        context.made()
    };
    let made = until(&mut world, 4);
    assert_eq!(until(&mut world, 25), made, "buffers, bind groups and pipelines are there");
    run(&mut world, Budget::Step);
    let counts = world.resource::<loquent::gpu::GpuStep>().counts();
    assert!(counts.sent_ahead >= 37 && counts.in_vain <= 1, "{counts:?}");
    assert!(counts.submissions <= 42, "one a step: {counts:?}");
}

/// A pipeline that multiplies the residual by a number, of the host's own making.
fn scaled(world: &mut World, context: &loquent::gpu::GpuContext, factor: f32) -> loquent::gpu::HostDispatch {
    let source = format!(
        "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            if id.x < arrayLength(&x) {{ x[id.x] *= {factor:?}; }}
        }}"
    );
    let device = context.device();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let model = world.query::<&loquent::gpu::GpuModel>().single(world).unwrap();
    let residual = model.buffer(Buffer::Residual).expect("a step has run");
    let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[wgpu::BindGroupEntry { binding: 0, resource: residual.as_entire_binding() }],
    });
    let workgroups = [residual.size().div_ceil(256) as u32, 1, 1];
    loquent::gpu::HostDispatch { pipeline, bind_group, workgroups }
}

#[test]
fn a_host_records_shaders_of_its_own_between_the_sets() {
    #[derive(Resource)]
    struct Own(Option<loquent::gpu::HostDispatch>);
    let Some(context) = context() else { return };
    let mut world = gpu_world(&demo(), &context);
    let prompt = some_prompt(8, vocab_size(&mut world));
    let expected = generate(&mut world, &prompt, 20);
    world.insert_resource(Own(None));
    world.schedule_scope(LayerPass, |_, schedule| {
        let record = |own: Res<Own>, mut recorder: ResMut<Recorder>| {
            own.0.iter().for_each(|dispatch| recorder.record(dispatch.clone()));
        };
        schedule.add_systems(record.after(LayerSystems::Mixer).before(LayerSystems::MlpNorm));
    });
    for (factor, changes) in [(1.0, false), (-0.5, true)] {
        world.resource_mut::<Own>().0 = None;
        let dispatch = scaled(&mut world, &context, factor);
        world.resource_mut::<Own>().0 = Some(dispatch);
        assert_eq!(generate(&mut world, &prompt, 20) != expected, changes, "by {factor}");
    }
    world.resource_mut::<Own>().0 = None;
    assert_eq!(generate(&mut world, &prompt, 20), expected);
}
