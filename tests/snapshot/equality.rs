//! What is restored goes on as if it had never been saved, wherever that was.

use std::path::{Path, PathBuf};

use bevy_ecs::prelude::*;
use loquent::cpu::{CacheType, Numerics};
use loquent::prelude::*;
use loquent::snapshot::{Contents, Continues, Snapshot, Why};
use proptest::prelude::*;

use crate::listening::{End, end_elsewhere, logits, restore_elsewhere, tokens, world_of};
use crate::support::{default_world, demo, fixtures, run, some_prompt, spawn, vocab_size, world_that_keeps};

fn demo_q4() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-q4")
}

/// Takes a sequence as `contents` say and lets it go on both here and elsewhere, where it is to come to the same.
fn assert_goes_on_alike(checkpoint: &Path, world: &mut World, sequence: Entity, contents: Contents) {
    let snapshot = Snapshot::take(world, sequence, contents).expect("a snapshot");
    let saved = tokens(world, sequence);
    let picked = logits(world, sequence).len();
    run(world, Budget::Step);
    let expected = End::of(world, sequence);
    let since = expected.logits.len() - picked;
    // In another thread, as moving a world is.
    let checkpoint = checkpoint.to_owned();
    let (found, continues) =
        std::thread::spawn(move || end_elsewhere(&checkpoint, &snapshot)).join().expect("no panic");
    assert_eq!(found, expected.since(since), "{contents:?} after {saved:?}");
    let expected = match contents {
        Contents::Tokens if saved.processed > 0 => Continues::ReadAgain { why: Why::TokensOnly },
        _ => Continues::Equally,
    };
    assert_eq!(continues, expected);
}

/// One that speaks at a temperature.
fn lively(world: &mut World, prompt: &[u32], new: usize) -> Entity {
    let sampling = Sampling { temperature: 0.9, top_p: 0.95, presence_penalty: 0.1, ..Sampling::default() };
    let rules = StopRules { end_tokens: Some(Vec::new()), ..StopRules::after(new) };
    world.spawn((Prompt::ids(prompt), sampling, Seed(11), rules)).id()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn at_any_point_of_a_sequence(
        fixture in prop::sample::select(fixtures()),
        length in 1..40usize,
        rows in 1..20usize,
        pieces in 0..160usize,
        tokens_only in any::<bool>(),
    ) {
        let mut world = world_of(&fixture);
        world.insert_resource(Limits { rows, ..Limits::default() });
        let prompt = some_prompt(length, vocab_size(&mut world));
        let sequence = lively(&mut world, &prompt, 20);
        for _ in 0..pieces {
            advance(&mut world, Budget::Pieces(1));
        }
        let contents = if tokens_only { Contents::Tokens } else { Contents::AsStored };
        assert_goes_on_alike(&fixture, &mut world, sequence, contents);
    }
}

#[test]
fn the_demo_at_every_kind_of_point() {
    for checkpoint in [demo(), demo_q4()] {
        for steps in [0, 1, 2, 3, 17, 40, 200] {
            for contents in [Contents::AsStored, Contents::Tokens] {
                let mut world = world_of(&checkpoint);
                world.insert_resource(Limits { rows: 32, ..Limits::default() });
                let prompt = some_prompt(70, vocab_size(&mut world));
                let sequence = lively(&mut world, &prompt, 40);
                (0..steps).for_each(|_| _ = advance(&mut world, Budget::Step));
                if steps == 17 {
                    advance(&mut world, Budget::Pieces(2));
                }
                assert_goes_on_alike(&checkpoint, &mut world, sequence, contents);
            }
        }
    }
}

#[test]
fn a_snapshot_in_the_middle_of_a_step_is_that_of_its_end() {
    let mut world = world_of(&demo());
    let sequence = spawn(&mut world, &[5, 6, 7], 9);
    advance(&mut world, Budget::Step);
    advance(&mut world, Budget::Pieces(1));
    assert_eq!(tokens(&world, sequence).generated.len(), 1);
    let middle = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
    assert_eq!(tokens(&world, sequence).generated.len(), 2);
    let end = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
    assert_eq!(middle.to_bytes(), end.to_bytes());
}

#[test]
fn snapshots_of_equals_are_equal_whatever_was_in_their_caches_before() {
    let mut world = world_of(&demo());
    let prompt = some_prompt(40, vocab_size(&mut world));
    let sequence = spawn(&mut world, &prompt, 9);
    for _ in 0..4 {
        advance(&mut world, Budget::Step);
    }
    let first = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
    let (mut other, restored, _) = restore_elsewhere(&demo(), &first);
    run(&mut other, Budget::Step);
    run(&mut world, Budget::Step);
    let [one, two] = [(&mut world, sequence), (&mut other, restored)]
        .map(|(world, sequence)| Snapshot::take(world, sequence, Contents::AsStored).expect("a snapshot").to_bytes());
    assert_eq!(one, two);
}

