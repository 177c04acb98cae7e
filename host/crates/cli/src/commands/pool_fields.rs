//! A pool's document out of options, a file, or the pool as it is; and changes set over it.

use std::path::Path;

use crate::arguments::FieldArgs;
use crate::document::{Document, Fields};
use crate::exit::Failure;
use crate::pool_file;
use crate::yaml::read_value;

/// A pool's fields, in order, while they are being put together.
#[derive(Debug, Default)]
pub(super) struct Draft {
    fields: Vec<(String, Document)>,
}

impl Draft {
    /// The one pool of a file. `id`, if given, must be the file's.
    pub(super) fn from_file(path: &Path, id: Option<&str>) -> Result<Self, Failure> {
        let mut pools = pool_file::read_file(path)?;
        match (pools.pop(), pools.len()) {
            (Some(pool), 0) => match id {
                Some(id) if id != pool.id => {
                    Err(Failure::Usage(format!("{} describes pool {}, not {id}", path.display(), pool.id)))
                }
                _ => Ok(Self::of(pool.document)),
            },
            (_, others) => Err(Failure::Usage(format!(
                "{} describes {} pools, one is wanted; `nexus pool apply` takes several",
                path.display(),
                others + 1
            ))),
        }
    }

    /// A document that has no fields makes a draft without any.
    pub(super) fn of(document: Document) -> Self {
        if let Document::Fields(fields) = document { Self { fields } } else { Self::default() }
    }

    pub(super) fn put(&mut self, name: &str, value: Document) {
        put(&mut self.fields, name, value);
    }

    /// Sets what was said over what is there.
    pub(super) fn set(&mut self, args: &FieldArgs) -> Result<(), Failure> {
        let FieldArgs { type_id, cidr, range, set, realm, shared, realm_by, strategy, .. } = args;
        let FieldArgs { hold_down, ack, .. } = args;
        let texts =
            [("type", type_id), ("realm", realm), ("strategy", strategy), ("hold_down", hold_down), ("ack", ack)];
        for (name, text) in texts {
            if let Some(text) = text {
                self.put(name, Document::text(text.as_str()));
            }
        }
        let short = [("cidr", cidr), ("range", range)];
        let short =
            short.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Document::text(text.as_deref()?))));
        let mut spec: Vec<_> = short.collect();
        for (name, value) in set {
            let value = read_value(value).map_err(|why| Failure::Usage(format!("--set {name}: {value:?} {why}")))?;
            spec.push((name.clone(), value));
        }
        if !spec.is_empty() {
            self.set_spec(spec);
        }
        if *shared {
            self.put("shared", Document::Truth(true));
        }
        if !realm_by.is_empty() {
            self.put("realm_by", Document::List(realm_by.iter().map(Document::text).collect()));
        }
        if let Some(strict) = args.strict {
            self.put("strict", Document::Truth(strict));
        }
        if let Some(count) = args.sharding_factor {
            self.put("sharding_factor", Document::number(count));
        }
        if let Some(lease) = lease(args) {
            self.put("lease", lease);
        }
        if let Some(metadata) = &args.metadata {
            let value =
                read_value(metadata).map_err(|why| Failure::Usage(format!("--metadata: {metadata:?} {why}")))?;
            self.put("metadata", value);
        }
        Ok(())
    }

    /// A pool in the older form has its type's fields beside the others.
    fn set_spec(&mut self, values: Vec<(String, Document)>) {
        let older_form = self.fields.iter().any(|(name, _)| name == "cidr" || name == "range");
        let spec = self.fields.iter_mut().find(|(name, _)| name == "spec").map(|(_, spec)| spec);
        match spec {
            Some(Document::Fields(spec)) => values.into_iter().for_each(|(name, value)| put(spec, &name, value)),
            Some(spec) => *spec = Document::Fields(values),
            None if older_form => values.into_iter().for_each(|(name, value)| self.put(&name, value)),
            None => self.put("spec", Document::Fields(values)),
        }
    }

    /// Takes a field away; `spec.FIELD` is one of the spec's.
    pub(super) fn unset(&mut self, name: &str) -> Result<(), Failure> {
        let fields = match name.strip_prefix("spec.") {
            None => Some((&mut self.fields, name)),
            Some(below) => self.fields.iter_mut().find_map(|(field, value)| {
                let Document::Fields(spec) = value else { return None };
                (field == "spec").then_some((spec, below))
            }),
        };
        if let Some((fields, name)) = fields
            && let Some(at) = fields.iter().position(|(field, _)| field == name)
        {
            fields.remove(at);
            return Ok(());
        }
        let known: Vec<_> = self.fields.iter().map(|(field, _)| field.as_str()).collect();
        Err(Failure::Usage(format!("--unset {name}: the pool has no such field, it has {}", known.join(", "))))
    }

    /// The pool as the daemon takes it.
    pub(super) fn json(self) -> String {
        Document::Fields(self.fields).to_json()
    }
}

