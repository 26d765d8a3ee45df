//! Which characters Python counts as spaces, digits and printable, where that is not what Rust's standard library says.

#![forbid(unsafe_code)]

/// `str.isspace`: also the four separators of ASCII.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}

/// The zeros of Unicode's decimal digits; nine more follow each.
const ZEROS: [u32; 66] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620,
    0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0,
    0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60,
    0x16ac0, 0x16b50, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// First and last of the other characters with `Numeric_Type=Digit`: superscripts, digits in circles and so on.
const DIGITS: [(u32, u32); 20] = [
    (0xb2, 0xb3),
    (0xb9, 0xb9),
    (0x1369, 0x1371),
    (0x19da, 0x19da),
    (0x2070, 0x2070),
    (0x2074, 0x2079),
    (0x2080, 0x2089),
    (0x2460, 0x2468),
    (0x2474, 0x247c),
    (0x2488, 0x2490),
    (0x24ea, 0x24ea),
    (0x24f5, 0x24fd),
    (0x24ff, 0x24ff),
    (0x2776, 0x277e),
    (0x2780, 0x2788),
    (0x278a, 0x2792),
    (0x10a40, 0x10a43),
    (0x10e60, 0x10e68),
    (0x11052, 0x1105a),
    (0x1f100, 0x1f10a),
];

/// The value of a decimal digit in any script.
pub(super) fn decimal(character: char) -> Option<u32> {
    let code = u32::from(character);
    let zero = ZEROS[..ZEROS.partition_point(|zero| *zero <= code)].last()?;
    Some(code - zero).filter(|digit| *digit < 10)
}

/// `str.isdigit`.
pub(super) fn is_digit(character: char) -> bool {
    let code = u32::from(character);
    decimal(character).is_some() || DIGITS.iter().any(|&(first, last)| (first..=last).contains(&code))
}

/// `str.isprintable`. The standard library escapes by the same table of categories, but also what combines with the
/// character before it, unless there is one.
pub(super) fn is_printable(character: char) -> bool {
    match character {
        ' '..='~' => true,
        _ => {
            let text: String = ['a', character].into_iter().collect();
            text.escape_debug().nth(1) == Some(character)
        }
    }
}

/// The first letter of a word: `ǆ` has a form of its own there, `ß` becomes `Ss`.
pub(super) fn titlecase(character: char) -> String {
    match character {
        'Ǆ' | 'ǅ' | 'ǆ' => "ǅ".into(),
        'Ǉ' | 'ǈ' | 'ǉ' => "ǈ".into(),
        'Ǌ' | 'ǋ' | 'ǌ' => "ǋ".into(),
        'Ǳ' | 'ǲ' | 'ǳ' => "ǲ".into(),
        _ => {
            let mut upper = character.to_uppercase();
            let mut text: String = upper.next().into_iter().collect();
            text.extend(upper.flat_map(char::to_lowercase));
            text
        }
    }
}

/// Whether it has a case at all.
pub(super) fn is_cased(character: char) -> bool {
    character.is_lowercase() || character.is_uppercase() || matches!(character, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ')
}
