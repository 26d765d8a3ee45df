//! A value of the metadata: its type, and where its bytes are in the file.

use std::ops::Range;

use crate::checkpoint::error::Excerpt;

/// The types that values have, in the order of their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    pub(super) fn of(id: u32) -> Option<Self> {
        const ALL: [Kind; 13] = [
            Kind::U8,
            Kind::I8,
            Kind::U16,
            Kind::I16,
            Kind::U32,
            Kind::I32,
            Kind::F32,
            Kind::Bool,
            Kind::String,
            Kind::Array,
            Kind::U64,
            Kind::I64,
            Kind::F64,
        ];
        ALL.get(usize::try_from(id).ok()?).copied()
    }

    /// Bytes of a value; `None` where that depends on the value.
    pub(super) const fn size(self) -> Option<usize> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String | Self::Array => None,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "u64",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

/// A value that lies in its file.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Any but an array; of a string, the place of its bytes.
    Single { kind: Kind, at: Range<usize> },
    /// Values of one type, which is no array.
    Array { kind: Kind, count: usize, at: Range<usize> },
}

impl Value {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Single { kind, .. } => *kind,
            Self::Array { .. } => Kind::Array,
        }
    }

    pub(super) fn integer(&self, file: &[u8]) -> Option<i128> {
        let Self::Single { kind, at } = self else { return None };
        let bytes = &file[at.clone()];
        Some(match kind {
            Kind::U8 => u8::from_le_bytes(bytes.try_into().ok()?).into(),
            Kind::I8 => i8::from_le_bytes(bytes.try_into().ok()?).into(),
            Kind::U16 => u16::from_le_bytes(bytes.try_into().ok()?).into(),
            Kind::I16 => i16::from_le_bytes(bytes.try_into().ok()?).into(),
            Kind::U32 => u32::from_le_bytes(bytes.try_into().ok()?).into(),
            Kind::I32 => i32::from_le_bytes(bytes.try_into().ok()?).into(),
            Kind::U64 => u64::from_le_bytes(bytes.try_into().ok()?).into(),
            Kind::I64 => i64::from_le_bytes(bytes.try_into().ok()?).into(),
            Kind::F32 | Kind::F64 | Kind::Bool | Kind::String | Kind::Array => return None,
        })
    }

    /// A number in floating point. One in single precision is what its shortest decimals say, which is what was meant
    /// where a configuration's `1e-6` was stored as the nearest single.
    pub(super) fn float(&self, file: &[u8]) -> Option<f64> {
        let Self::Single { kind, at } = self else { return None };
        let bytes = &file[at.clone()];
        match kind {
            Kind::F32 => f32::from_le_bytes(bytes.try_into().ok()?).to_string().parse().ok(),
            Kind::F64 => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
            _ => None,
        }
    }

    pub(super) fn flag(&self, file: &[u8]) -> Option<bool> {
        match self {
            Self::Single { kind: Kind::Bool, at } => Some(file[at.start] == 1),
            _ => None,
        }
    }

    pub(super) fn text<'a>(&self, file: &'a [u8]) -> Option<&'a str> {
        match self {
            Self::Single { kind: Kind::String, at } => std::str::from_utf8(&file[at.clone()]).ok(),
            _ => None,
        }
    }

    /// The values of an array; `None` if this is none.
    pub(super) fn items<'a>(&self, file: &'a [u8]) -> Option<impl Iterator<Item = Self> + use<'a>> {
        let &Self::Array { kind, count, ref at } = self else { return None };
        let mut next = at.start;
        Some((0..count).map(move |_| {
            let size = kind.size().unwrap_or_else(|| {
                let (start, length) = (next, size_of::<u64>());
                next += length;
                // That it fits was checked when the file was read.
                let length = file[start..next].try_into().map_or(0, u64::from_le_bytes);
                usize::try_from(length).unwrap_or(0)
            });
            let at = next..next + size;
            next = at.end;
            Self::Single { kind, at }
        }))
    }

    /// The value in a message's words: short, whatever it holds.
    pub(super) fn describe(&self, file: &[u8]) -> String {
        match self {
            Self::Single { kind, .. } => format!("{} {}", kind.name(), self.short(file)),
            Self::Array { kind, count, .. } => {
                const SHOWN: usize = 4;
                let items: Vec<String> =
                    self.items(file).into_iter().flatten().take(SHOWN).map(|item| item.short(file)).collect();
                let more = if *count > SHOWN { ", …" } else { "" };
                format!("{} {}[{}{more}]", count, kind.name(), items.join(", "))
            }
        }
    }

    fn short(&self, file: &[u8]) -> String {
        match self {
            Self::Single { kind: Kind::String, at } => {
                Excerpt(&String::from_utf8_lossy(&file[at.start..at.end.min(at.start + 1000)])).to_string()
            }
            Self::Single { kind: Kind::F32 | Kind::F64, .. } => {
                self.float(file).map_or_else(String::new, |number| number.to_string())
            }
            Self::Single { kind: Kind::Bool, .. } => self.flag(file).unwrap_or_default().to_string(),
            _ => self.integer(file).map_or_else(String::new, |number| number.to_string()),
        }
    }
}
