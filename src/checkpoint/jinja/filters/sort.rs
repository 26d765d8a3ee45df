//! Filters that put items in order.

#![forbid(unsafe_code)]

use std::collections::HashSet;

use super::Filter;
use super::select::{attribute_path, follow};
use super::sequences::group;
use crate::checkpoint::jinja::access::iterate;
use crate::checkpoint::jinja::arguments::{Arguments, flag, given};
use crate::checkpoint::jinja::compare::{equal, less};
use crate::checkpoint::jinja::dict::Key;
use crate::checkpoint::jinja::error::Error;
use crate::checkpoint::jinja::run::Run;
use crate::checkpoint::jinja::value::{Str, Value};

pub(super) fn find(name: &str) -> Option<Filter> {
    Some(match name {
        "sort" => sort,
        "dictsort" => dict_sort,
        "unique" => unique,
        "groupby" => group_by,
        "min" => |run, value, arguments| extreme(run, value, arguments, "min"),
        "max" => |run, value, arguments| extreme(run, value, arguments, "max"),
        _ => return None,
    })
}

/// In the order of what `key` makes of them; equal ones stay as they are.
pub(in crate::checkpoint::jinja) fn sorted(
    run: &Run,
    items: Vec<Value>,
    key: impl Fn(&Value) -> Result<Value, Error>,
) -> Result<Vec<Value>, Error> {
    run.spend(items.len())?;
    let keyed: Result<Vec<_>, Error> = items.into_iter().map(|item| Ok((key(&item)?, item))).collect();
    Ok(merge_sorted(run, keyed?)?.into_iter().map(|(_, item)| item).collect())
}

/// The standard library's sorts may panic where an order is none, or comparing fails.
fn merge_sorted(run: &Run, mut items: Vec<(Value, Value)>) -> Result<Vec<(Value, Value)>, Error> {
    if items.len() < 2 {
        return Ok(items);
    }
    let second = items.split_off(items.len() / 2);
    let mut first = merge_sorted(run, items)?.into_iter().peekable();
    let mut second = merge_sorted(run, second)?.into_iter().peekable();
    let mut merged = Vec::with_capacity(first.len() + second.len());
    loop {
        let takes_second = match (first.peek(), second.peek()) {
            (Some((left, _)), Some((right, _))) => less(run, right, left)?,
            (Some(_), None) => false,
            (None, Some(_)) => true,
            (None, None) => return Ok(merged),
        };
        merged.extend(if takes_second { second.next() } else { first.next() });
    }
}

fn reversed(mut items: Vec<Value>, is_reversed: bool) -> Vec<Value> {
    if is_reversed {
        items.reverse();
    }
    items
}

/// As a key that does not heed case, unless it should.
fn folded(value: Value, is_case_sensitive: bool) -> Value {
    match value {
        Value::Str(Str { text, is_safe }) if !is_case_sensitive => {
            Value::Str(Str { text: text.to_lowercase().into(), is_safe })
        }
        _ => value,
    }
}

fn sort(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [reverse, case_sensitive, attribute] = arguments.take("sort", 0, ["reverse", "case_sensitive", "attribute"])?;
    let (reverse, case_sensitive) = (flag(reverse.as_ref(), false), flag(case_sensitive.as_ref(), false));
    let paths = match attribute {
        None | Some(Value::None) => vec![Vec::new()],
        Some(Value::Str(Str { text, .. })) => {
            let paths = text.split(',').map(|attribute| attribute_path(run, &Value::str(attribute)));
            paths.collect::<Result<_, _>>()?
        }
        Some(attribute) => vec![attribute_path(run, &attribute)?],
    };
    let key = |item: &Value| {
        let keys = paths.iter().map(|path| Ok(folded(follow(run, item.clone(), path, None)?, case_sensitive)));
        keys.collect::<Result<_, Error>>().map(Value::list)
    };
    // Turned over before and after, equal ones keep their order.
    let items = reversed(iterate(run, value)?, reverse);
    Ok(Value::list(reversed(sorted(run, items, key)?, reverse)))
}

