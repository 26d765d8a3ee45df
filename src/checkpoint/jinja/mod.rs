//! Jinja as transformers sets it up: templates that checkpoints come with were written for Python's implementation, and
//! render here as there, to the byte. That is a matter of values rather than of tags (what `"%s" % x`, `1 < "a"`,
//! `d.items` and `{{ 1e16 }}` mean), so these are Python's. Text becomes tokens (`lexer`, `tokens`), tokens become
//! statements and expressions (`parser` and its kin), and those are carried out as they stand (`render`,
//! `evaluate`), within the bounds of a `Run`.
//!
//! Not there: other templates (`include`, `import`, `extends`), escaping for HTML, `lipsum`, the filters `pprint`,
//! `random`, `urlize` and `wordwrap`, integers of more than 128 bits.

#![forbid(unsafe_code)]

mod access;
mod arguments;
mod arithmetic;
mod ast;
mod calls;
mod characters;
mod compare;
mod dict;
mod error;
mod evaluate;
mod expression_parser;
mod filters;
mod globals;
mod html;
mod json;
mod lexer;
mod loops;
mod methods;
mod number_format;
mod operand_parser;
mod parser;
mod percent_format;
mod predicates;
mod range;
mod render;
mod repr;
mod run;
mod scope;
mod statement_parser;
mod str_format;
mod strftime;
mod strings;
mod tokens;
mod value;

use serde_json::{Map, Value as Json};

use dict::Dict;
pub(super) use error::Error;
use run::{Run, STACK};
use value::Value;

/// Renders a template.
///
/// # Errors
/// If it does not compile, fails, refuses, or takes too much work or memory.
pub(super) fn render(source: &str, variables: &Map<String, Json>) -> Result<String, Error> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("chat template".into()).stack_size(STACK);
        let rendering = thread.spawn_scoped(scope, || render_here(source, variables));
        let rendering = rendering.map_err(|error| Error::operation(format!("no thread for the template: {error}")));
        rendering?.join().unwrap_or_else(|_| Err(Error::operation("the template cannot be rendered")))
    })
    .map_err(|error| error.at(1))
}

fn render_here(source: &str, variables: &Map<String, Json>) -> Result<String, Error> {
    let run = Run::new();
    let mut names = Vec::new();
    for (name, value) in variables {
        names.push((name.as_str().into(), from_json(&run, value)?));
    }
    render::render(&run, source, names)
}

fn from_json(run: &Run, json: &Json) -> Result<Value, Error> {
    let _level = run.enter()?;
    Ok(match json {
        Json::Null => Value::None,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i128() {
            Some(integer) => Value::Int(integer),
            None => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::str(text.as_str()),
        Json::Array(items) => Value::list(items.iter().map(|item| from_json(run, item)).collect::<Result<_, _>>()?),
        Json::Object(fields) => {
            let mut dict = Dict::default();
            for (name, value) in fields {
                dict.insert(run, Value::str(name.as_str()), from_json(run, value)?)?;
            }
            Value::dict(dict)
        }
    })
}
