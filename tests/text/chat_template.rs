//! Chat templates render as transformers 5.23 renders them: each expectation is what it gave for the template.

use loquent::checkpoint::{ChatMessage, ChatOptions, ChatTemplate};

use crate::tiny_checkpoint::TinyCheckpoint;

fn load(template: &str) -> ChatTemplate {
    let tiny = TinyCheckpoint::new();
    tiny.write("chat_template.jinja", template);
    tiny.write("tokenizer_config.json", r#"{"bos_token": "<s>", "eos_token": {"content": "</s>"}, "pad_token": null}"#);
    tiny.load().unwrap().chat_template.unwrap()
}

fn render(template: &str, options: &ChatOptions) -> String {
    let messages = [ChatMessage::new("system", "S"), ChatMessage::new("user", "U <x>")];
    load(template).render(&messages, options).unwrap_or_else(|error| error.to_string())
}

const GOLDEN: &[(&str, &str)] = &[
    (
        "{{ none }}|{{ true }}|{{ 1.0 }}|{{ [1, 'a', none, true] }}|{{ {'k': 1.5} }}|{{ undefined_name }}|",
        "None|True|1.0|[1, 'a', None, True]|{'k': 1.5}||",
    ),
    (
        "{{ 'x<b>&'|tojson }} {{ {'b': [1, 2.0, none, true], 'a': 'é\"\\n'}|tojson }} {{ {'b': {'c': []}, 'a': [1, {}]}|tojson(indent=2) }}",
        "\"x<b>&\" {\"b\": [1, 2.0, null, true], \"a\": \"é\\\"\\n\"} {\n  \"b\": {\n    \"c\": []\n  },\n  \"a\": [\n    1,\n    {}\n  ]\n}",
    ),
    (
        "{{ {'b': 1, 'a': 'é😀'}|tojson(sort_keys=true, ensure_ascii=true) }} {{ [1, 2]|tojson(separators=(',', ':')) }} {{ [1e-7, 1e16, 0.1, 123456789.0]|tojson }}",
        "{\"a\": \"\\u00e9\\ud83d\\ude00\", \"b\": 1} [1,2] [1e-07, 1e+16, 0.1, 123456789.0]",
    ),
    (
        "{{ '  ab '.strip() }}|{{ 'xxabyx'.lstrip('x') }}|{{ 'abxy'.rstrip('yx') }}|{{ 'a</t>b</t>c'.split('</t>')[-1] }}|{{ 'abc'.startswith('ab') }}|{{ 'abc'.endswith('x') }}",
        "ab|abyx|ab|c|True|False",
    ),
    (
        "{% for m in messages[::-1] %}{{ loop.index0 }}{{ m.role }}{{ m['content'] }}{% if loop.first %}!{% endif %}{% if loop.last %}?{% endif %}\n{% endfor %}",
        "0userU <x>!1systemS?",
    ),
    (
        "{% set ns = namespace(n=0, f=false) %}{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 5 %}{% break %}{% endif %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}{{ ns.f }}",
        "13False",
    ),
    ("  {% if true %}\n  kept\n    {%- endif %}\n{# comment #}\nend\n\n", "  keptend\n"),
    ("{% macro f(x, y='d') %}[{{ x }}{{ y }}]{% endmacro %}{{ f(1) }}{{ f('a', y=2) }}", "[1d][a2]"),
    (
        "{% for k, v in {'b': 1, 'a': 2}.items() %}{{ k }}={{ v }};{% endfor %}{{ {'a': 1}|length }}{{ 'abc'|upper }}{{ 'A' in 'bAr' }}{{ messages|length }}",
        "b=1;a=2;1ABCTrue2",
    ),
    (
        "{{ none is iterable }}{{ 'a' is iterable }}{{ {} is sequence }}{{ 'a' is sequence }}{{ 3 is iterable }}{{ tools is defined }}{{ nothing is defined }}{{ [] is mapping }}{{ {} is mapping }}",
        "FalseTrueTrueTrueFalseTrueFalseFalseTrue",
    ),
    (
        "{{ messages[0].content is string }}{{ messages[0].nothing is defined }}{{ messages[0].get('nothing') }}{{ messages[0].get('x', 'y') }}{{ 7 // 2 }}{{ -7 % 3 }}{{ 7 / 2 }}",
        "TrueFalseNoney323.5",
    ),
    (
        "{{ 'a\\nb' }}{{ \"q'\" }}{{ 'abc'[1:] }}{{ 'abc'[::-1] }}{{ ['x', 'y']|join(', ') }}{{ ' a '|trim }}{{ ('a' ~ 1 ~ none) }}",
        "a\nbq'bccbax, yaa1None",
    ),
    ("a\r\nb\r{{ 'c' }}\n", "a\nb\nc"),
    (
        "{{ bos_token }}{% if eos_token is defined %}{{ eos_token }}{% endif %}{{ pad_token is defined }}{{ add_generation_prompt }}{{ enable_thinking }}",
        "<s></s>FalseTrueFalse",
    ),
    (
        "{{ 'hello world'.title() }} {{ 'a-b'.replace('-', '+') }} {{ 'x'|default('d') }} {{ nope|default('d') }} {{ 'abcabc'.count('b') }} {{ 'abc'.find('c') }}",
        "Hello World a+b x d 2 2",
    ),
    (
        "{{ [3, 1, 2]|sort }}{{ [1, 2, 3]|last }}{{ messages|map(attribute='role')|join(',') }}{{ messages|selectattr('role', 'equalto', 'user')|list|length }}{{ 'a' if false }}",
        "[1, 2, 3]3system,user1",
    ),
];

#[test]
fn templates_render_as_in_transformers() {
    for (template, expected) in GOLDEN {
        assert_eq!(render(template, &ChatOptions::default()), *expected, "{template}");
    }
}

#[test]
fn options_reach_the_template() {
    let template = "{{ add_generation_prompt }} {{ enable_thinking }}";
    assert_eq!(render(template, &ChatOptions::default()), "True False");
    let options = ChatOptions { add_generation_prompt: false, enable_thinking: true, ..ChatOptions::default() };
    assert_eq!(render(template, &options), "False True");
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
    assert!(render("{{ strftime_now('%Q') }}", &ChatOptions::default()).contains("%Q is not supported"));
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
