//! How weights are distributed, against numbers worked out by hand.

use half::{bf16, f16};
use loquent::inspect::{InspectOptions, InspectReport, Statistics, picture};
use loquent::quant::{Encoding, Search, quantize};

use crate::converted::{file_name, q4};
use crate::tiny_checkpoint::{Stored, TinyCheckpoint};
use crate::{MATRIX, inspect, tensor};

fn all() -> InspectOptions {
    InspectOptions::default().statistics(true).histograms(true)
}

/// The figures of a matrix `[8, 12]`.
#[track_caller]
fn figures(values: impl Fn(usize, usize) -> f32) -> Statistics {
    of_stored("F32", &values, |value| value.to_le_bytes().to_vec())
}

fn of_stored(dtype: &str, values: &impl Fn(usize, usize) -> f32, bytes: impl Fn(f32) -> Vec<u8>) -> Statistics {
    let mut tiny = TinyCheckpoint::new();
    let bytes = (0..96).flat_map(|index| bytes(values(index / 12, index % 12))).collect();
    tiny.tensors.insert(MATRIX.into(), Stored { dtype: dtype.into(), shape: vec![8, 12], bytes });
    tiny.write_weights();
    found(&inspect(tiny.path(), all()))
}

fn found(report: &InspectReport) -> Statistics {
    tensor(report, MATRIX).statistics.unwrap()
}

#[test]
fn rows_about_zero_are_symmetric() {
    // ±2 in turn: no outliers, and the flattest of distributions.
    let figures = figures(|_, column| if column % 2 == 0 { 2.0 } else { -2.0 });
    assert_eq!((figures.asymmetry(), figures.is_asymmetric()), (0.0, false));
    assert_eq!((figures.abs_max, figures.mean, figures.rms, figures.max_over_rms()), (2.0, 0.0, 2.0, 1.0));
    assert_eq!(figures.excess_kurtosis, Some(-2.0));
}

#[test]
fn rows_that_are_shifted_are_as_asymmetric_as_their_shift() {
    // ±2 shifted by 0.5, of the largest value 2.5: a fifth.
    let shifted = |_, column| if column % 2 == 0 { 2.5 } else { -1.5 };
    let expected = figures(shifted);
    assert_eq!((expected.asymmetry(), expected.is_asymmetric()), (0.2, true));
    assert_eq!((expected.mean, expected.abs_max), (0.5, 2.5));
    // The root of (2.5² + 1.5²) / 2.
    assert_eq!((expected.rms, expected.excess_kurtosis), (4.25f64.sqrt(), Some(-2.0)));
    // They are the same in every type that can hold them.
    assert_eq!(of_stored("F16", &shifted, |value| f16::from_f32(value).to_le_bytes().to_vec()), expected);
    assert_eq!(of_stored("BF16", &shifted, |value| bf16::from_f32(value).to_le_bytes().to_vec()), expected);
}

#[test]
fn blocks_count_as_what_they_stand_for() {
    // The extremes of every block lie 15 quarters apart: a scale that half precision has.
    let values: Vec<f32> = (0..96).map(|index| if index % 2 == 0 { 2.875 } else { -0.875 }).collect();
    let blocks = quantize(&values, Encoding::Asymmetric, Search::MinMax).unwrap();
    let (tiny, _) = TinyCheckpoint::converted();
    tiny.write(&file_name(MATRIX), q4(&[8, 12], bytemuck::cast_slice(&blocks)));
    let figures = found(&inspect(tiny.path(), all()));
    assert_eq!((figures.mean, figures.abs_max, figures.mean_abs_row_mean), (1.0, 2.875, 1.0));
    assert_eq!(figures.asymmetry(), 1.0 / 2.875);
}

#[test]
fn rows_on_both_sides_of_zero_do_not_make_up_for_each_other() {
    // The whole is symmetric and each row is not: codes are laid over rows.
    let figures = figures(|row, _| if row % 2 == 0 { 1.0 } else { -1.0 });
    assert_eq!((figures.mean, figures.asymmetry()), (0.0, 1.0));
}

