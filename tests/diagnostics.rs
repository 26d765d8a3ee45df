//! The profile as a Bevy application sees it.

use bevy_app::prelude::*;
use bevy_diagnostic::{DiagnosticPath, DiagnosticsPlugin, DiagnosticsStore};
use bevy_ecs::prelude::*;
use loquent::prelude::*;
use loquent::schedule::profile::{Profile, ProfileDiagnosticsPlugin};

fn hosts_system() {
    std::thread::sleep(std::time::Duration::from_millis(1));
}

#[test]
fn each_system_has_a_diagnostic_of_its_time_in_every_frame() {
    let mut app = App::new();
    app.add_plugins((DiagnosticsPlugin, ProfileDiagnosticsPlugin::default()));
    app.add_systems(Update, |world: &mut World| _ = advance(world, Budget::Step));
    let options = LoadOptions::default().backend(Backend::Cpu).threads(1);
    loquent::load(app.world_mut(), "assets/demo-q4", options).expect("the demo");
    app.world_mut().schedule_scope(loquent::schedule::LayerPass, |_, schedule| {
        schedule.add_systems(hosts_system.after(LayerSystems::Mlp));
    });
    app.world_mut().spawn((Prompt::text("Once upon a time"), StopRules::after(5)));
    for _ in 0..8 {
        app.update();
    }
    let store = app.world().resource::<DiagnosticsStore>();
    let values = |path: &DiagnosticPath| -> Vec<f64> {
        let diagnostic = store.get(path).unwrap_or_else(|| panic!("{path} is there"));
        assert_eq!(diagnostic.suffix, "ms");
        diagnostic.values().copied().collect()
    };
    let mut total = 0.0;
    for cost in app.world().resource::<Profile>().costs() {
        let values = values(&DiagnosticPath::new(format!("loquent/{}", cost.system)));
        let (sum, took) = (values.iter().sum::<f64>(), 1e3 * cost.host.total.as_secs_f64());
        assert!((sum - took).abs() < 1e-6 * took, "{}: {sum} of {took} ms", cost.system);
        total += took;
    }
    assert!((values(&ProfileDiagnosticsPlugin::TOTAL).iter().sum::<f64>() - total).abs() < 1e-6 * total);
    let hosts = values(&DiagnosticPath::new("loquent/hosts_system"));
    assert_eq!(hosts.len(), 8);
    assert!(hosts[..5].iter().all(|&time| time >= 4.0), "four layers: {hosts:?}");
    assert_eq!(hosts[5..], [0.0; 3], "nothing is left to do");
}
