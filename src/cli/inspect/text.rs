//! An inspection as tables. What matters most comes last, where a terminal ends.

use std::fmt::{self, Write};

use loquent::cpu::{Footprint, Isa};
use loquent::inspect::{InspectError, InspectReport, MATERIAL_ASYMMETRY, Purpose, Statistics};

use super::{Backends, Compared, Findings, why_unused};

pub(super) fn tables(findings: &Findings) -> String {
    let mut text = Text::default();
    metadata(&mut text, &findings.report);
    tensors(&mut text, &findings.report);
    files(&mut text, &findings.report);
    if findings.symmetry {
        symmetry(&mut text, findings);
    }
    if let Some((context, footprint)) = &findings.memory {
        memory(&mut text, *context, footprint);
    }
    backends(&mut text, &findings.backends);
    for (title, messages) in [
        ("warnings", findings.warnings().map(message).collect::<Vec<_>>()),
        ("problems", findings.problems().map(message).collect()),
    ] {
        if !messages.is_empty() {
            text.line(format_args!("\n{title}"));
            messages.iter().for_each(|message| text.line(format_args!("  {message}")));
        }
    }
    verdict(&mut text, findings);
    text.into_string()
}

/// An error with its causes, on one line.
pub(super) fn message(error: &InspectError) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message.push_str(&format!(": {error}"));
        cause = error.source();
    }
    message
}

/// Text that lines are added to.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    pub(super) fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{line}");
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

fn metadata(text: &mut Text, report: &InspectReport) {
    if report.metadata.is_empty() {
        return;
    }
    let width = report.metadata.iter().map(|(key, _)| key.len()).max().unwrap_or(0).min(48);
    text.line(format_args!("metadata"));
    for (key, value) in &report.metadata {
        text.line(format_args!("  {:<width$}  {value}", key.escape_debug().to_string()));
    }
    text.line(format_args!(""));
}

fn tensors(text: &mut Text, report: &InspectReport) {
    text.line(format_args!("tensors\n  {:<5} {:<16} {:>12}  name", "type", "shape", "bytes"));
    for tensor in &report.tensors {
        let entry = &tensor.entry;
        let (shape, bytes) = (format!("{:?}", entry.shape), entry.bytes.map_or("-".into(), |bytes| bytes.to_string()));
        let unused = why_unused(tensor).map(|why| format!("  (not used: {why})")).unwrap_or_default();
        // A name is a stranger's text: nothing in it may move the cursor.
        let name = entry.name.escape_debug();
        text.line(format_args!("  {:<5} {shape:<16} {bytes:>12}  {name}{unused}", entry.element_type.escape_debug()));
    }
}

fn files(text: &mut Text, report: &InspectReport) {
    text.line(format_args!("\nfiles\n  {:<64} {:>12}  name", "SHA-256", "bytes"));
    for file in &report.files {
        let sha256 = file.sha256.as_deref().unwrap_or("not read to the end");
        let name = file.path.file_name().unwrap_or_default().to_string_lossy();
        let lists: Vec<String> =
            file.confirmed_by.iter().map(|list| format!("  (as {} says)", list.display())).collect();
        text.line(format_args!("  {sha256:<64} {:>12}  {}{}", file.bytes, name.escape_debug(), lists.concat()));
    }
}

fn symmetry(text: &mut Text, findings: &Findings) {
    let percent = 100.0 * MATERIAL_ASYMMETRY;
    text.line(format_args!(
        "\nsymmetry of the weight matrices\n  asymmetry: the mean size of a row's mean, in % of the largest weight; from \
         {percent} on, an asymmetric code is worth it\n  max/RMS: the largest weight in root mean squares; kurtosis: that \
         in excess of a normal distribution's"
    ));
    let titles = ["asymmetry", "max/RMS", "kurtosis"];
    if let Some(other) = &findings.compared {
        let (first, second) = (findings.report.directory.display(), other.directory.display());
        text.line(format_args!("  of {first}, then of {second}"));
        text.line(format_args!("  {:>17} {:>17} {:>17}  tensor", titles[0], titles[1], titles[2]));
    } else {
        text.line(format_args!("  {:>9} {:>8} {:>8}  tensor", titles[0], titles[1], titles[2]));
    }
    for Compared { tensor, first, second } in findings.figures() {
        if tensor.purpose != Purpose::Matrix {
            continue;
        }
        let columns = |of: fn(&Statistics) -> Option<f64>, digits: usize| {
            let cell = |figures: Option<&Statistics>| {
                figures.and_then(of).map_or("-".into(), |figure| format!("{figure:.digits$}"))
            };
            match findings.compared {
                None => format!("{:>8}", cell(first)),
                Some(_) => format!("{:>8} {:>8}", cell(first), cell(second)),
            }
        };
        let asymmetry = columns(|figures| Some(100.0 * figures.asymmetry()), 2);
        let outliers = columns(|figures| Some(figures.max_over_rms()), 1);
        let kurtosis = columns(|figures| figures.excess_kurtosis, 2);
        let material = [first, second].into_iter().flatten().any(Statistics::is_asymmetric);
        let material = if material { "  (asymmetric)" } else { "" };
        text.line(format_args!("  {asymmetry:>9} {outliers} {kurtosis}  {}{material}", tensor.name.escape_debug()));
    }
}

pub(super) fn memory(text: &mut Text, context: usize, footprint: &Footprint) {
    let Footprint { mapped, packed, vectors, kv_cache, cache_type, delta_state, activations, mtp } = *footprint;
    let keys_and_values = format!("keys and values, {}", cache_type.name());
    text.line(format_args!("\nmemory with a sequence of {context} tokens, MB"));
    for (name, bytes) in [
        ("matrices, mapped from their files", mapped),
        ("matrices, packed", packed),
        ("vectors", vectors),
        (&*keys_and_values, kv_cache),
        ("states of the delta nets", delta_state),
        ("activations", activations),
        ("total", footprint.total()),
    ] {
        text.line(format_args!("  {name:<34} {:>10.1}", bytes as f64 / 1e6));
    }
    if mtp > 0 {
        text.line(format_args!("  {:<34} {:>10.1}", "the multi-token head, if wanted", mtp as f64 / 1e6));
    }
}

pub(super) fn backends(text: &mut Text, backends: &Backends) {
    let isas: Vec<String> = Isa::available().iter().map(Isa::to_string).collect();
    text.line(format_args!("\nbackends\n  cpu with {}, the widest of {}", Isa::widest(), isas.join(", ")));
    #[cfg(feature = "gpu")]
    backends.gpus.lines().iter().for_each(|line| text.line(format_args!("  {line}")));
    #[cfg(not(feature = "gpu"))]
    let Backends {} = backends;
}

fn verdict(text: &mut Text, findings: &Findings) {
    let tensors = &findings.report.tensors;
    let used = tensors.iter().filter(|tensor| tensor.purpose.is_used()).count();
    let bytes: u64 = findings.report.files.iter().map(|file| file.bytes).sum();
    let problems = match findings.problems().count() {
        0 => "no problems".to_owned(),
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    let (directory, seconds) = (findings.report.directory.display(), findings.seconds);
    text.line(format_args!(
        "\n{directory}: {problems}; {used} of {} tensors used; {:.1} MB looked at in {seconds:.1} s",
        tensors.len(),
        bytes as f64 / 1e6,
    ));
}
