//! The profile in Bevy's `DiagnosticsStore`: what each system cost in each frame.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bevy_app::{App, Last, Plugin};
use bevy_diagnostic::{
    DEFAULT_MAX_HISTORY_LENGTH, Diagnostic, DiagnosticMeasurement, DiagnosticPath, DiagnosticsStore,
};
use bevy_ecs::prelude::*;

use super::Profile;

/// Adds a diagnostic for each system of a step, ours or a host's, named after it: `loquent/run_mlp` is how many
/// milliseconds of a frame `run_mlp` took, on the device where that did its work. One for all together is
/// [`TOTAL`](Self::TOTAL). They are there once the system has run, and zero in frames in which it does not.
///
/// It turns the [`Profile`] on.
///
/// # See also
///
/// [`LogDiagnosticsPlugin`](bevy_diagnostic::LogDiagnosticsPlugin) to output diagnostics to the console.
///
/// ```
/// use bevy_app::prelude::*;
/// use bevy_diagnostic::{DiagnosticPath, DiagnosticsPlugin, DiagnosticsStore};
/// use bevy_ecs::prelude::*;
/// use loquent::prelude::*;
/// use loquent::schedule::profile::ProfileDiagnosticsPlugin;
///
/// let mut app = App::new();
/// app.add_plugins((DiagnosticsPlugin, ProfileDiagnosticsPlugin::default()));
/// app.add_systems(Update, |world: &mut World| _ = advance(world, Budget::Step));
/// loquent::load(app.world_mut(), "assets/demo-q4", LoadOptions::default().backend(Backend::Cpu))?;
/// app.world_mut().spawn((Prompt::text("Once upon a time"), StopRules::after(8)));
/// app.update();
/// let diagnostics = app.world().resource::<DiagnosticsStore>();
/// let run_mlp = diagnostics.get(&DiagnosticPath::new("loquent/run_mlp")).unwrap();
/// println!("{:.2} {}", run_mlp.average().unwrap(), run_mlp.suffix);
/// # assert!(run_mlp.value().unwrap() > 0.0);
/// # Ok::<(), LoadError>(())
/// ```
pub struct ProfileDiagnosticsPlugin {
    /// The total number of values to keep for averaging.
    pub max_history_length: usize,
    /// The smoothing factor for the exponential moving average. Usually `2.0 / (history_length + 1.0)`.
    pub smoothing_factor: f64,
}

impl ProfileDiagnosticsPlugin {
    /// The time in all systems of steps in a frame, in ms.
    pub const TOTAL: DiagnosticPath = DiagnosticPath::const_new("loquent/total");

    /// Keeps this many values, with a reasonable `smoothing_factor`.
    #[must_use]
    pub fn new(max_history_length: usize) -> Self {
        Self { max_history_length, smoothing_factor: 2.0 / (max_history_length as f64 + 1.0) }
    }

    fn diagnostic(&self, path: DiagnosticPath) -> Diagnostic {
        Diagnostic::new(path)
            .with_suffix("ms")
            .with_max_history_length(self.max_history_length)
            .with_smoothing_factor(self.smoothing_factor)
    }
}

impl Default for ProfileDiagnosticsPlugin {
    fn default() -> Self {
        Self::new(DEFAULT_MAX_HISTORY_LENGTH)
    }
}

impl Plugin for ProfileDiagnosticsPlugin {
    fn build(&self, app: &mut App) {
        crate::schedule::install(app.world_mut());
        app.world_mut().resource_mut::<Profile>().start(false);
        app.init_resource::<DiagnosticsStore>();
        let plugin = Self { ..*self };
        // Whatever schedule a host advances in, this comes after it.
        app.add_systems(
            Last,
            move |profile: Res<Profile>, mut store: ResMut<DiagnosticsStore>, mut before: Local<Spent>| {
                let spent = Spent::until_now(&profile);
                for (path, time) in spent.since(&before) {
                    if store.get(&path).is_none() {
                        store.add(plugin.diagnostic(path.clone()));
                    }
                    if let Some(diagnostic) = store.get_mut(&path).filter(|diagnostic| diagnostic.is_enabled) {
                        let value = 1e3 * time.as_secs_f64();
                        diagnostic.add_measurement(DiagnosticMeasurement { time: Instant::now(), value });
                    }
                }
                *before = spent;
            },
        );
    }
}

/// The time that systems have taken, by their names.
#[derive(Default)]
struct Spent(BTreeMap<String, Duration>);

impl Spent {
    fn until_now(profile: &Profile) -> Self {
        let mut spent = Self::default();
        for row in &profile.rows {
            let time = row.meter.spent();
            if !time.is_zero() {
                *spent.0.entry(row.system.clone()).or_default() += time;
            }
        }
        spent
    }

    fn since(&self, before: &Self) -> Vec<(DiagnosticPath, Duration)> {
        let since = |(system, time): (&String, &Duration)| {
            // What was measured may have been cleared.
            let time = time.saturating_sub(before.0.get(system).copied().unwrap_or_default());
            (DiagnosticPath::from_components(["loquent", system]), time)
        };
        let mut all: Vec<_> = self.0.iter().map(since).collect();
        let total = all.iter().map(|(_, time)| *time).sum();
        all.push((ProfileDiagnosticsPlugin::TOTAL, total));
        all
    }
}
