//! What stands in a request's path, query and headers. Unknown parameters are ignored; empty ones are absent.

use std::borrow::Cow;
use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Path};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use kernel::InvalidId;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use super::Rest;
use super::problem::Refusal;
use crate::app::{AppError, Caller, parse_duration_ms, parse_time_ms, read_id};
use crate::auth::TENANT_HEADER;

/// Who calls; a request that does not say so well enough goes no further.
#[derive(Debug)]
pub(super) struct By(pub(super) Caller);

impl FromRequestParts<Rest> for By {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Result<Self, Refusal> {
        let header = |name: &str| {
            let value = parts.headers.get(name).map(axum::http::HeaderValue::to_str);
            value.transpose().map_err(|_| AppError::invalid(name, "", "must be plain ASCII"))
        };
        Ok(Self(rest.authority.check(header(AUTHORIZATION.as_str())?, header(TENANT_HEADER)?)?))
    }
}

/// Segments of the path, percent-decoded.
#[derive(Debug)]
pub(super) struct Segments<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Rest> for Segments<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Result<Self, Refusal> {
        let whole = is_encoded(parts.uri.path());
        match Path::<T>::from_request_parts(parts, rest).await {
            Ok(Path(segments)) if whole => Ok(Self(segments)),
            Ok(_) | Err(_) => Err(AppError::invalid("path", parts.uri.path(), "must be percent-encoded UTF-8").into()),
        }
    }
}

/// Whether every `%` begins a byte in hexadecimal: what is decoded leaves others as they are.
fn is_encoded(path: &str) -> bool {
    path.split('%')
        .skip(1)
        .all(|after| after.as_bytes().get(..2).is_some_and(|byte| byte.iter().all(u8::is_ascii_hexdigit)))
}

/// The query's parameters.
#[derive(Debug)]
pub(super) struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    /// Reads a query string.
    pub(super) fn of(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decoded(name), decoded(value)))
                .collect(),
        )
    }

    /// A parameter's text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn id<T: FromStr<Err = InvalidId>>(&self, name: &str) -> Result<Option<T>, AppError> {
        self.text(name).map(|raw| read_id(name, raw)).transpose()
    }

    /// A whole number.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, AppError> {
        let read = |raw: &str| {
            raw.parse().map_err(|_| AppError::invalid(name, raw, "must be a whole number that is not too large"))
        };
        self.text(name).map(read).transpose()
    }

    /// True if it is there without a value, or is `true` or `1`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, AppError> {
        match self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str()) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(AppError::invalid(name, other, "must be true or false")),
        }
    }

    pub(super) fn duration_ms(&self, name: &str) -> Result<Option<u64>, AppError> {
        self.text(name)
            .map(|raw| parse_duration_ms(raw).map_err(|remedy| AppError::invalid(name, raw, remedy)))
            .transpose()
    }

    pub(super) fn time_ms(&self, name: &str) -> Result<Option<u64>, AppError> {
        self.text(name).map(|raw| parse_time_ms(raw).map_err(|remedy| AppError::invalid(name, raw, remedy))).transpose()
    }

    /// Every parameter that is none of `known`, as attributes for `realm_by`.
    pub(super) fn others(&self, known: &[&str]) -> crate::app::Pairs {
        let others = self.0.iter().filter(|(name, value)| !known.contains(&name.as_str()) && !value.is_empty());
        others.map(|(name, value)| (name.into(), value.into())).collect()
    }
}

fn decoded(raw: &str) -> String {
    let spaced: Cow<'_, str> = if raw.contains('+') { raw.replace('+', " ").into() } else { raw.into() };
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let params = Params::of("subscriber_id=user%40realm&at=2026-01-31T08:15:00%2B01:00&all&empty=&name=a+b");
        assert_eq!(params.text("subscriber_id"), Some("user@realm"));
        assert_eq!(params.text("name"), Some("a b"));
        assert_eq!(params.text("empty"), None);
        assert_eq!(params.flag("all").ok(), Some(true));
        assert!(params.time_ms("at").is_ok());
    }

    proptest! {
        #[test]
        fn no_query_panics(raw in "\\PC{0,80}") {
            let params = Params::of(&raw);
            let _any = (params.text("a"), params.flag("b"), params.number::<usize>("c"), params.duration_ms("d"));
        }
    }
}
