//! Histograms as a picture: a panel for each kind of tensor, counts on a logarithmic scale.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::histogram::Histogram;
use super::report::InspectReport;

const BINS: usize = 96;
/// Panels side by side.
const ACROSS: usize = 4;
/// A panel's size with its margins, and the margins on its left and right, above and below.
const PANEL: (f64, f64) = (260.0, 170.0);
const MARGIN: f64 = 28.0;
/// Room for the line that says what is what.
const TOP: f64 = 28.0;

/// Draws the histograms of all weight matrices of `report`, those of one kind (say all `mlp.up_proj`) in one panel, as an
/// SVG. Those of `other` are drawn as a line over them.
#[must_use]
pub fn picture(report: &InspectReport, other: Option<&InspectReport>) -> String {
    let none = BTreeMap::new();
    let (first, second) = (&report.histograms, other.map_or(&none, |other| &other.histograms));
    let kinds: BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let (width, height) = (PANEL.0 * ACROSS as f64, TOP + PANEL.1 * kinds.len().div_ceil(ACROSS) as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{MARGIN}\" y=\"18\">values and how often they \
         occur (logarithmic): <tspan fill=\"#4a7fb5\">■ {}</tspan>",
        escaped(&report.directory.display().to_string())
    );
    if let Some(other) = other {
        let name = escaped(&other.directory.display().to_string());
        append(&mut svg, format_args!(" <tspan fill=\"#c0392b\">— {name}</tspan>"));
    }
    svg.push_str("</text>\n");
    for (index, kind) in kinds.into_iter().enumerate() {
        let (x, y) = (PANEL.0 * (index % ACROSS) as f64, TOP + PANEL.1 * (index / ACROSS) as f64);
        append(&mut svg, format_args!("<g transform=\"translate({x} {y})\">\n"));
        panel(&mut svg, kind, first.get(kind), second.get(kind));
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>\n");
    svg
}

fn panel(svg: &mut String, kind: &str, first: Option<&Histogram>, second: Option<&Histogram>) {
    let limit = [first, second].into_iter().flatten().map(Histogram::abs_max).fold(f32::MIN_POSITIVE, f32::max);
    let bins = |histogram: Option<&Histogram>| histogram.map(|histogram| histogram.bins(limit, BINS));
    let (first, second) = (bins(first), bins(second));
    let most = [&first, &second].into_iter().flatten().flatten().copied().max().unwrap_or(1);
    let (width, height) = (PANEL.0 - 2.0 * MARGIN, PANEL.1 - 2.0 * MARGIN);
    let decades = ((most + 1) as f64).log10().max(1.0);
    let y = |count: u64| MARGIN + height * (1.0 - ((count + 1) as f64).log10() / decades);
    let outline = |bins: &[u64]| {
        let mut path = String::new();
        for (bin, &count) in bins.iter().enumerate() {
            let x = |bin: usize| MARGIN + width * bin as f64 / BINS as f64;
            append(&mut path, format_args!("L{:.1} {2:.1}L{:.1} {2:.1}", x(bin), x(bin + 1), y(count)));
        }
        path
    };
    let (left, right, bottom) = (MARGIN, MARGIN + width, MARGIN + height);
    append(svg, format_args!("<text x=\"{left}\" y=\"20\" font-weight=\"bold\">{}</text>\n", escaped(kind)));
    for power in (0..=9).map(|third| 3 * third).filter(|&power| f64::from(power) <= decades) {
        let at = bottom - height * f64::from(power) / decades;
        append(svg, format_args!("<path d=\"M{left} {at:.1}H{right}\" stroke=\"#ddd\"/>"));
        let (x, y) = (left - 3.0, at + 4.0);
        append(svg, format_args!("<text x=\"{x}\" y=\"{y:.1}\" fill=\"#777\" text-anchor=\"end\">"));
        append(svg, format_args!("10<tspan dy=\"-4\" font-size=\"8\">{power}</tspan></text>\n"));
    }
    if let Some(bins) = first {
        let path = outline(&bins);
        append(svg, format_args!("<path d=\"M{left} {bottom}{path}L{right} {bottom}Z\" fill=\"#4a7fb5\"/>\n"));
    }
    if let Some(bins) = second {
        let path = outline(&bins);
        append(
            svg,
            format_args!("<path d=\"M{left} {bottom}{path}L{right} {bottom}\" fill=\"none\" stroke=\"#c0392b\"/>\n"),
        );
    }
    for (x, anchor, value) in [(left, "start", -limit), (left + width / 2.0, "middle", 0.0), (right, "end", limit)] {
        let y = bottom + 14.0;
        append(
            svg,
            format_args!("<text x=\"{x}\" y=\"{y}\" fill=\"#777\" text-anchor=\"{anchor}\">{value:.3}</text>\n"),
        );
    }
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = text.write_fmt(arguments);
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    let replaced = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // No other control characters may stand in XML at all.
    replaced.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
