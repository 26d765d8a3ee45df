//! A host with a frame to draw: several stories grow at once, and no frame gives them more than five milliseconds.
//!
//! `cargo run --release --example many_conversations`

use std::path::Path;
use std::time::{Duration, Instant};

use bevy_ecs::prelude::*;
use loquent::cpu::{self, Isa, Numerics};
use loquent::prelude::*;
use loquent::schedule::load;

/// What a frame may spend on language.
const BUDGET: Duration = Duration::from_millis(5);

/// A story's name in the host's own world, beside our components.
#[derive(Component)]
struct Teller(&'static str);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut checkpoint = Checkpoint::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo"))?;
    let config = checkpoint.config.clone();
    let mut world = World::new();
    install(&mut world);
    cpu::add_systems(&mut world, Workers::new(0, Isa::widest())?);
    load::spawn_model(&mut world, &config, &mut checkpoint)?;
    cpu::pack(&mut world, Numerics::Fast)?;

    let tokenizer = checkpoint.tokenizer.as_ref().ok_or("the demo has a tokenizer")?;
    let openings =
        [("Ann", "Once upon a time"), ("Ben", "One day"), ("Cat", "There was a"), ("Dan", "In a small village")];
    for (index, (name, opening)) in openings.into_iter().enumerate() {
        let sampling = Sampling { temperature: 0.7, top_p: 0.9, ..Sampling::default() };
        world.spawn((
            Teller(name),
            Prompt(tokenizer.encode(opening, true)?),
            Sampler::new(sampling, index as u64)?,
            StopRules { max_new_tokens: Some(80), eos_token_ids: checkpoint.eos_token_ids().to_vec() },
            Transcript::new(tokenizer.stream(), Vec::new()),
        ));
    }
    world.add_observer(|finished: On<SequenceFinished>, tellers: Query<&Teller>| {
        if let Ok(teller) = tellers.get(finished.sequence) {
            println!("{} is done: {:?}", teller.0, finished.reason);
        }
    });

    let (mut frames, mut longest) = (0, Duration::ZERO);
    loop {
        let frame = Instant::now();
        let progress = advance(&mut world, Budget::Time(BUDGET));
        longest = longest.max(frame.elapsed());
        frames += 1;
        let tokens: Vec<_> = world.resource_mut::<Messages<TokenGenerated>>().drain().collect();
        for token in tokens {
            let teller = world.get::<Teller>(token.sequence).map_or("?", |teller| teller.0);
            println!("frame {frames:4} {teller}:{}", token.text);
        }
        if progress == Progress::Idle {
            break;
        }
    }
    println!("{frames} frames; the longest gave {:.1} ms to language", longest.as_secs_f64() * 1e3);
    Ok(())
}
