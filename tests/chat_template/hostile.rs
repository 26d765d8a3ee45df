//! Templates by strangers: whatever they say, they end soon, in bounded memory, with text or an error.

use loquent::checkpoint::{ChatMessage, ChatOptions};
use proptest::prelude::*;

use crate::tiny_checkpoint::TinyCheckpoint;
use crate::{checkpoint, load_from};

/// What is said where the interpreter itself breaks.
const BROKEN: &str = "the template cannot be rendered";

fn render(tiny: &TinyCheckpoint, template: &str) -> Result<String, String> {
    let messages = [ChatMessage::new("system", "S"), ChatMessage::new("user", "U <x>")];
    let text = load_from(tiny, template).render(&messages, &ChatOptions::default());
    let text = text.map_err(|error| error.to_string());
    assert!(!text.as_ref().is_err_and(|error| error.contains(BROKEN)), "{template}");
    text
}

fn assert_refused(templates: impl IntoIterator<Item = String>, because: &str) {
    let tiny = checkpoint();
    for template in templates {
        let beginning: String = template.chars().take(200).collect();
        match render(&tiny, &template) {
            Ok(text) => panic!("{beginning} gave {} bytes", text.len()),
            Err(error) => assert!(error.contains(because), "{beginning}: {error}"),
        }
    }
}

#[test]
fn what_would_take_all_memory_is_refused_before_it_is_made() {
    let expressions = [
        "'x' * 10**9",
        "[1] * 10**12",
        "'%1000000000d' % 1",
        "'%1000000000s' % 1",
        "'{:1000000000}'.format(1)",
        "'{:>{}}'.format('a', 10**12)",
        "'a'.center(10**9)",
        "'a'.ljust(10**30)",
        "'a'.zfill(10**18)",
        "'\t'.expandtabs(10**9)",
        "('a' * 100000).replace('', 'x' * 100000)",
        "(range(99999)|list) * 10000",
        "range(99999)|join('x' * 100000)",
        "'a\n'|indent(10**9)",
        "('\n' * 100000)|indent(100000, blank=true)",
        "[1]|batch(10**9, 'x')|list",
        "[1]|slice(10**9)|list",
        "('a' * 100000).translate({97: 'x' * 100000})",
    ];
    let templates = expressions.iter().map(|expression| format!("{{{{ ({expression})|length }}}}"));
    assert_refused(templates, "too much work or memory");
}

#[test]
fn numbers_beyond_all_bounds_are_refused() {
    let least = "(-170141183460469231731687303715884105727 - 1)";
    assert_refused(["{{ range(10**9) }}".to_owned(), format!("{{{{ range({least}, 1) }}}}")], "a range of more than");
    let too_large = ["2 ** 200", &format!("{least} // -1"), &format!("-{least}"), &format!("{least}|abs")];
    assert_refused(too_large.iter().map(|number| format!("{{{{ {number} }}}}")), "more than 128 bits");
    assert_refused(["{{ '%.9999f' % 1 }}".to_owned(), "{{ '{:.9999f}'.format(1.5) }}".to_owned()], "a precision of");
    assert_refused(["{{ '%.99999d' % 1 }}".to_owned()], "a number of more than 65535 digits");
    assert_refused(["{{ strftime_now('%99999d') }}".to_owned()], "a width of more than");
}

#[test]
fn values_that_hold_themselves_many_times_over_are_not_written_out() {
    let doubled = "{% set ns = namespace(x=[1], y=[1], t=(1,)) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}\
        {% set ns.y = [ns.y, ns.y] %}{% set ns.t = (ns.t, ns.t) %}{% endfor %}";
    let uses = ["{{ ns.x }}", "{{ ns.x|tojson }}", "{{ ns.x == ns.y }}", "{{ ns.x < ns.y }}", "{{ {ns.t: 1} }}"];
    assert_refused(uses.map(|used| doubled.to_owned() + used), "too much work or memory");
    assert_refused(["{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}".to_owned()], "recursion");
}

#[test]
fn values_within_values_can_be_let_go_however_deep() {
    let tiny = checkpoint();
    let values = ["[ns.x]", "(ns.x,)", "{1: ns.x}", "[ns.x]|select", "[ns.x].count", "cycler(ns.x)", "joiner(ns.x)"];
    for value in values.into_iter().chain(["namespace(x=ns.x)"]) {
        let template = format!(
            "{{% set ns = namespace(x='a') %}}{{% for i in range(99999) %}}{{% set ns.x = {value} %}}{{% endfor %}}ok"
        );
        assert_eq!(render(&tiny, &template).as_deref(), Ok("ok"), "{value}");
    }
}

#[test]
fn recursion_is_bounded() {
    let endless = [
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}",
        "{% macro f() %}{% for i in [1] %}{% call f() %}{{ caller() }}{% endcall %}{% endfor %}{% endmacro %}{{ f() }}",
        "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    ];
    assert_refused(endless.map(str::to_owned), "recursion");
    let deep = "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{{ n }}{% endmacro %}{{ f(200) }}";
    assert!(render(&checkpoint(), deep).is_ok_and(|text| text.starts_with("012")));
}

