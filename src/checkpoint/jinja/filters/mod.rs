//! Jinja's filters.

#![forbid(unsafe_code)]

mod markup;
mod numbers;
mod select;
mod sequences;
mod sort;
mod text;

pub(super) use sort::sorted;

use super::arguments::Arguments;
use super::error::Error;
use super::json;
use super::run::Run;
use super::value::Value;

pub(super) type Filter = fn(&Run, &Value, Arguments) -> Result<Value, Error>;

pub(super) fn find(name: &str) -> Option<Filter> {
    if name == "tojson" {
        return Some(json::to_json);
    }
    text::find(name)
        .or_else(|| sequences::find(name))
        .or_else(|| select::find(name))
        .or_else(|| sort::find(name))
        .or_else(|| numbers::find(name))
        .or_else(|| markup::find(name))
}
