//! A host's own systems among ours: they see what flows, change it, and are timed like ours.

use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::schedule::profile::Profile;
use loquent::schedule::{BeginStep, EndStep, LayerPass};
use loquent::world::activations::{Logits, Residual};
use loquent::world::delta_net::DeltaNet;
use loquent::world::layer::{ActiveLayer, LayerIndex, OnLayer};

use crate::support::{default_world, fixtures, generate};

/// Which layers a probe after the mixer saw.
#[derive(Resource, Default)]
struct Seen(Vec<usize>);

fn probe(layer: OnLayer<&LayerIndex>, residual: Res<Residual<Cpu>>, mut seen: ResMut<Seen>) {
    assert!(residual.0.values().iter().all(|value| value.is_finite()));
    seen.0.push(layer.0);
}

fn forbid_token_seven(mut logits: ResMut<Logits<Cpu>>) {
    for row in logits.0.rows_mut() {
        row[7] = f32::NEG_INFINITY;
    }
}

fn only_token_seven(mut logits: ResMut<Logits<Cpu>>) {
    for row in logits.0.rows_mut() {
        row.fill(-1.0);
        row[7] = 1.0;
    }
}

#[test]
fn a_probe_after_the_mixer_sees_every_layer_in_order() {
    let mut world = default_world(&fixtures()[0]);
    world.init_resource::<Seen>();
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems(probe.after(LayerSystems::Mixer).before(LayerSystems::MlpNorm));
    });
    let layers = world.query::<&LayerIndex>().iter(&world).count();
    generate(&mut world, &[1, 2, 3], 2);
    let expected: Vec<usize> = (0..layers).chain(0..layers).collect();
    assert_eq!(world.resource::<Seen>().0, expected);
    assert_eq!(world.query_filtered::<(), With<ActiveLayer>>().iter(&world).count(), 0);
}

#[test]
fn a_mask_before_sampling_changes_what_is_picked_even_when_added_late() {
    let mut world = default_world(&fixtures()[0]);
    generate(&mut world, &[1, 2, 3], 2);
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems(only_token_seven.after(StepSystems::Head).before(StepSystems::Sample));
    });
    assert_eq!(generate(&mut world, &[1, 2, 3], 4), [7; 4]);
    world.schedule_scope(EndStep, |_, schedule| {
        schedule.add_systems(forbid_token_seven.after(only_token_seven).before(StepSystems::Sample));
    });
    assert!(!generate(&mut world, &[1, 2, 3], 4).contains(&7));
}

#[test]
fn the_profile_times_a_hosts_systems_like_ours_and_only_while_it_is_on() {
    let mut world = default_world(&fixtures()[0]);
    world.init_resource::<Seen>();
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems(probe.after(LayerSystems::Mixer).before(LayerSystems::MlpNorm));
    });
    generate(&mut world, &[1, 2, 3], 2);
    assert_eq!(world.resource::<Profile>().costs().count(), 0, "it is off");
    world.resource_mut::<Profile>().start(true);
    generate(&mut world, &[1, 2, 3], 2);
    world.resource_mut::<Profile>().stop();
    generate(&mut world, &[1, 2, 3], 2);
    let costs: Vec<_> = world.resource::<Profile>().costs().collect();
    let calls = |system: &str| costs.iter().find(|cost| cost.system == system).map(|cost| cost.host.count);
    let layers = world.query::<&LayerIndex>().iter(&world).count() as u64;
    let delta_nets = world.query::<&DeltaNet<Cpu>>().iter(&world).count() as u64;
    assert_eq!(calls("probe"), Some(2 * layers));
    assert_eq!(calls("run_mlp"), Some(2 * layers));
    assert_eq!(calls("mix_with_delta_net"), Some(2 * delta_nets), "skipped layers are no calls");
    let mlp = costs.iter().find(|cost| cost.system == "run_mlp").expect("a row");
    assert_eq!(mlp.set, "Mlp");
    assert!(mlp.bytes > 0 && mlp.operations > 0 && !mlp.host.total.is_zero());
    let timeline = world.resource_mut::<Profile>().take_timeline();
    assert_eq!(timeline.runs.len() as u64, costs.iter().map(|cost| cost.host.count).sum::<u64>());
}

#[test]
fn the_profile_shows_a_hosts_system_under_no_set_of_another_schedule() {
    // Systems are counted anew in each schedule, so that some of these have the same numbers.
    fn loose<const N: usize>() {}
    fn among_ours<const N: usize>() {}
    let mut world = default_world(&fixtures()[0]);
    world.schedule_scope(BeginStep, |_, schedule| {
        schedule.add_systems((loose::<0>, loose::<1>, loose::<2>, loose::<3>, loose::<4>, loose::<5>));
    });
    world.schedule_scope(LayerPass, |_, schedule| {
        schedule.add_systems((among_ours::<0>, among_ours::<1>, among_ours::<2>).in_set(LayerSystems::Mlp));
    });
    world.resource_mut::<Profile>().start(false);
    generate(&mut world, &[1, 2, 3], 2);
    let costs: Vec<_> = world.resource::<Profile>().costs().collect();
    let sets = |of: &str| {
        let hosts = costs.iter().filter(|cost| cost.system.starts_with(of));
        hosts.map(|cost| &*cost.set).collect::<Vec<_>>()
    };
    assert_eq!((sets("loose"), sets("among_ours")), (vec![""; 6], vec!["Mlp"; 3]));
    let set = |system: &str| costs.iter().find(|cost| cost.system == system).map(|cost| &*cost.set);
    let ours = ["fill_batch", "embed_tokens", "norm_for_mixer", "run_mlp", "compute_logits", "emit_picks"].map(set);
    assert_eq!(ours, ["Admit", "Embed", "MixerNorm", "Mlp", "Head", "Emit"].map(Some));
}
