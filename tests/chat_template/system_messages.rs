//! System messages where a template does not want them.

use loquent::checkpoint::{ChatMessage, ChatOptions, ChatTemplate};
use serde_json::json;

use crate::load;
use crate::logged::logged;

const ANYWHERE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content }}|{% endfor %}";
const FIRST_ONLY: &str = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}\
    {{ raise_exception('System message must be at the beginning.') }}{% endif %}{{ m.role }}: {{ m.content }}|{% endfor %}";

fn scattered() -> [ChatMessage; 4] {
    let message = ChatMessage::new;
    [message("user", "a"), message("system", "B").with("name", "n"), message("user", "c"), message("system", "D")]
}

fn render(template: &ChatTemplate, messages: &[ChatMessage]) -> Result<String, String> {
    template.render(messages, &ChatOptions::default()).map_err(|error| error.to_string())
}

#[test]
fn system_messages_stay_where_they_are_if_the_template_takes_them() {
    let log = logged(|| {
        assert_eq!(render(&load(ANYWHERE), &scattered()).unwrap(), "user: a|system: B|user: c|system: D|");
    });
    assert!(!log.contains("merged"), "{log}");
}

#[test]
fn system_messages_are_merged_at_the_beginning_if_the_template_refuses_them_and_that_is_said_once() {
    let template = load(FIRST_ONLY);
    let log = logged(|| {
        for _ in 0..2 {
            assert_eq!(render(&template, &scattered()).unwrap(), "system: B\n\nD|user: a|user: c|");
        }
    });
    assert_eq!(log.matches("System message must be at the beginning").count(), 1, "{log}");
    assert_eq!(log.matches("all system messages are merged into one at the beginning").count(), 1, "{log}");
}

#[test]
fn a_single_system_message_that_is_late_comes_first() {
    let messages = [ChatMessage::new("user", "a"), ChatMessage::new("system", "B")];
    assert_eq!(render(&load(FIRST_ONLY), &messages).unwrap(), "system: B|user: a|");
}

#[test]
fn where_merging_does_not_help_the_template_has_the_word() {
    let none = load("{{ raise_exception(messages|length ~ ' are too many') }}");
    assert!(render(&none, &scattered()).unwrap_err().contains("4 are too many"));
    let mut parts = scattered();
    parts[3] = parts[3].clone().with("content", json!([{"type": "text", "text": "D"}]));
    assert!(render(&load(FIRST_ONLY), &parts).unwrap_err().contains("must be at the beginning"));
}