#[test]
fn text_that_is_looked_at_again_and_again_is_paid_for_each_time() {
    let uses = [
        "s|length",
        "s[5]",
        "s == s ~ ''",
        "s in [s ~ '']",
        "{}[s]",
        "ns|attr(s)",
        "s[1:2]",
        "s.isalpha()",
        "s|int",
        "s|trim('x')",
        "s is lower",
        "s.find('y')",
        "s.split('y')",
        "s|list|first",
        "s < s ~ 'x'",
        "s|wordcount",
    ];
    let templates = uses.map(|used| {
        format!(
            "{{% set ns = namespace() %}}{{% set s = 'x' * 1000000 %}}{{% for i in range(99999) %}}\
             {{% if ({used}) is none %}}{{% endif %}}{{% endfor %}}"
        )
    });
    assert_refused(templates, "too much work or memory");
}

#[test]
fn syntax_within_syntax_is_bounded() {
    let levels =
        [("(", ")"), ("[", "]"), ("{1:", "}"), ("-", ""), ("not ", ""), ("a(", ")"), ("a[", "]"), ("a|b(", ")")];
    let nested = |(open, close): (&str, &str)| format!("{{{{ {}1{} }}}}", open.repeat(20_000), close.repeat(20_000));
    assert_refused(levels.map(nested), "levels within one another");
    assert_refused(["{{ ".to_owned() + &"1 if 1 else ".repeat(20_000) + "2 }}"], "levels within one another");
    let chains = [".b", "+1", "|abs", "[0]", "()", " and 1", "**1", " is odd()"];
    assert_refused(chains.map(|link| format!("{{{{ a{} }}}}", link.repeat(20_000))), "in a row");
    assert_refused(["{% if 1 %}", "{% for a in b %}"].map(|tag| tag.repeat(20_000)), "levels within one another");
}

const FRAGMENTS: [&str; 72] = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "-",
    "+",
    " ",
    "\n",
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "if ",
    "elif ",
    "else",
    "endif",
    "for ",
    " in ",
    "endfor",
    "recursive",
    "set ",
    "endset",
    "macro ",
    "endmacro",
    "call",
    "endcall",
    "filter ",
    "endfilter",
    "generation",
    "endgeneration",
    "with ",
    "endwith",
    "raw",
    "endraw",
    "block ",
    "endblock",
    "break",
    "continue",
    "x",
    "messages",
    "loop",
    "caller",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "=",
    "==",
    "<",
    "~",
    "*",
    "**",
    "%",
    "//",
    "|",
    ".",
    " is ",
    " not ",
    "'a'",
    "\"",
    "\\",
    "1",
    "1.5",
    "none",
    "é",
    "\u{2003}",
];

const VALUES: [&str; 24] = [
    "1",
    "-7",
    "0",
    "2.5",
    "1e999",
    "true",
    "none",
    "nothing",
    "'abc'",
    "''",
    "'%s %d'",
    "'{} {:>5}'",
    "'é\\n b'",
    "'<'|e",
    "[1, 'a']",
    "[]",
    "(1,)",
    "{'a': 1}",
    "range(5)",
    "{'a': 1}.items()",
    "[2, 1]|select",
    "messages",
    "namespace(a=1)",
    "170141183460469231731687303715884105727",
];

const NAMES: [&str; 64] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "default",
    "dictsort",
    "e",
    "filesizeformat",
    "first",
    "float",
    "format",
    "groupby",
    "indent",
    "int",
    "items",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "map",
    "max",
    "min",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "tojson",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "wordcount",
    "xmlattr",
    "split",
    "rsplit",
    "partition",
    "find",
    "count",
    "index",
    "startswith",
    "zfill",
    "ljust",
    "expandtabs",
    "splitlines",
    "translate",
    "swapcase",
    "casefold",
    "get",
    "keys",
    "copy",
    "isdigit",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_mixture_of_fragments_breaks_the_interpreter(
        fragments in prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 1..40),
    ) {
        let _ = render(&checkpoint(), &fragments.concat());
    }

    #[test]
    fn no_call_breaks_the_interpreter(
        value in prop::sample::select(&VALUES[..]),
        names in prop::collection::vec(prop::sample::select(&NAMES[..]), 1..3),
        arguments in prop::collection::vec(prop::sample::select(&VALUES[..]), 0..4),
        operator in prop::sample::select(&["+", "-", "*", "/", "//", "%", "**", "<", "in", "~", "is", "and"][..]),
    ) {
        let tiny = checkpoint();
        let arguments = arguments.join(", ");
        let name = names.last().unwrap();
        let filters = names.join(&format!("({arguments})|"));
        let template = format!(
            "{{% macro try(x) %}}{{{{ x }}}}{{% endmacro %}}{{{{ try(({value})|{filters}({arguments})) }}}}"
        );
        let _ = render(&tiny, &template);
        let _ = render(&tiny, &format!("{{{{ ({value}).{name}({arguments}) }}}}"));
        let _ = render(&tiny, &format!("{{{{ ({value})[{arguments}:] }}}}{{{{ ({value}) {operator} ({arguments}) }}}}"));
    }
}
