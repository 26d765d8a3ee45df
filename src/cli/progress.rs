//! What shows on stderr while something takes seconds. Nothing does if stderr is no terminal.

use std::ops::ControlFlow;
use std::time::Duration;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use loquent::prelude::*;

use super::interrupt;

/// A line that shows something is going on.
pub(super) fn spinner(message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(message);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A bar of `length`, drawn as indicatif's `template` says.
pub(super) fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A bar for a prompt of `tokens`, of which so many are read, if the rest takes several chunks.
pub(super) fn prompt(read: usize, tokens: usize) -> ProgressBar {
    if tokens.saturating_sub(read) <= Limits::default().rows {
        return ProgressBar::hidden();
    }
    bar(tokens as u64, "reading the prompt {bar:30} {pos}/{len}, {eta} left")
}

/// A bar of bytes, whose length is not known yet.
pub(super) fn bytes(message: String) -> ProgressBar {
    bar(0, "{msg} {bar:30} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left").with_message(message)
}

/// Runs `work` on so many threads, or on one for each core, under a bar. It tells how many bytes of how many it has done,
/// and is told whether to go on.
pub(super) fn over_bytes<T: Send>(
    message: String,
    threads: Option<u16>,
    work: impl FnOnce(&(dyn Fn(u64, u64) -> ControlFlow<()> + Sync)) -> T + Send,
) -> anyhow::Result<T> {
    let threads = threads.map_or(0, usize::from);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.with_context(|| format!("cannot start {threads} threads"))?;
    let bar = bytes(message);
    let tell = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
        if interrupt::requested() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let done = pool.install(|| work(&tell));
    bar.finish_and_clear();
    Ok(done)
}