#[test]
fn one_outlier_shows_in_its_size_and_in_the_kurtosis() {
    // 95 ones of both signs, all but one, and a 10.
    let figures = figures(|row, column| match (row, column) {
        (7, 11) => -10.0,
        (_, column) => {
            if column % 2 == 0 {
                1.0
            } else {
                -1.0
            }
        }
    });
    let (mean, square) = (-9.0 / 96.0, 195.0 / 96.0);
    let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    close(figures.mean, mean);
    close(figures.max_over_rms(), 10.0 / f64::sqrt(square));
    // Central moments, value by value.
    let moment = |power: i32| {
        let [ones, minus, ten] = [1.0 - mean, -1.0 - mean, -10.0 - mean].map(|from: f64| from.powi(power));
        (48.0 * ones + 47.0 * minus + ten) / 96.0
    };
    close(figures.excess_kurtosis.unwrap(), moment(4) / moment(2).powi(2) - 3.0);
    // Seven rows have a mean of 0, the last one of -9 / 12.
    close(figures.asymmetry(), 9.0 / 12.0 / 8.0 / 10.0);
}

#[test]
fn values_that_are_all_the_same_have_no_kurtosis() {
    let constant = figures(|_, _| 0.1);
    assert_eq!((constant.excess_kurtosis, constant.asymmetry()), (None, 1.0));
    let zero = figures(|_, _| 0.0);
    assert_eq!((zero.excess_kurtosis, zero.asymmetry(), zero.max_over_rms()), (None, 0.0, 0.0));
}

#[test]
fn histograms_count_every_weight_where_it_lies() {
    let mut tiny = TinyCheckpoint::new();
    let value = |index: usize| [-1.0f32, -0.5, 0.0, 0.3][index % 4];
    let names: Vec<String> = (0..4).map(|layer| MATRIX.replace('0', &layer.to_string())).collect();
    for name in &names {
        let bytes = (0..96).flat_map(|index| value(index).to_le_bytes()).collect();
        tiny.tensors.insert(name.clone(), Stored { dtype: "F32".into(), shape: vec![8, 12], bytes });
    }
    tiny.write_weights();
    let report = inspect(tiny.path(), all());
    let histogram = &report.histograms["mlp.down_proj"];
    assert_eq!(histogram.abs_max(), 1.0);
    assert_eq!(histogram.bins(1.0, 4), [96, 96, 192, 0]);
    assert_eq!(histogram.bins(0.25, 2), [192, 192], "what lies outside counts for the outermost");
    assert_eq!(report.histograms["embed_tokens"].bins(2.0, 1), [272 * 8]);
    assert_eq!(report.histograms.len(), 14, "embedding, head, three of the MLP, four and five of the mixers");
}

#[test]
fn a_picture_has_a_panel_for_each_kind_on_either_side() {
    let (plain, mut other) = (TinyCheckpoint::new(), TinyCheckpoint::multimodal());
    other.tensors.clear();
    let strange = plain.file("a<b>&");
    std::fs::create_dir(&strange).unwrap();
    for file in ["config.json", "model.safetensors"] {
        std::fs::rename(plain.file(file), strange.join(file)).unwrap();
    }
    let (first, second) = (inspect(&strange, all()), inspect(other.path(), all()));
    let svg = picture(&second, Some(&first));
    assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("a&lt;b&gt;&amp;</tspan>") && !svg.contains("a<b"));
    // The tied one has no head.
    assert_eq!((second.histograms.len(), svg.matches("<g ").count()), (13, 14));
    assert_eq!(svg.matches("fill=\"#4a7fb5\"/>").count(), 13, "filled");
    assert_eq!(svg.matches("stroke=\"#c0392b\"/>").count(), 14, "lines");
    assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
}
