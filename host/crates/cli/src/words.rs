//! Times, durations, counts and named texts, as the command line takes them and as answers show them.

use std::collections::BTreeMap;

use api::app::{parse_duration_ms, parse_time_ms, rfc3339};
use nexus_proto::v1::Grains;
use prost_types::{Duration, Timestamp};

/// The lease of who wants none.
pub(crate) const NO_LEASE: Duration = Duration { seconds: -1, nanos: 0 };

/// `KEY=VALUE` on the command line.
pub(crate) fn parse_pair(raw: &str) -> Result<(String, String), String> {
    match raw.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

/// Pairs as the messages carry them; of a name given twice, the last counts.
pub(crate) fn map_of(pairs: &[(String, String)]) -> BTreeMap<String, String> {
    pairs.iter().cloned().collect()
}

/// A duration on the command line.
pub(crate) fn parse_duration(raw: &str) -> Result<Duration, String> {
    parse_duration_ms(raw).map(duration_of_ms)
}

/// A wished lease on the command line. Negative: none at all, as in REST.
pub(crate) fn parse_ttl(raw: &str) -> Result<Duration, String> {
    match raw.strip_prefix('-') {
        Some(length) => parse_duration(length).map(|_| NO_LEASE),
        None => parse_duration(raw),
    }
}

/// A moment on the command line: RFC 3339 or Unix seconds.
pub(crate) fn parse_time(raw: &str) -> Result<Timestamp, String> {
    let ms = parse_time_ms(raw)?;
    let seconds = i64::try_from(ms / 1000).map_err(|_| "is too far in the future")?;
    Ok(Timestamp { seconds, nanos: nanos_of(ms % 1000) })
}

fn duration_of_ms(ms: u64) -> Duration {
    Duration { seconds: i64::try_from(ms / 1000).unwrap_or(i64::MAX), nanos: nanos_of(ms % 1000) }
}

fn nanos_of(ms_below_a_second: u64) -> i32 {
    i32::try_from(ms_below_a_second * 1_000_000).unwrap_or_default()
}

/// RFC 3339 in UTC, without the fraction if there is none; empty if there is no time.
pub(crate) fn time(at: Option<&Timestamp>) -> String {
    let Some(at) = at else { return String::new() };
    let ms = u64::try_from(at.seconds).unwrap_or_default().saturating_mul(1000);
    let ms = ms.saturating_add(u64::try_from(at.nanos / 1_000_000).unwrap_or_default());
    rfc3339(ms).replace(".000Z", "Z")
}

/// The same to the second, for columns.
pub(crate) fn second(at: Option<&Timestamp>) -> String {
    time(at.map(|at| Timestamp { seconds: at.seconds, nanos: 0 }).as_ref())
}

/// `1h30m`, `250ms`; reads back as the same. Empty if there is none.
pub(crate) fn duration(length: Option<&Duration>) -> String {
    let Some(length) = length else { return String::new() };
    let Ok(seconds) = u64::try_from(length.seconds) else { return "none".to_owned() };
    let millis = u64::try_from(length.nanos / 1_000_000).unwrap_or_default();
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (millis, "ms"),
    ];
    let told: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if told.is_empty() { "0s".to_owned() } else { told.concat() }
}

/// A number of grains as decimal text, however large.
pub(crate) fn grains(grains: Option<&Grains>) -> String {
    match grains {
        None => "0".to_owned(),
        Some(grains) if grains.exact.is_empty() => grains.count.to_string(),
        Some(grains) => grains.exact.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_have_a_name() {
        assert_eq!(parse_pair("olt_id=olt-1"), Ok(("olt_id".to_owned(), "olt-1".to_owned())));
        assert_eq!(parse_pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        for wrong in ["", "a", "=b"] {
            assert!(parse_pair(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_shown_in_utc() {
        let at = parse_time("2026-01-31T09:15:00+01:00").unwrap();
        assert_eq!(time(Some(&at)), "2026-01-31T08:15:00Z");
        assert_eq!(time(None), "");
        let before = Timestamp { seconds: -1, nanos: -1 };
        assert_eq!(time(Some(&before)), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn grains_beyond_64_bits_keep_every_digit() {
        let many = Grains { count: u64::MAX, exact: "340282366920938463463374607431768211456".to_owned() };
        assert_eq!(grains(Some(&many)), many.exact);
        assert_eq!(grains(Some(&Grains { count: 7, exact: String::new() })), "7");
    }

    proptest! {
        #[test]
        fn durations_read_back_as_the_same(ms in 0..3_000_000_000_000_u64) {
            let length = duration_of_ms(ms);
            prop_assert_eq!(parse_duration(&duration(Some(&length))), Ok(length));
        }
    }
}
