//! What multiplying four-bit weights by activations in eight bits costs.

use loquent::perplexity::Scorer;

use crate::compare;
use crate::support::{default_world, demo_in_four_bits, exact_world};

/// Perplexity may change by this part of itself.
const BOUND: f64 = 0.005;

#[test]
fn the_fast_path_predicts_a_text_as_well_as_the_exact_one() {
    let (_folder, demo) = demo_in_four_bits();
    let checkpoint = loquent::prelude::Checkpoint::open(&demo).unwrap();
    let text = checkpoint.tokenizer.unwrap().encode(include_str!("../fixtures/perplexity.txt"), false).unwrap();
    let [mut exact, mut fast] = [exact_world(&demo), default_world(&demo)].map(|world| Scorer::new("demo", world));
    let found = compare(&mut exact, &mut fast, &text, (512, 256)).unwrap();
    assert!(found.divergence.value > 1e-7, "the fast path was not taken: {found:?}");
    assert!(
        found.is_within(BOUND),
        "perplexity {} fast, {} exact: it changes by {} of itself, of {BOUND} allowed",
        found.second.perplexity().value,
        found.first.perplexity().value,
        found.relative_change().value,
    );
}
