//! How values are written: times, sizes, truth.

use std::str::FromStr as _;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// `500ms`, `5s`, `10m`, `2h`, `365d`, or a whole number of seconds.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// `512KiB`, `256MiB`, `4GiB`, or a whole number of bytes.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// `true` or `false`.
pub(crate) fn truth(text: &str) -> Option<bool> {
    text.parse().ok()
}

/// The items of a list that is written on one line, with commas.
pub(crate) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// A level, or a filter of levels. To the filter's own parser a bare word is the name of a module, so that a misspelt
/// level would be accepted and silence everything.
pub(crate) fn level(text: &str) -> bool {
    let known = |part: &str| part.contains(['=', '[', '}']) || LevelFilter::from_str(part.trim()).is_ok();
    !text.is_empty() && text.split(',').all(known) && EnvFilter::try_new(text).is_ok()
}

fn split(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.find(|found: char| !found.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_carry_their_unit() {
        let times = [("5s", 5_000), ("7", 7_000), ("250ms", 250), ("2h", 7_200_000), ("365d", 31_536_000_000)];
        for (text, millis) in times {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(bytes("256MiB"), Some(256 << 20));
        for wrong in ["", "s", "5 fortnights", "-1s", "99999999999999999999"] {
            assert_eq!((duration(wrong), bytes(wrong)), (None, None), "{wrong}");
        }
    }

    #[test]
    fn a_misspelt_level_is_none() {
        for right in ["error", "INFO", "off", "info,api=debug", "warn,[allocation.allocate{pool=\"a\"}]=trace"] {
            assert!(level(right), "{right}");
        }
        for wrong in ["", "loud", "info,loud", "info,api=loud"] {
            assert!(!level(wrong), "{wrong}");
        }
    }
}
