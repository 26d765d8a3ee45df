//! Templates and what Jinja2 makes of them, as `tests/golden/templates.py` wrote it down.

use std::collections::BTreeMap;

use loquent::checkpoint::{ChatMessage, ChatOptions};

use crate::{checkpoint, load_from};

const GOLDEN: &str = include_str!("../golden/templates.json");

/// Templates by subject, with their text, or nothing where they fail.
type Subjects = BTreeMap<String, Vec<(String, Option<String>)>>;

#[test]
fn templates_render_as_in_jinja() {
    let subjects: Subjects = serde_json::from_str(GOLDEN).unwrap();
    let messages = [ChatMessage::new("system", "S"), ChatMessage::new("user", "U <x>")];
    let mut wrong = Vec::new();
    let mut compared = 0;
    let tiny = checkpoint();
    for (template, expected) in subjects.values().flatten() {
        let found = load_from(&tiny, template).render(&messages, &ChatOptions::default());
        if found.as_ref().ok() != expected.as_ref() {
            wrong.push(format!("{template}\n  expected {expected:?}\n  found    {found:?}"));
        }
        compared += 1;
    }
    assert!(compared > 1400, "only {compared} templates were compared");
    assert!(wrong.is_empty(), "{} of {compared}:\n{}", wrong.len(), wrong.join("\n"));
}