#[test]
fn half_precision_goes_on_at_once_and_nearly_so() {
    for checkpoint in [demo(), demo_q4()] {
        let mut world = world_of(&checkpoint);
        let prompt = some_prompt(70, vocab_size(&mut world));
        let sequence = spawn(&mut world, &prompt, 30);
        for _ in 0..10 {
            advance(&mut world, Budget::Step);
        }
        let [whole, half, tokens_only] = [Contents::AsStored, Contents::Half, Contents::Tokens].map(|contents| {
            let snapshot = Snapshot::take(&mut world, sequence, contents).expect("a snapshot");
            assert_eq!(snapshot.contents(), contents);
            snapshot
        });
        let sizes = [&whole, &half, &tokens_only].map(|snapshot| snapshot.to_bytes().len());
        // Of the one in four bits, keys and values are in half precision as they are stored, and are no smaller for it.
        let most = if checkpoint == demo() { sizes[0] * 11 / 20 } else { sizes[0] * 13 / 20 };
        assert!(sizes[1] < most && sizes[2] < sizes[0] / 10, "{sizes:?}");
        let (mut other, restored, continues) = restore_elsewhere(&checkpoint, &half);
        assert_eq!(continues, Continues::Nearly { why: Why::Rounded });
        let processed = tokens(&other, restored).processed;
        assert_eq!(processed, tokens(&world, sequence).processed);
        let before = logits(&world, sequence).len();
        advance(&mut world, Budget::Step);
        advance(&mut other, Budget::Step);
        let float = |bits: &Vec<u32>| bits.iter().map(|&bits| f32::from_bits(bits)).collect::<Vec<_>>();
        let (expected, found) = (float(&logits(&world, sequence)[before]), float(&logits(&other, restored)[0]));
        let difference = expected.iter().zip(&found).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        assert!(difference < 0.1, "{difference}");
        run(&mut other, Budget::Step);
        assert_eq!(tokens(&other, restored).generated.len(), 30);
    }
}

#[test]
fn what_was_fetched_from_elsewhere_is_saved_again_alike() {
    let mut world = world_of(&demo());
    let prompt = some_prompt(40, vocab_size(&mut world));
    let sequence = lively(&mut world, &prompt, 30);
    for _ in 0..5 {
        advance(&mut world, Budget::Step);
    }
    let first = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
    let (mut other, restored, _) = restore_elsewhere(&demo(), &first);
    advance(&mut world, Budget::Step);
    advance(&mut other, Budget::Step);
    let second = Snapshot::take(&mut other, restored, Contents::AsStored).expect("a snapshot");
    let (found, continues) = end_elsewhere(&demo(), &second);
    assert_eq!(continues, Continues::Equally);
    let picked = logits(&world, sequence).len();
    run(&mut world, Budget::Step);
    let expected = End::of(&world, sequence);
    let since = expected.logits.len() - picked;
    assert_eq!(found, expected.since(since));
}

#[test]
fn without_room_for_its_caches_it_reads_again() {
    let mut world = world_of(&demo());
    let prompt = some_prompt(70, vocab_size(&mut world));
    let sequence = lively(&mut world, &prompt, 20);
    for _ in 0..5 {
        advance(&mut world, Budget::Step);
    }
    let snapshot = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
    let model = crate::listening::model(&mut world);
    let cost = *world.get::<loquent::world::limits::CacheCost>(model).expect("a cost");
    world.insert_resource(Limits { cache_bytes: Some(cost.of(96) + cost.block), ..Limits::default() });
    let restored = snapshot.restore(&mut world, model).expect("a sequence");
    assert_eq!(restored.continues, Continues::ReadAgain { why: Why::NoRoom });
    run(&mut world, Budget::Step);
    let [one, other] = [sequence, restored.sequence].map(|sequence| tokens(&world, sequence));
    assert_eq!(one.generated, other.generated);
}

#[test]
fn activations_in_bf16_are_other_numerics() {
    use loquent::cpu::{Isa, Numerics};
    let Some(isa) = Isa::with_bf16() else {
        return eprintln!("skipped: this processor has no products of BF16");
    };
    // Whichever it is, keys and values are kept alike.
    let world = |isa, numerics| {
        let mut world = World::new();
        let options = LoadOptions::default().backend(Backend::Cpu).threads(1).isa(isa).numerics(numerics);
        load(&mut world, demo(), options.cache_type(CacheType::F32)).expect("a valid checkpoint");
        world
    };
    let mut saving = world(isa, Numerics::Fast);
    let sequence = spawn(&mut saving, &[1, 2, 3], 9);
    advance(&mut saving, Budget::Step);
    let snapshot = Snapshot::take(&mut saving, sequence, Contents::AsStored).expect("a snapshot");
    let continues = |isa, numerics| {
        let mut world = world(isa, numerics);
        let model = crate::listening::model(&mut world);
        snapshot.restore(&mut world, model).expect("a sequence").continues
    };
    assert_eq!(continues(isa, Numerics::Fast), Continues::Equally);
    for (isa, numerics) in [(isa, Numerics::Exact), (Isa::SCALAR, Numerics::Fast)] {
        let why = Why::OtherNumerics { saved: "fast", here: "exact" };
        assert_eq!(continues(isa, numerics), Continues::Nearly { why });
    }
}

