//! Times and durations as people and JSON write them. Reads no clock.

/// No duration or time beyond this is taken: a hundred years.
const MOST_MS: u64 = 100 * 365 * 86_400_000;

const DAY_MS: u64 = 86_400_000;

/// Unix milliseconds as RFC 3339 in UTC, with milliseconds: `2026-01-31T08:15:00.000Z`.
pub fn rfc3339(unix_ms: u64) -> String {
    let (year, month, day) = civil(unix_ms / DAY_MS);
    let within = unix_ms % DAY_MS;
    let (seconds, millis) = (within / 1000, within % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Reads RFC 3339 (`2026-01-31T08:15:00Z`, an offset and fractions are fine) or integer Unix seconds. The error says what
/// would be right.
pub fn parse_time_ms(raw: &str) -> Result<u64, String> {
    const REMEDY: &str = "must be RFC 3339, such as 2026-01-31T08:15:00Z, or Unix seconds";
    if !raw.is_empty() && raw.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds: u64 = raw.parse().map_err(|_| REMEDY)?;
        return seconds.checked_mul(1000).filter(|ms| *ms <= MOST_MS * 2).ok_or_else(|| REMEDY.to_owned());
    }
    rfc3339_parts(raw).ok_or_else(|| REMEDY.to_owned())
}

fn rfc3339_parts(raw: &str) -> Option<u64> {
    let (date, time) = raw.split_at_checked(10)?;
    let time = time.strip_prefix(['T', 't', ' '])?;
    let mut date = date.split('-');
    let (year, month, day) = (number(date.next()?, 4)?, number(date.next()?, 2)?, number(date.next()?, 2)?);
    let (clock, rest) = time.split_at_checked(8)?;
    let mut clock = clock.split(':');
    let (hour, minute, second) = (number(clock.next()?, 2)?, number(clock.next()?, 2)?, number(clock.next()?, 2)?);
    let in_range = (1970..=2200).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || date.next().is_some() || clock.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let (millis, zone) = match rest.strip_prefix('.') {
        Some(fraction) => {
            let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, zone) = fraction.split_at_checked(digits)?;
            let shown: String = fraction.chars().chain("000".chars()).take(3).collect();
            if fraction.is_empty() {
                return None;
            }
            (shown.parse::<u64>().ok()?, zone)
        }
        None => (0, rest),
    };
    let local_ms = days * DAY_MS + (hour * 3600 + minute * 60 + second) * 1000 + millis;
    local_ms.checked_add_signed(-offset_ms(zone)?)
}

fn offset_ms(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    // A plus sign in a query arrives as a blank.
    let sign = match zone.chars().next()? {
        '+' | ' ' => 1,
        '-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some(sign * i64::try_from((hours * 60 + minutes) * 60_000).ok()?)
}

fn number(raw: &str, digits: usize) -> Option<u64> {
    if raw.len() == digits && raw.bytes().all(|byte| byte.is_ascii_digit()) { raw.parse().ok() } else { None }
}

/// Year, month and day of a day since 1970 (the proleptic Gregorian calendar; the era arithmetic is Howard Hinnant's).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Reads `"90s"`, `"1h30m"`, `"250ms"`, `"2d"` or integer seconds, in milliseconds. The error says what would be right.
pub fn parse_duration_ms(raw: &str) -> Result<u64, String> {
    const REMEDY: &str =
        "must be a duration such as \"30s\", \"5m\", \"1h30m\", \"7d\" or integer seconds, up to 100 years";
    duration_ms(raw.trim()).filter(|ms| *ms <= MOST_MS).ok_or_else(|| REMEDY.to_owned())
}

/// A duration as people write it, in the largest unit that has no rest: `90m`, `1h`, `1500ms`.
pub(crate) fn duration_text(ms: u64) -> String {
    let units = [(DAY_MS, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    let whole = units.into_iter().find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{ms}ms"), |(unit, name)| format!("{}{name}", ms / unit))
}

fn duration_ms(raw: &str) -> Option<u64> {
    if raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return raw.parse::<u64>().ok()?.checked_mul(1000);
    }
    let mut rest = raw;
    let mut sum: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, after) = rest.split_at_checked(digits)?;
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at_checked(letters)?;
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => DAY_MS,
            "w" => 7 * DAY_MS,
            _ => return None,
        };
        sum = sum.checked_add(count.parse::<u64>().ok()?.checked_mul(unit_ms)?)?;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_are_written_and_read() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_709_210_096_789), "2024-02-29T12:34:56.789Z");
        assert_eq!(parse_time_ms("2024-02-29T13:34:56.789+01:00"), Ok(1_709_210_096_789));
        assert_eq!(parse_time_ms("1709210096"), Ok(1_709_210_096_000));
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        for raw in
            ["2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-01", "", "yesterday"]
        {
            assert!(parse_time_ms(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn durations_are_read_in_every_unit() {
        assert_eq!(parse_duration_ms("90"), Ok(90_000));
        assert_eq!(parse_duration_ms("1h30m"), Ok(5_400_000));
        assert_eq!(parse_duration_ms("250ms"), Ok(250));
        for raw in ["", "h", "5x", "-5s", "1.5h", "99999999999999999999s", "300y"] {
            assert!(parse_duration_ms(raw).is_err(), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(ms in 0..7_000_000_000_000_u64) {
            prop_assert_eq!(parse_time_ms(&rfc3339(ms)), Ok(ms));
        }

        #[test]
        fn no_text_panics(raw in "\\PC{0,40}") {
            let _either = (parse_time_ms(&raw), parse_duration_ms(&raw));
        }
    }
}