fn dict_sort(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [case_sensitive, by, reverse] = arguments.take("dictsort", 0, ["case_sensitive", "by", "reverse"])?;
    let place = match by.as_ref().map_or(Some("key"), Value::as_str) {
        Some("key") => 0,
        Some("value") => 1,
        _ => return Err(Error::operation("dictsort: expected to sort by \"key\" or by \"value\"")),
    };
    let pairs = match value {
        Value::Dict(dict) => dict.pairs(),
        Value::Undefined(reason) => return Err(Error::undefined(&**reason)),
        _ => return Err(Error::operation(format!("dictsort: expected a dict, found '{}'", value.type_name()))),
    };
    let (reverse, case_sensitive) = (flag(reverse.as_ref(), false), flag(case_sensitive.as_ref(), false));
    let key =
        |pair: &Value| Ok(folded(given(pair.as_tuple().and_then(|pair| pair.get(place)).cloned()), case_sensitive));
    Ok(Value::list(reversed(sorted(run, reversed(pairs, reverse), key)?, reverse)))
}

/// What `attribute` leads to, or the item itself, without regard to case unless asked for.
fn keyed(
    run: &Run,
    item: &Value,
    attribute: Option<&Value>,
    default: Option<&Value>,
    case: bool,
) -> Result<Value, Error> {
    let path = match attribute {
        None | Some(Value::None) => Vec::new(),
        Some(attribute) => attribute_path(run, attribute)?,
    };
    Ok(folded(follow(run, item.clone(), &path, default)?, case))
}

fn unique(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [case_sensitive, attribute] = arguments.take("unique", 0, ["case_sensitive", "attribute"])?;
    let case_sensitive = flag(case_sensitive.as_ref(), false);
    let mut seen = HashSet::new();
    let mut kept = Vec::new();
    for item in iterate(run, value)? {
        let key = keyed(run, &item, attribute.as_ref(), None, case_sensitive)?;
        if seen.insert(Key::of(run, &key)?) {
            kept.push(item);
        }
    }
    Ok(Value::generator(kept))
}

fn group_by(run: &Run, value: &Value, arguments: Arguments) -> Result<Value, Error> {
    let [attribute, default, case_sensitive] =
        arguments.take("groupby", 1, ["attribute", "default", "case_sensitive"])?;
    let case_sensitive = flag(case_sensitive.as_ref(), false);
    let key = |item: &Value, case| keyed(run, item, attribute.as_ref(), default.as_ref(), case);
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for item in sorted(run, iterate(run, value)?, |item| key(item, case_sensitive))? {
        let of_item = key(&item, case_sensitive)?;
        match groups.last_mut() {
            Some((of_group, items)) if equal(run, of_group, &of_item)? => items.push(item),
            _ => groups.push((of_item, vec![item])),
        }
    }
    let mut named = Vec::new();
    for (_, items) in groups {
        // In the case of its first item.
        named.push(group(key(&items[0], true)?, items));
    }
    Ok(Value::list(named))
}

fn extreme(run: &Run, value: &Value, arguments: Arguments, which: &str) -> Result<Value, Error> {
    let [case_sensitive, attribute] = arguments.take(which, 0, ["case_sensitive", "attribute"])?;
    let case_sensitive = flag(case_sensitive.as_ref(), false);
    let key = |item: &Value| keyed(run, item, attribute.as_ref(), None, case_sensitive);
    let mut items = iterate(run, value)?.into_iter();
    let Some(mut best) = items.next() else {
        return Ok(Value::undefined("No aggregated item, sequence was empty."));
    };
    let mut best_key = key(&best)?;
    for item in items {
        let item_key = key(&item)?;
        let is_better =
            if which == "min" { less(run, &item_key, &best_key)? } else { less(run, &best_key, &item_key)? };
        if is_better {
            (best, best_key) = (item, item_key);
        }
    }
    Ok(best)
}
