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

#[cfg(test)]
mod tests {
    use super::*;

    const EVERYTHING: &str = "%Y-%m-%d %B %b %A %a %H:%M:%S %I%p %y %j %U %W %V %G %u %w \
        %e|%-d %-m %-j %_d %^a %#p %5d|%k|%l|%C %D %F %T %R %c %x %X %r %h %n%t%% %Q %s";

    /// As Python's `datetime.strftime` writes them on Linux.
    #[rustfmt::skip]
    const TIMES: [(u64, &str); 14] = [
        (0, "1970-01-01 January Jan Thursday Thu 00:00:00 12AM 70 001 00 00 01 1970 4 4  1|1 1 1  1 THU am 00001| 0|12|19 01/01/70 1970-01-01 00:00:00 00:00 Thu Jan  1 00:00:00 1970 01/01/70 00:00:00 12:00:00 AM Jan \n\t% %Q 0"),
        (45296, "1970-01-01 January Jan Thursday Thu 12:34:56 12PM 70 001 00 00 01 1970 4 4  1|1 1 1  1 THU pm 00001|12|12|19 01/01/70 1970-01-01 12:34:56 12:34 Thu Jan  1 12:34:56 1970 01/01/70 12:34:56 12:34:56 PM Jan \n\t% %Q 45296"),
        (951782399, "2000-02-28 February Feb Monday Mon 23:59:59 11PM 00 059 09 09 09 2000 1 1 28|28 2 59 28 MON pm 00028|23|11|20 02/28/00 2000-02-28 23:59:59 23:59 Mon Feb 28 23:59:59 2000 02/28/00 23:59:59 11:59:59 PM Feb \n\t% %Q 951782399"),
        (951825599, "2000-02-29 February Feb Tuesday Tue 11:59:59 11AM 00 060 09 09 09 2000 2 2 29|29 2 60 29 TUE am 00029|11|11|20 02/29/00 2000-02-29 11:59:59 11:59 Tue Feb 29 11:59:59 2000 02/29/00 11:59:59 11:59:59 AM Feb \n\t% %Q 951825599"),
        (1709210096, "2024-02-29 February Feb Thursday Thu 12:34:56 12PM 24 060 08 09 09 2024 4 4 29|29 2 60 29 THU pm 00029|12|12|20 02/29/24 2024-02-29 12:34:56 12:34 Thu Feb 29 12:34:56 2024 02/29/24 12:34:56 12:34:56 PM Feb \n\t% %Q 1709210096"),
        (4107542400, "2100-03-01 March Mar Monday Mon 00:00:00 12AM 00 060 09 09 09 2100 1 1  1|1 3 60  1 MON am 00001| 0|12|21 03/01/00 2100-03-01 00:00:00 00:00 Mon Mar  1 00:00:00 2100 03/01/00 00:00:00 12:00:00 AM Mar \n\t% %Q 4107542400"),
        (1767225599, "2025-12-31 December Dec Wednesday Wed 23:59:59 11PM 25 365 52 52 01 2026 3 3 31|31 12 365 31 WED pm 00031|23|11|20 12/31/25 2025-12-31 23:59:59 23:59 Wed Dec 31 23:59:59 2025 12/31/25 23:59:59 11:59:59 PM Dec \n\t% %Q 1767225599"),
        (13574563199, "2400-02-28 February Feb Monday Mon 23:59:59 11PM 00 059 09 09 09 2400 1 1 28|28 2 59 28 MON pm 00028|23|11|24 02/28/00 2400-02-28 23:59:59 23:59 Mon Feb 28 23:59:59 2400 02/28/00 23:59:59 11:59:59 PM Feb \n\t% %Q 13574563199"),
        (1104537600, "2005-01-01 January Jan Saturday Sat 00:00:00 12AM 05 001 00 00 53 2004 6 6  1|1 1 1  1 SAT am 00001| 0|12|20 01/01/05 2005-01-01 00:00:00 00:00 Sat Jan  1 00:00:00 2005 01/01/05 00:00:00 12:00:00 AM Jan \n\t% %Q 1104537600"),
        (1230768000, "2009-01-01 January Jan Thursday Thu 00:00:00 12AM 09 001 00 00 01 2009 4 4  1|1 1 1  1 THU am 00001| 0|12|20 01/01/09 2009-01-01 00:00:00 00:00 Thu Jan  1 00:00:00 2009 01/01/09 00:00:00 12:00:00 AM Jan \n\t% %Q 1230768000"),
        (1262304000, "2010-01-01 January Jan Friday Fri 00:00:00 12AM 10 001 00 00 53 2009 5 5  1|1 1 1  1 FRI am 00001| 0|12|20 01/01/10 2010-01-01 00:00:00 00:00 Fri Jan  1 00:00:00 2010 01/01/10 00:00:00 12:00:00 AM Jan \n\t% %Q 1262304000"),
        (1483228800, "2017-01-01 January Jan Sunday Sun 00:00:00 12AM 17 001 01 00 52 2016 7 0  1|1 1 1  1 SUN am 00001| 0|12|20 01/01/17 2017-01-01 00:00:00 00:00 Sun Jan  1 00:00:00 2017 01/01/17 00:00:00 12:00:00 AM Jan \n\t% %Q 1483228800"),
        (1609459199, "2020-12-31 December Dec Thursday Thu 23:59:59 11PM 20 366 52 52 53 2020 4 4 31|31 12 366 31 THU pm 00031|23|11|20 12/31/20 2020-12-31 23:59:59 23:59 Thu Dec 31 23:59:59 2020 12/31/20 23:59:59 11:59:59 PM Dec \n\t% %Q 1609459199"),
        (1735603200, "2024-12-31 December Dec Tuesday Tue 00:00:00 12AM 24 366 52 53 01 2025 2 2 31|31 12 366 31 TUE am 00031| 0|12|20 12/31/24 2024-12-31 00:00:00 00:00 Tue Dec 31 00:00:00 2024 12/31/24 00:00:00 12:00:00 AM Dec \n\t% %Q 1735603200"),
    ];

    #[test]
    fn times_are_written_as_python_writes_them() {
        for (seconds, expected) in TIMES {
            assert_eq!(strftime(EVERYTHING, seconds).expect("a time"), expected);
        }
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let (mut year, mut month, mut day) = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(date(days), (year, month, day));
            (year, month, day) = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == days_of_month(year, month) => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
    }
}