fn put(fields: &mut Vec<(String, Document)>, name: &str, value: Document) {
    match fields.iter_mut().find(|(field, _)| field == name) {
        Some((_, old)) => *old = value,
        None => fields.push((name.to_owned(), value)),
    }
}

fn lease(args: &FieldArgs) -> Option<Document> {
    let default = args.lease.as_deref()?;
    if args.lease_min.is_none() && args.lease_max.is_none() {
        return Some(Document::text(default));
    }
    let bound = |text: &Option<String>| text.as_deref().map(Document::text);
    let fields = Fields::default().text("default", default);
    Some(fields.some("min", bound(&args.lease_min)).some("max", bound(&args.lease_max)).done())
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn args(line: &str) -> FieldArgs {
        let command = FieldArgs::augment_args(clap::Command::new("pool").no_binary_name(true));
        FieldArgs::from_arg_matches(&command.get_matches_from(line.split(' '))).unwrap()
    }

    fn check(before: &str, line: &str, after: &str) {
        let mut draft = Draft::of(Document::from_json_text(before));
        draft.set(&args(line)).unwrap();
        assert_eq!(draft.json(), after, "{line}");
    }

    #[test]
    fn options_are_set_over_what_is_there() {
        check(
            "{}",
            "--type ipv4 --cidr 10.0.0.0/24 --set prefix=32 --set dns=[192.0.2.1]",
            r#"{"type":"ipv4","spec":{"cidr":"10.0.0.0/24","prefix":32,"dns":["192.0.2.1"]}}"#,
        );
        check(r#"{"spec":{"range":"1-9"}}"#, "--range 1-99", r#"{"spec":{"range":"1-99"}}"#);
        check(r#"{"cidr":"10.0.0.0/24"}"#, "--cidr 10.0.0.0/23", r#"{"cidr":"10.0.0.0/23"}"#);
        check("{}", "--lease 1h", r#"{"lease":"1h"}"#);
        check("{}", "--lease 1h --lease-max 2h", r#"{"lease":{"default":"1h","max":"2h"}}"#);
        check("{}", "--strict --realm-by a,b", r#"{"realm_by":["a","b"],"strict":true}"#);
        check("{}", r#"--metadata {"site":"east"} --strict=false"#, r#"{"strict":false,"metadata":{"site":"east"}}"#);
    }

    #[test]
    fn a_field_is_taken_away_by_its_name() {
        let mut draft = Draft::of(Document::from_json_text(r#"{"id":"a","spec":{"cidr":"10.0.0.0/8","prefix":32}}"#));
        draft.unset("spec.prefix").unwrap();
        assert_eq!(draft.unset("lease").unwrap_err().exit().code(), 2);
        assert_eq!(draft.json(), r#"{"id":"a","spec":{"cidr":"10.0.0.0/8"}}"#);
    }
}
