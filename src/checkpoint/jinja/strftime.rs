//! `datetime.now().strftime`, in the C locale, as glibc writes it.

#![forbid(unsafe_code)]

use std::time::{SystemTime, UNIX_EPOCH};

use super::error::Error;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Now by a format, in UTC: the zone of the machine is not known without a time zone database.
pub(super) fn now(format: &str) -> Result<String, Error> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    strftime(format, seconds)
}

/// `format` at `seconds` since 1970. A conversion that there is none of is left as it stands.
fn strftime(format: &str, seconds: u64) -> Result<String, Error> {
    let moment = Moment::of(seconds);
    let mut text = String::new();
    let mut rest = format;
    while let Some((before, conversion)) = rest.split_once('%') {
        text.push_str(before);
        let flags = conversion.len() - conversion.trim_start_matches(['-', '_', '0', '^', '#']).len();
        let (flags, after) = conversion.split_at(flags);
        let width = after.len() - after.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
        let (width, after) = after.split_at(width);
        let width = if width.is_empty() { 0 } else { width.parse().unwrap_or(usize::MAX) };
        if width > 1000 {
            return Err(Error::operation("strftime_now: a width of more than 1000"));
        }
        let after = after.strip_prefix(['E', 'O']).unwrap_or(after);
        let mut following = after.chars();
        match following.next().and_then(|letter| moment.field(letter)) {
            Some(field) => {
                text.push_str(&field?.lay_out(flags, width));
                rest = following.as_str();
            }
            None => {
                text.push('%');
                rest = conversion;
            }
        }
    }
    Ok(text + rest)
}

/// What a conversion stands for.
enum Field {
    Text(String),
    /// With the digits that it has at least, and what fills them.
    Number(u64, usize, char),
}

impl Field {
    fn lay_out(self, flags: &str, width: usize) -> String {
        let mut fill = None;
        for flag in flags.chars() {
            match flag {
                '-' => fill = Some(None),
                '_' => fill = Some(Some(' ')),
                '0' => fill = Some(Some('0')),
                _ => {}
            }
        }
        let (text, least, usual) = match self {
            Field::Text(text) => (text, 0, ' '),
            Field::Number(number, least, usual) => (number.to_string(), least, usual),
        };
        let text = match () {
            () if flags.contains('^') => text.to_uppercase(),
            () if flags.contains('#') => match text.chars().any(char::is_lowercase) {
                true => text.to_uppercase(),
                false => text.to_lowercase(),
            },
            () => text,
        };
        let fill = match fill.unwrap_or(Some(usual)) {
            Some(fill) => fill,
            None => return text,
        };
        let missing = least.max(width).saturating_sub(text.len());
        fill.to_string().repeat(missing) + &text
    }
}

struct Moment {
    seconds: u64,
    year: u64,
    /// From 1.
    month: u64,
    /// From 1.
    day: u64,
    /// From 1.
    day_of_year: u64,
    /// From 0, a Sunday.
    weekday: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl Moment {
    fn of(seconds: u64) -> Self {
        let (days, of_day) = (seconds / 86_400, seconds % 86_400);
        let (year, month, day) = date(days);
        let before_month = (1..month).map(|month| days_of_month(year, month)).sum::<u64>();
        Self {
            seconds,
            year,
            month,
            day,
            day_of_year: before_month + day,
            weekday: (days + 4) % 7,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    fn field(&self, letter: char) -> Option<Result<Field, Error>> {
        let hour12 = (self.hour + 11) % 12 + 1;
        let monday_first = (self.weekday + 6) % 7;
        let names = |names: &[&'static str], index: u64| names[index as usize % names.len()];
        let text = |text: &str| Field::Text(text.to_owned());
        let together = |format: &str| strftime(format, self.seconds).map(Field::Text);
        let (week_year, week) = self.iso_week();
        let number = Field::Number;
        Some(Ok(match letter {
            'Y' => number(self.year, 0, '0'),
            'C' => number(self.year / 100, 2, '0'),
            'y' => number(self.year % 100, 2, '0'),
            'G' => number(week_year, 0, '0'),
            'g' => number(week_year % 100, 2, '0'),
            'm' => number(self.month, 2, '0'),
            'd' => number(self.day, 2, '0'),
            'e' => number(self.day, 2, ' '),
            'j' => number(self.day_of_year, 3, '0'),
            'H' => number(self.hour, 2, '0'),
            'k' => number(self.hour, 2, ' '),
            'I' => number(hour12, 2, '0'),
            'l' => number(hour12, 2, ' '),
            'M' => number(self.minute, 2, '0'),
            'S' => number(self.second, 2, '0'),
            's' => number(self.seconds, 0, '0'),
            'f' => number(0, 6, '0'),
            'w' => number(self.weekday, 0, '0'),
            'u' => number(monday_first + 1, 0, '0'),
            'U' => number((self.day_of_year + 6 - self.weekday) / 7, 2, '0'),
            'W' => number((self.day_of_year + 6 - monday_first) / 7, 2, '0'),
            'V' => number(week, 2, '0'),
            'B' => text(names(&MONTHS, self.month - 1)),
            'b' | 'h' => text(&names(&MONTHS, self.month - 1)[..3]),
            'A' => text(names(&WEEKDAYS, self.weekday)),
            'a' => text(&names(&WEEKDAYS, self.weekday)[..3]),
            'p' => text(if self.hour < 12 { "AM" } else { "PM" }),
            'P' => text(if self.hour < 12 { "am" } else { "pm" }),
            // The moment names no zone.
            'z' | 'Z' => text(""),
            '%' => text("%"),
            'n' => text("\n"),
            't' => text("\t"),
            'c' => return Some(together("%a %b %e %H:%M:%S %Y")),
            'D' | 'x' => return Some(together("%m/%d/%y")),
            'F' => return Some(together("%Y-%m-%d")),
            'R' => return Some(together("%H:%M")),
            'r' => return Some(together("%I:%M:%S %p")),
            'T' | 'X' => return Some(together("%H:%M:%S")),
            _ => return None,
        }))
    }

    /// The year and week by ISO 8601: weeks begin on Mondays, and belong to the year that their Thursday lies in.
    fn iso_week(&self) -> (u64, u64) {
        let monday_first = (self.weekday + 6) % 7;
        // Of the Thursday, plus a week so that it is not negative.
        let thursday = self.day_of_year + 3 + 7 - monday_first;
        let length = year_length(self.year);
        if thursday <= 7 {
            let before = year_length(self.year - 1);
            return (self.year - 1, (thursday + before - 7 - 1) / 7 + 1);
        }
        match thursday - 7 > length {
            true => (self.year + 1, 1),
            false => (self.year, (thursday - 7 - 1) / 7 + 1),
        }
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn year_length(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The Gregorian year, month from 1 and day from 1 of a day since 1970. Years are counted from March, so that the leap
/// day is a year's last, and from a year divisible by 400.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    let days = days_since_1970 + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}
