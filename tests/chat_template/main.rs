//! Chat templates render as Jinja2 renders them, within bounds.

mod conversations;
#[path = "../support/damage.rs"]
mod damage;
mod golden;
mod hostile;
#[path = "../support/logged.rs"]
mod logged;
mod system_messages;
#[path = "../support/tiny_checkpoint.rs"]
mod tiny_checkpoint;

use loquent::checkpoint::{ChatMessage, ChatOptions, ChatTemplate, Checkpoint, TemplateArgs};
use serde_json::json;
use tiny_checkpoint::TinyCheckpoint;

/// Without a tokenizer: reading one takes longer than rendering most templates.
fn checkpoint() -> TinyCheckpoint {
    let tiny = TinyCheckpoint::new();
    tiny.remove("tokenizer.json");
    tiny
}

fn load(template: &str) -> ChatTemplate {
    load_from(&checkpoint(), template)
}

fn load_from(tiny: &TinyCheckpoint, template: &str) -> ChatTemplate {
    tiny.write("chat_template.jinja", template);
    tiny.write("tokenizer_config.json", r#"{"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": null}"#);
    Checkpoint::open(tiny.path()).unwrap().chat_template.unwrap()
}

fn render(template: &str, options: &ChatOptions) -> String {
    let messages = [ChatMessage::new("system", "S"), ChatMessage::new("user", "U <x>")];
    load(template).render(&messages, options).unwrap_or_else(|error| error.to_string())
}

#[test]
fn tools_reach_the_template() {
    let template = "{% if tools %}{% for tool in tools %}{{ tool.function.name }}: {{ tool|tojson }};{% endfor %}\
        {% else %}{{ tools }}{% endif %}";
    assert_eq!(render(template, &ChatOptions::default()), "None");
    let tools = vec![json!({"type": "function", "function": {"name": "look", "parameters": {"b": 1, "a": 0.5}}})];
    let options = ChatOptions { tools, ..ChatOptions::default() };
    let expected =
        "look: {\"type\": \"function\", \"function\": {\"name\": \"look\", \"parameters\": {\"b\": 1, \"a\": 0.5}}};";
    assert_eq!(render(template, &options), expected);
}

#[test]
fn messages_carry_whatever_fields_a_template_reads() {
    let template = load(
        "{% for m in messages %}{{ m.role }}={% if m.content is string %}{{ m.content }}{% else %}\
        {% for part in m.content or [] %}<{{ part.type }}>{{ part.text }}{% endfor %}{% endif %}\
        {% for call in m.tool_calls or [] %}{{ call.function.name }}{{ call.function.arguments|tojson }}{% endfor %}\
        {{ m.reasoning_content }};{% endfor %}",
    );
    let read: ChatMessage = serde_json::from_value(json!({"role": "tool", "name": "look", "content": "42"})).unwrap();
    let messages = [
        ChatMessage::new("user", "").with("content", json!([{"type": "text", "text": "Hi"}, {"type": "image"}])),
        ChatMessage::new("assistant", "")
            .with("content", json!(null))
            .with("tool_calls", json!([{"function": {"name": "look", "arguments": {"at": [1, 1e16]}}}]))
            .with("reasoning_content", "Hm."),
        read,
    ];
    let expected = "user=<text>Hi<image>;assistant=look{\"at\": [1, 1e+16]}Hm.;tool=42;";
    assert_eq!(template.render(&messages, &ChatOptions::default()).unwrap(), expected);
}

#[test]
fn an_error_names_the_line() {
    let error = render("one\n{% if true %}\n  {{ messages[0].content + 1 }}\n{% endif %}", &ChatOptions::default());
    assert!(error.contains("unsupported operand types for +: 'str' and 'int' (in chat_template:3)"), "{error}");
    let error = render("one\n\n{{ 1 | no_such }}", &ChatOptions::default());
    assert!(error.contains("no filter is named 'no_such' (in chat_template:3)"), "{error}");
}

#[test]
fn options_reach_the_template() {
    let template = "{{ add_generation_prompt }} {{ enable_thinking }}";
    assert_eq!(render(template, &ChatOptions::default()), "True False");
    let options = ChatOptions { add_generation_prompt: false, enable_thinking: true, ..ChatOptions::default() };
    assert_eq!(render(template, &options), "False True");
}

#[test]
fn further_variables_reach_the_template_and_take_the_place_of_special_tokens_only() {
    let mut template_args = TemplateArgs::default();
    template_args.insert("style", json!({"tone": ["dry", 2]})).unwrap();
    template_args.insert("bos_token", "<B>").unwrap();
    template_args.insert("documents", json!([])).unwrap();
    for name in ["messages", "tools", "add_generation_prompt", "enable_thinking"] {
        let error = template_args.insert(name, 1).unwrap_err().to_string();
        assert!(error.starts_with(&format!("a template argument is named {name}: expected none of messages, tools")));
    }
    let options = ChatOptions { template_args, ..ChatOptions::default() };
    let template = "{{ style.tone[1] + 1 }} {{ bos_token }} {{ documents }} {{ messages|length }} {{ tools }}";
    assert_eq!(render(template, &options), "3 <B> [] 2 None");
    assert_eq!(render(template.split_once("}}").unwrap().1, &ChatOptions::default()), " <s> None 2 None");
}

#[test]
fn json_is_indented_by_up_to_64_spaces() {
    let indented = |width| render(&format!("{{{{ [1]|tojson(indent={width}) }}}}"), &ChatOptions::default());
    assert_eq!(indented(64), format!("[\n{}1\n]", " ".repeat(64)));
    assert!(indented(65).contains("indent of more than 64 spaces"), "{}", indented(65));
}

#[test]
fn the_date_is_written_by_a_format() {
    let date = render("{{ strftime_now('%Y-%m-%d %B %b %A %a %H:%M:%S %I%p %y %%') }}", &ChatOptions::default());
    assert!(date.starts_with("20") && date.ends_with('%') && date.split(' ').count() == 9, "{date}");
    assert_eq!(render("{{ strftime_now('%Q %j')|length }}", &ChatOptions::default()), "6");
}

#[test]
fn a_long_conversation_does_not_run_out_of_fuel() {
    let template = "{% for i in range(2000) %}{{ messages[1].content }}{% endfor %}";
    assert_eq!(render(template, &ChatOptions::default()).len(), 2000 * 5);
}

/// As ChatML, Llama 3 and Mistral mark turns.
const CHATML: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
    {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
const LLAMA: &str = "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n\
    {{ m.content | trim }}<|eot_id|>{% endfor %}\
    {% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}";
const MISTRAL: &str = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]\
    {% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}";

#[test]
fn an_assistants_message_ends_as_the_template_ends_it() {
    assert_eq!(load(CHATML).assistant_ending().as_deref(), Some("<|im_end|>\n"));
    assert_eq!(load(LLAMA).assistant_ending().as_deref(), Some("<|eot_id|>"));
    assert_eq!(load(MISTRAL).assistant_ending().as_deref(), Some("</s>"));
}

#[test]
fn an_ending_is_found_where_conversations_are_refused_or_left_open() {
    let wants_system = "{% if messages[0].role != 'system' %}{{ raise_exception('no') }}{% endif %}";
    assert_eq!(load(&(wants_system.to_owned() + CHATML)).assistant_ending().as_deref(), Some("<|im_end|>\n"));
    let wants_user_last = "{% if messages[-1].role != 'user' %}{{ raise_exception('no') }}{% endif %}";
    let ending = load(&(wants_user_last.to_owned() + CHATML)).assistant_ending();
    assert_eq!(ending.as_deref(), Some("<|im_end|>\n<|im_start|>user\n"));
    let open = "{% for m in messages %}{{ m.content }}{% if not loop.last %}<|end|>{% endif %}{% endfor %}";
    assert_eq!(load(open).assistant_ending().as_deref(), Some("<|end|>"));
}

#[test]
fn a_template_that_ends_nothing_has_no_ending() {
    assert_eq!(load("{% for m in messages %}{{ m.content }}{% endfor %}").assistant_ending(), None);
    assert_eq!(load("{{ messages[0].content }}</s>").assistant_ending(), None);
    assert_eq!(load("{{ raise_exception('no') }}").assistant_ending(), None);
}

#[test]
fn a_header_that_ends_the_template_keeps_its_line_feed_and_other_text_does_not() {
    for (template, expected) in [
        ("<|im_start|>assistant\n", "<|im_start|>assistant\n"),
        ("<|im_start|>assistant\r\n", "<|im_start|>assistant\n"),
        ("<|im_start|>assistant", "<|im_start|>assistant"),
        ("Assistant:\n", "Assistant:"),
    ] {
        assert_eq!(render(template, &ChatOptions::default()), expected, "{template:?}");
    }
}
