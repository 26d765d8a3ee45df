//! Messages of several lines: a backslash at the end of a line continues it, and between `"""` all is as it is.

const QUOTES: &str = "\"\"\"";

/// Whether nothing more is to come.
pub(super) fn is_complete(text: &str) -> bool {
    match text.strip_prefix(QUOTES) {
        Some(quoted) => quoted.trim_end().ends_with(QUOTES),
        None => !text.ends_with('\\'),
    }
}

/// What stands between quotes, if the text does.
pub(super) fn quoted(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(QUOTES)?;
    let quoted = rest.trim_end().strip_suffix(QUOTES).unwrap_or(rest);
    let quoted = quoted.strip_prefix('\n').unwrap_or(quoted);
    Some(quoted.strip_suffix('\n').unwrap_or(quoted))
}

/// The message that was typed so.
pub(super) fn message(text: &str) -> String {
    quoted(text).map_or_else(|| text.replace("\\\n", "\n"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_continues_a_line() {
        assert!(is_complete("one") && is_complete("") && is_complete("one\ntwo"));
        assert!(!is_complete("one\\") && !is_complete("one\\\ntwo\\"));
        assert_eq!(message("one\\\ntwo\\\n\\\nthree"), "one\ntwo\n\nthree");
    }

    #[test]
    fn quotes_hold_several_lines_as_they_are() {
        assert!(!is_complete("\"\"\"") && !is_complete("\"\"\"one\n\ntwo\\"));
        assert!(is_complete("\"\"\"one\"\"\"") && is_complete("\"\"\"\none\n\"\"\" "));
        assert_eq!(message("\"\"\"\n/one \\\ntwo\n\"\"\""), "/one \\\ntwo");
        assert_eq!(message("\"\"\"\"\"\""), "");
        assert_eq!(message("\"\"\"never closed"), "never closed");
        assert_eq!(message("say \"\"\"this\"\"\""), "say \"\"\"this\"\"\"");
    }
}