#[test]
fn a_fork_that_has_no_prompt_of_its_own_goes_on_where_it_was() {
    let mut world = default_world(&demo_q4());
    let original = spawn(&mut world, &[5, 6, 7], 12);
    (0..3).for_each(|_| _ = advance(&mut world, Budget::Step));
    let fork = world.entity_mut(original).fork();
    (0..3).for_each(|_| _ = advance(&mut world, Budget::Step));
    let snapshot = Snapshot::take(&mut world, fork, Contents::AsStored).expect("a snapshot");
    world.despawn(fork);
    let model = crate::listening::model(&mut world);
    let restored = snapshot.restore(&mut world, model).expect("a sequence").sequence;
    (0..100).for_each(|_| _ = advance(&mut world, Budget::Step));
    assert!(world.get::<Finished>(restored).is_some(), "it is let in again");
    assert_eq!(tokens(&world, restored), tokens(&world, original));
}

#[test]
fn keys_and_values_come_back_as_they_are_kept_and_in_no_other_type() {
    let kept = [CacheType::F16, CacheType::F32];
    for (checkpoint, saved) in [demo(), demo_q4()].iter().flat_map(|demo| kept.map(|saved| (demo, saved))) {
        let mut world = world_that_keeps(checkpoint, Numerics::Fast, saved);
        let sequence = spawn(&mut world, &some_prompt(40, 200), 30);
        (0..9).for_each(|_| _ = advance(&mut world, Budget::Step));
        let [whole, half, tokens_only] = [Contents::AsStored, Contents::Half, Contents::Tokens]
            .map(|contents| Snapshot::take(&mut world, sequence, contents).expect("a snapshot"));
        run(&mut world, Budget::Step);
        let expected = tokens(&world, sequence);
        for here in kept {
            let mut other = world_that_keeps(checkpoint, Numerics::Fast, here);
            let model = crate::listening::model(&mut other);
            let again = tokens_only.restore(&mut other, model).expect("a sequence");
            assert_eq!(again.continues, Continues::ReadAgain { why: Why::TokensOnly });
            let restored = whole.restore(&mut other, model);
            if here == saved {
                let restored = restored.expect("a sequence");
                assert_eq!(restored.continues, Continues::Equally);
                run(&mut other, Budget::Step);
                assert_eq!(tokens(&other, restored.sequence), expected);
                continue;
            }
            let message = restored.expect_err("another type").to_string();
            let (snapshot, model_name) = (saved.name(), here.name());
            let named = format!("keys and values in {snapshot}: expected {model_name}, as the model keeps them");
            assert!(message.contains(&named), "{message}");
            assert!(half.restore(&mut other, model).is_err(), "half precision of another type is refused, too");
        }
    }
}

#[test]
fn another_instruction_set_and_other_numerics_are_named() {
    use loquent::cpu::Isa;
    let mut single = world_that_keeps(&demo_q4(), Numerics::Fast, CacheType::F32);
    let sequence = spawn(&mut single, &[1, 2, 3], 9);
    advance(&mut single, Budget::Step);
    let snapshot = Snapshot::take(&mut single, sequence, Contents::AsStored).expect("a snapshot");
    let mut exact = crate::support::exact_world(&demo_q4());
    let model = crate::listening::model(&mut exact);
    let why = Why::OtherNumerics { saved: "fast", here: "exact" };
    assert_eq!(snapshot.restore(&mut exact, model).expect("a sequence").continues, Continues::Nearly { why });

    let mut world = world_of(&demo_q4());
    let sequence = spawn(&mut world, &[1, 2, 3], 9);
    advance(&mut world, Budget::Step);
    let snapshot = Snapshot::take(&mut world, sequence, Contents::AsStored).expect("a snapshot");
    let continues = |isa| {
        let mut world = crate::support::world(&demo_q4(), 1, isa, Numerics::Fast);
        let model = crate::listening::model(&mut world);
        let restored = snapshot.restore(&mut world, model).expect("a sequence");
        run(&mut world, Budget::Step);
        assert_eq!(tokens(&world, restored.sequence).generated.len(), 9);
        restored.continues
    };
    assert_eq!(continues(Isa::widest()), Continues::Equally);
    if Isa::widest() != Isa::SCALAR {
        let why = Why::OtherDevice { saved: Isa::widest().to_string(), here: Isa::SCALAR.to_string() };
        assert_eq!(continues(Isa::SCALAR), Continues::Nearly { why });
    }
}
