//! The head that predicts several tokens: converted to four bits like the rest, and left out of a rotated model.

use std::collections::BTreeSet;

use bevy_ecs::prelude::*;
use loquent::checkpoint::{Checkpoint, ElementType};
use loquent::convert::{ConvertOptions, Method, QuaRot};
use loquent::prelude::*;
use loquent::world::draft::Draft;
use loquent::world::promised::promised_tensors;

use crate::logged::logged;
use crate::tiny_checkpoint::TinyCheckpoint;
use crate::{convert, entries, place};

#[test]
fn its_matrices_go_to_four_bits_and_its_norms_to_half_precision() {
    let tiny = TinyCheckpoint::with_mtp();
    let (_folder, out) = place();
    let report = convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
    let mut checkpoint = Checkpoint::open(&out).unwrap();
    assert!(checkpoint.config.mtp);
    let mut source = tiny.load().unwrap();
    let of_head = promised_tensors(&checkpoint.config.clone()).into_iter().filter(|tensor| tensor.is_of_mtp());
    let mut names = BTreeSet::new();
    for promised in of_head {
        let stored = checkpoint.take(&promised.name, &promised.shape).unwrap();
        let is_matrix = promised.name.ends_with("_proj.weight") || promised.name == "mtp.fc.weight";
        let (element, tolerance) = if is_matrix { (ElementType::Q4, 0.1) } else { (ElementType::F16, 1e-3) };
        assert_eq!(stored.element(), element, "{}", promised.name);
        let expected = source.take(&promised.name, &promised.shape).unwrap().to_f32();
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < tolerance;
        assert!(stored.to_f32().iter().zip(&expected).all(close), "{}", promised.name);
        names.insert(promised.name);
    }
    assert_eq!(names.len(), 15);
    let reported = report.tensors.iter().filter(|tensor| names.contains(&tensor.name)).count();
    assert_eq!(reported, 15, "under the names that the source has");
}

#[test]
fn its_experts_go_to_four_bits_and_run() {
    let [one_by_one, fused] = [false, true].map(|fused| {
        let tiny = TinyCheckpoint::with_experts_and_mtp(fused);
        let (_folder, out) = place();
        convert(tiny.path(), &out, ConvertOptions::default()).unwrap();
        let options = LoadOptions::default().backend(Backend::Cpu).mtp(true);
        let mut world = World::new();
        load(&mut world, &out, options).expect("a model with a head");
        let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(20) };
        let sequence = world.spawn((Prompt::ids([1, 2, 3]), rules, Draft::Mtp)).id();
        while advance(&mut world, Budget::Step) != Progress::Idle {}
        let tokens = world.get::<Tokens>(sequence).expect("tokens").generated.clone();
        let mut converted = Checkpoint::open(&out).unwrap();
        let experts = promised_tensors(&converted.config.clone()).into_iter();
        let experts = experts.filter(|tensor| tensor.is_of_mtp() && tensor.name.contains(".experts."));
        let elements = experts.map(|expert| converted.take(&expert.name, &expert.shape).unwrap().element());
        (tokens, elements.collect::<Vec<_>>())
    });
    assert_eq!(one_by_one.0.len(), 20);
    assert_eq!(one_by_one.1, [ElementType::Q4; 12], "of four experts");
    assert_eq!(one_by_one, fused);
}

#[test]
fn a_rotated_model_has_none_and_the_user_is_told() {
    let tiny = TinyCheckpoint::with_mtp();
    let (_folder, out) = place();
    let log = logged(|| {
        convert(tiny.path(), &out, ConvertOptions::of(Method::QuaRot(QuaRot::default()))).unwrap();
    });
    assert!(log.contains("WARN") && log.contains("several tokens is left out"), "{log}");
    assert_eq!(entries(&out).into_iter().filter(|file| file.starts_with("mtp")).count(), 0);
    let checkpoint = Checkpoint::open(&out).unwrap();
    assert!(!checkpoint.config.mtp, "though the configuration came along");
    let config = std::fs::read_to_string(out.join("config.json")).unwrap();
    assert!(config.contains("mtp_num_hidden_layers"));
}
