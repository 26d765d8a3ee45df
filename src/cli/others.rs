//! How much of the processors' time other processes took while something was measured. On Linux; elsewhere nothing is
//! known of it, and nothing said.

use std::fs;

/// The share from which they disturb a measurement.
const MUCH: f64 = 0.03;

/// What sums of a few counts can be wrong by.
const UNCERTAIN: u64 = 4;

/// Time since the system began, of all processors, in its ticks of usually 10 ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticks {
    /// All there were.
    all: u64,
    /// Those that any process took, and those that other guests of this machine did.
    busy: u64,
    /// Those that this process took.
    own: u64,
}

impl Ticks {
    pub(super) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?, &fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// From `/proc/stat` and `/proc/self/stat`, see `proc_stat(5)` and `proc_pid_stat(5)`.
    fn parse(system: &str, process: &str) -> Option<Self> {
        let line = system.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        // The time of guests, which follows, is part of `user` and `nice`.
        let &[user, nice, system, idle, waiting, interrupts, soft_interrupts, stolen] = fields.first_chunk()?;
        let busy = user + nice + system + interrupts + soft_interrupts + stolen;
        // The name, in brackets, may hold anything.
        let (_, process) = process.rsplit_once(')')?;
        let mut times = process.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
        Some(Self { all: busy + idle + waiting, busy, own: times.next()? + times.next()? })
    }

    /// What others took of the time since `before`, if it was much.
    pub(super) fn much_of_others_since(self, before: Self) -> Option<f64> {
        let [all, busy, own] = [(self.all, before.all), (self.busy, before.busy), (self.own, before.own)]
            .map(|(now, then)| now.saturating_sub(then));
        let others = busy.saturating_sub(own).saturating_sub(UNCERTAIN);
        let share = others as f64 / all.max(1) as f64;
        (share > MUCH).then_some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "cpu  1000 20 300 5000 70 6 4 50 900 10\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 1 2 3\n";
    const PROCESS: &str = "42 (a name) 7 (odd) S 1 42 42 0 -1 4194560 100 0 0 0 123 45 9 9 20 0 3 0 777 1 2";

    #[test]
    fn ticks_are_read_from_the_systems_files() {
        let ticks = Ticks { all: 6450, busy: 1380, own: 168 };
        assert_eq!(Ticks::parse(SYSTEM, PROCESS), Some(ticks));
        assert_eq!(Ticks::parse("cpu  1000 20 300 5000", PROCESS), None, "a system of long ago");
        assert_eq!(Ticks::parse("", PROCESS), None);
        assert_eq!(Ticks::parse(SYSTEM, "42 (name) S 1 2"), None);
    }

    #[test]
    fn others_took_what_was_busy_and_not_our_own() {
        let before = Ticks { all: 1000, busy: 500, own: 100 };
        let after = |all: u64, busy: u64, own: u64| Ticks { all: 1000 + all, busy: 500 + busy, own: 100 + own };
        let share = |after: Ticks| after.much_of_others_since(before);
        assert_eq!(share(after(1000, 900, 900)), None, "all of it was ours");
        assert_eq!(share(after(1000, 934, 900)), None, "30 in 1000");
        assert_eq!(share(after(1000, 935, 900)), Some(0.031));
        assert_eq!(share(after(1000, 1000, 496)), Some(0.5));
        assert_eq!(share(after(10, 4, 0)), None, "a few ticks may be counted wrong");
        assert_eq!(share(after(1000, 890, 900)), None, "ours were counted more finely");
        assert_eq!(share(before), None, "no time went by");
        assert_eq!(before.much_of_others_since(after(9, 9, 9)), None, "nor backwards");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_among_those_that_are_counted() {
        let before = Ticks::now().expect("procfs");
        let started = std::time::Instant::now();
        while started.elapsed().as_millis() < 100 {
            std::hint::spin_loop();
        }
        let after = Ticks::now().expect("procfs");
        assert!(after.own > before.own && after.busy > before.busy && after.all > before.all, "{before:?} {after:?}");
    }
}
