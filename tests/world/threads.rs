//! A world runs wherever it is: on the thread that loaded it, on any other, beside another world.

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bevy_ecs::prelude::*;
use loquent::cpu::{Isa, Numerics};

use crate::support::{demo, fixtures, generate, some_prompt, vocab_size};

/// Much longer than any of these take.
const LIMIT: Duration = Duration::from_secs(60);

fn world(checkpoint: &Path, threads: usize) -> World {
    crate::support::world(checkpoint, threads, Isa::widest(), Numerics::Fast)
}

/// What `work` makes on a thread of its own, which must end in time.
fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(work()));
    receive.recv_timeout(LIMIT).expect("an answer in time")
}

/// The tokens that a world makes of a prompt long enough for all threads to have work.
fn tokens(world: &mut World) -> Vec<u32> {
    let prompt = some_prompt(70, vocab_size(world));
    generate(world, &prompt, 12)
}

#[test]
fn a_world_loaded_on_one_thread_runs_on_others_with_the_same_tokens() {
    for checkpoint in [demo(), fixtures().swap_remove(0)] {
        let expected = tokens(&mut world(&checkpoint, 1));
        for threads in [1, 2, 3] {
            let from = checkpoint.clone();
            let mut moved = elsewhere(move || world(&from, threads));
            for move_number in 1..4 {
                let found;
                (moved, found) = elsewhere(move || {
                    let found = tokens(&mut moved);
                    (moved, found)
                });
                assert_eq!(found, expected, "move {move_number} with {threads} threads");
            }
        }
    }
}

#[test]
fn worlds_on_one_thread_take_turns() {
    let found = elsewhere(|| {
        let checkpoint = &fixtures()[0];
        let mut worlds = [1, 2, 3, 2].map(|threads| world(checkpoint, threads));
        let first = worlds.each_mut().map(tokens);
        [first, worlds.each_mut().map(tokens)]
    });
    assert!(found.iter().flatten().all(|tokens| *tokens == found[0][0]), "{found:?}");
}
