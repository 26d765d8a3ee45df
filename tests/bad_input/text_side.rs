//! Tokenizers, chat templates and sampling defaults.

use loquent::checkpoint::{ChatMessage, ChatOptions, Checkpoint};
use serde_json::json;

use crate::tiny_checkpoint::{TinyCheckpoint, tokenizer};

#[test]
fn a_tokenizer_with_ids_beyond_the_vocabulary_is_refused() {
    let tiny = TinyCheckpoint::new();
    let mut file = tokenizer();
    file["model"]["vocab"]["far"] = json!(272);
    tiny.write("tokenizer.json", file.to_string());
    tiny.assert_refused("tokenizer.json", &["ids below config.json's vocab_size = 272", "found 272 for \"far\""]);
}

#[test]
fn an_added_token_must_get_its_id() {
    let tiny = TinyCheckpoint::new();
    let mut file = tokenizer();
    file["added_tokens"][1]["id"] = json!(271);
    tiny.write("tokenizer.json", file.to_string());
    tiny.assert_refused("tokenizer.json", &["`added_tokens`", "id 271 for \"<|end|>\"", "found "]);
}

#[test]
fn a_tokenizer_that_is_none_is_refused() {
    let tiny = TinyCheckpoint::new();
    let mut unknown_model = tokenizer();
    unknown_model["model"]["type"] = json!("Telepathy");
    let mut bad_merge = tokenizer();
    bad_merge["model"]["merges"] = json!([["no such", "token"]]);
    let mut bad_regex = tokenizer();
    bad_regex["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("(");
    for file in [unknown_model, bad_merge, bad_regex, json!({}), json!({"model": null})] {
        tiny.write("tokenizer.json", file.to_string());
        tiny.assert_refused("tokenizer.json", &["expected a tokenizer, found"]);
    }
}

#[test]
fn sampling_defaults_out_of_range_are_refused() {
    for (field, values, expected) in [
        ("temperature", vec![json!(-0.1), json!("1"), json!(1e60)], "a finite number, at least 0"),
        ("top_k", vec![json!(-1), json!(2.5), json!(1e18)], "an integer from 0 to"),
        ("top_p", vec![json!(-0.1), json!(1.1), json!([])], "a number from 0 to 1"),
        ("min_p", vec![json!(-0.1), json!(1.1)], "a number from 0 to 1"),
        ("repetition_penalty", vec![json!(0), json!(-1), json!(1e60)], "a finite number above 0"),
        ("do_sample", vec![json!("yes"), json!(1)], "true or false"),
        ("eos_token_id", vec![json!(272), json!([0, -1]), json!(1.5)], "token ids below vocab_size = 272"),
    ] {
        for value in values {
            let tiny = TinyCheckpoint::new();
            tiny.write("generation_config.json", json!({field: value}).to_string());
            tiny.assert_refused("generation_config.json", &[&format!("`{field}`"), expected, "found"]);
        }
    }
}

/// What rendering a conversation with this template says.
fn template_error(template: &str) -> String {
    let tiny = TinyCheckpoint::new();
    tiny.write("chat_template.jinja", template);
    let checkpoint = Checkpoint::open(tiny.path()).unwrap();
    let messages = [ChatMessage::new("user", "Hi")];
    let error = checkpoint.chat_template.unwrap().render(&messages, &ChatOptions::default()).unwrap_err();
    assert!(error.to_string().starts_with(&tiny.file("chat_template.jinja").display().to_string()), "{error}");
    error.to_string()
}

#[test]
fn a_template_that_does_not_compile_says_where() {
    let message = template_error("line one\n{% if %}");
    assert!(message.contains("syntax error") && message.contains(":2"), "{message}");
    assert!(template_error("{{ messages|no_such_filter }}").contains("no_such_filter"));
}

#[test]
fn a_template_may_refuse_a_conversation_in_its_own_words() {
    let message = template_error("{{ raise_exception('Only the system may speak.') }}");
    assert!(message.contains("Only the system may speak."), "{message}");
}

#[test]
fn a_template_can_neither_hang_nor_eat_the_memory() {
    let nested_loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}\
        {% endfor %}{% endfor %}";
    let doubling = "{% set ns = namespace(x='xxxxxxxxxxxxxxxx') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}\
        {% endfor %}{{ ns.x }}";
    for template in [nested_loops, doubling, "{{ 'x' * 99999999999 }}", "{{ '%99999999999d' % 1 }}"] {
        template_error(template);
    }
    let recursion = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
    assert!(template_error(recursion).contains("recursion"));
    template_error(&format!("{}1{}", "{{ (".to_owned() + &"(".repeat(50_000), ")".repeat(50_000) + ") }}"));
}

#[test]
fn a_chat_template_field_of_another_kind_is_refused() {
    for (value, expected) in [
        (json!(7), "a string or an array"),
        (json!([{"name": "tool_use", "template": "x"}]), "the name \"default\""),
        (json!([{"name": "default", "template": 7}]), "the name \"default\""),
        (json!([1]), "the name \"default\""),
    ] {
        let tiny = TinyCheckpoint::new();
        tiny.remove("chat_template.jinja");
        tiny.write("tokenizer_config.json", json!({"chat_template": value}).to_string());
        tiny.assert_refused("tokenizer_config.json", &["`chat_template`", expected, "found"]);
    }
}
