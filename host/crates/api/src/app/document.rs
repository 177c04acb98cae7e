//! A pool as a JSON document, in the form with `spec` and in the older one, where the plugin's fields stand beside the
//! host's. Both faces and `pool apply` read it here, so that they agree on every default and every fault.

use std::str::FromStr;

use compact_str::CompactString;
use kernel::{Durability, InvalidId, LeaseTerms, Pool, PoolId, Revision, Strategy, TypeId};
use nexus_plugin_contract::nearest;
use serde_json::{Map, Value};

use super::error::{AppError, Fault};
use super::fields::{Reader, kind, plain};
use super::input::{Pairs, PoolInput};
use super::spelling::suggestion;

/// Fields of a pool that are the host's, in either form.
const HOST_FIELDS: [&str; 15] = [
    "id",
    "type",
    "realm",
    "shared",
    "realm_by",
    "strategy",
    "lease",
    "hold_down",
    "strict",
    "ack",
    "metadata",
    "sharding_factor",
    "backup_ratio",
    "spec",
    "revision",
];

/// Fields that answers carry and that follow from others: accepted, so that an answer can be sent back.
const ANSWER_FIELDS: [&str; 11] = [
    "tenant",
    "shards",
    "capacity",
    "capacity_exact",
    "created_at",
    "updated_at",
    "mapping_id",
    "attributes",
    "applied",
    "added_grains",
    "removed_grains",
];

/// Fields that with a `spec` may only repeat what follows from it.
const DERIVED_FIELDS: [&str; 4] = ["cidr", "prefix", "gateway", "dns"];

/// Fields that answers take out of the spec, to show them where the older form has them.
const SPEC_COPIES: [&str; 2] = ["exclusions", "range"];

/// Clients of the older form send these even if they have nothing to say: an empty text or list is absent.
const OLDER_EMPTY: [&str; 5] = ["cidr", "range", "exclusions", "gateway", "dns"];

/// `sharding_factor` goes to here; of a pool made in the older form to 256.
const MOST_SHARDS: u64 = 16_384;
pub(super) const MOST_SHARDS_OLDER: u32 = 256;

/// The fields of `lease`.
const LEASE_FIELDS: [&str; 3] = ["default", "min", "max"];

/// Most attributes a realm is made of.
const MOST_REALM_BY: usize = 8;

impl PoolInput {
    /// Reads a pool's document. `id`: from the path, which the document may repeat. Every fault is reported, not only
    /// the first.
    pub fn from_document(document: &Value, id: Option<&str>) -> Result<Self, AppError> {
        let Value::Object(fields) = document else {
            return Err(AppError::invalid("body", kind(document), "must be a JSON object that describes a pool"));
        };
        Reading { fields, reader: Reader::default() }.pool(id)
    }
}

struct Reading<'a> {
    fields: &'a Map<String, Value>,
    reader: Reader,
}

impl<'a> Reading<'a> {
    /// JSON null is absent.
    fn field(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn pool(mut self, path_id: Option<&str>) -> Result<PoolInput, AppError> {
        let older_form = self.field("spec").is_none();
        let id = self.id(path_id);
        let type_id = self.type_id(older_form);
        let spec = if older_form { self.older_spec() } else { self.new_spec() };
        let hold_down_ms = self.reader.duration_ms("hold_down", self.field("hold_down"));
        let input = PoolInput {
            id: id.unwrap_or_else(placeholder),
            type_id: type_id.unwrap_or_else(placeholder),
            realm: self.reader.id("realm", self.field("realm")),
            shared: self.reader.boolean("shared", self.field("shared")).unwrap_or(false),
            spec,
            strategy: self.strategy(),
            lease: self.lease(),
            // Clients of the older form do not know that a resource may rest.
            hold_down_ms: hold_down_ms.or(if older_form { Some(0) } else { None }),
            strict: self.reader.boolean("strict", self.field("strict")),
            ack: self.ack(),
            realm_by: self.realm_by(),
            metadata: self.reader.metadata("metadata", self.field("metadata")),
            sharding_factor: self.sharding_factor(),
            extra: self.extra(),
            derived: if older_form { Vec::new() } else { self.derived() },
            older_form,
            revision: self.reader.whole("revision", self.field("revision"), u64::MAX).map(Revision),
        };
        self.reader.finish(Some(input))
    }

    fn id(&mut self, path_id: Option<&str>) -> Option<PoolId> {
        let in_body = self.reader.text("id", self.field("id"));
        if let (Some(path), Some(body)) = (path_id, in_body)
            && path != body
        {
            self.reader.fault("id", body, format!("must be {path}, as in the path, or be left out"));
            return None;
        }
        match path_id.or(in_body) {
            Some(raw) => self.reader.id_of("id", raw),
            None if self.reader.has_fault("id") => None,
            None => {
                self.reader.fault("id", "", "must be given: 1 to 128 of A-Z a-z 0-9 . _ -");
                None
            }
        }
    }

    fn type_id(&mut self, older_form: bool) -> Option<TypeId> {
        if self.field("type").is_some() {
            let remedy = "must be a resource type: ipv4, ipv6, vlan, svlan, port, ...";
            return self.reader.needed_id("type", self.field("type"), remedy);
        }
        match self.field("cidr").and_then(Value::as_str) {
            Some(cidr) if older_form && !cidr.is_empty() => {
                self.reader.id_of("type", if cidr.contains(':') { "ipv6" } else { "ipv4" })
            }
            Some(_) | None => {
                let remedy = "must be given: ipv4, ipv6, vlan, svlan, port, ...; only a pool with cidr and no spec may leave it out";
                self.reader.fault("type", "", remedy);
                None
            }
        }
    }

    /// Whatever is not the host's is the plugin's.
    fn older_spec(&self) -> String {
        let hosts = |name: &str| HOST_FIELDS.contains(&name) || ANSWER_FIELDS.contains(&name);
        let absent = |name: &str, value: &Value| {
            OLDER_EMPTY.contains(&name) && (value.as_str() == Some("") || value.as_array().is_some_and(Vec::is_empty))
        };
        let plugins = self.fields.iter().filter(|(name, value)| !hosts(name) && !absent(name, value));
        Value::Object(plugins.map(|(name, value)| (name.clone(), value.clone())).collect()).to_string()
    }

    fn new_spec(&mut self) -> String {
        for (name, said) in self.fields.iter().filter(|(name, _)| !known_beside_spec(name)) {
            let remedy = format!("is not a field of a pool{}", suggestion(name, HOST_FIELDS));
            self.reader.fault(name, plain(said), remedy);
        }
        let Some(Value::Object(spec)) = self.field("spec") else {
            let said = self.field("spec").map_or_else(String::new, plain);
            self.reader.fault("spec", said, "must be a JSON object");
            return String::new();
        };
        for name in SPEC_COPIES {
            if let Some(copy) = self.field(name)
                && spec.get(name).is_some_and(|said| said != copy)
            {
                self.reader.fault(name, plain(copy), "must agree with spec: change it there, or leave it out here");
            }
        }
        Value::Object(spec.clone()).to_string()
    }

    fn derived(&self) -> Pairs {
        let said = DERIVED_FIELDS.into_iter().filter_map(|name| Some((name, self.field(name)?)));
        let text = |value: &Value| match value {
            Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => plain(value),
        };
        said.map(|(name, value)| (name.into(), text(value).into())).collect()
    }

    fn strategy(&mut self) -> Option<Strategy> {
        let raw = self.reader.text("strategy", self.field("strategy"))?;
        match parse_strategy(raw) {
            Ok(strategy) => Some(strategy),
            Err(fault) => {
                self.reader.fault("strategy", raw, fault);
                None
            }
        }
    }

    /// `default` is how answers say that nothing was chosen.
    fn ack(&mut self) -> Option<Durability> {
        match self.reader.text("ack", self.field("ack"))? {
            "default" => None,
            "local" => Some(Durability::Local),
            "peer" => Some(Durability::Peer),
            other => {
                self.reader.fault("ack", other, "must be local, peer or default");
                None
            }
        }
    }

    fn lease(&mut self) -> Option<LeaseTerms> {
        let said = self.field("lease")?;
        let Value::Object(terms) = said else {
            if said.as_str() == Some("none") {
                return Some(LeaseTerms::None);
            }
            let default_ms = self.reader.duration_ms("lease", Some(said))?;
            return self.reader.lease(default_ms, None, None);
        };
        for (name, said) in terms.iter().filter(|(name, _)| !LEASE_FIELDS.contains(&name.as_str())) {
            let remedy = format!("is not known{}", suggestion(name, LEASE_FIELDS));
            self.reader.fault(&format!("lease.{name}"), plain(said), remedy);
        }
        let [default_ms, min_ms, max_ms] =
            LEASE_FIELDS.map(|name| self.reader.duration_ms(&format!("lease.{name}"), terms.get(name)));
        let Some(default_ms) = default_ms else {
            if !self.reader.has_fault("lease.default") {
                self.reader.fault("lease.default", "", "must be given, such as \"1h\"");
            }
            return None;
        };
        self.reader.lease(default_ms, min_ms, max_ms)
    }

    fn realm_by(&mut self) -> Vec<CompactString> {
        let Some(said) = self.field("realm_by") else { return Vec::new() };
        let names = said.as_array().filter(|names| names.len() <= MOST_REALM_BY);
        let texts = names.and_then(|names| {
            names.iter().map(|name| name.as_str().filter(|name| attribute_name(name))).collect::<Option<Vec<_>>>()
        });
        let Some(texts) = texts else {
            let remedy = format!("must be a list of up to {MOST_REALM_BY} attribute names, such as [\"olt_id\"]");
            self.reader.fault("realm_by", plain(said), remedy);
            return Vec::new();
        };
        texts.into_iter().map(CompactString::from).collect()
    }

    /// 0 is the default.
    /// Whether the older form may say as much is known only where the pool is: what was answered can be sent back.
    fn sharding_factor(&mut self) -> Option<u32> {
        let count = self.reader.whole("sharding_factor", self.field("sharding_factor"), MOST_SHARDS)?;
        u32::try_from(count).ok().filter(|count| *count > 0)
    }

    /// `backup_ratio` is kept and shown; 0 is its default.
    fn extra(&mut self) -> CompactString {
        let Some(said) = self.field("backup_ratio") else { return CompactString::default() };
        match said.as_f64() {
            Some(0.0) => CompactString::default(),
            Some(ratio) if (0.0..=1.0).contains(&ratio) => format!("{{\"backup_ratio\":{said}}}").into(),
            Some(_) | None => {
                self.reader.fault("backup_ratio", plain(said), "must be a number from 0 to 1");
                CompactString::default()
            }
        }
    }
}

/// Stands in for an id whose fault is already noted: the input is not given out then.
fn placeholder<T: FromStr<Err = InvalidId>>() -> T {
    "x".parse().expect("one letter is a plain id")
}

fn known_beside_spec(name: &str) -> bool {
    let all = [&HOST_FIELDS[..], &ANSWER_FIELDS[..], &DERIVED_FIELDS[..], &SPEC_COPIES[..]];
    all.into_iter().any(|known| known.contains(&name))
}

/// True for what may name an attribute of a request in `realm_by`.
fn attribute_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

/// A strategy by its name; underscores are fine. The error says what would be right.
fn parse_strategy(raw: &str) -> Result<Strategy, String> {
    raw.replace('_', "-").parse().map_err(|_| {
        let known = Strategy::ALL.map(Strategy::as_str);
        let meant = nearest(raw, known).map_or(String::new(), |near| format!("; did you mean {near}?"));
        format!("must be one of {}{meant}", known.join(", "))
    })
}

/// The older form's clients make pools of no more than 256 shards. One that has more was made in the form with `spec`; they
/// may say what they read of it.
pub(super) fn check_older_shards(input: &PoolInput, there: Option<&Pool>) -> Result<(), AppError> {
    let Some(count) = input.sharding_factor.filter(|count| input.older_form && *count > MOST_SHARDS_OLDER) else {
        return Ok(());
    };
    match there.and_then(|there| there.draft.sharding_factor) {
        Some(made) if made == count => Ok(()),
        Some(made) if made > MOST_SHARDS_OLDER => {
            Err(AppError::invalid("sharding_factor", count, format!("must be {made}, as the pool was made")))
        }
        Some(_) | None => {
            let remedy = format!("must be a whole number from 0 to {MOST_SHARDS_OLDER}; more needs the form with spec");
            Err(AppError::invalid("sharding_factor", count, remedy))
        }
    }
}

/// Fields of a spec that its type does not know, as far as the type's JSON Schema lists its fields. In the older form the
/// host's fields stand beside the plugin's, so a misspelt one of either kind ends up in the spec.
pub(crate) fn unknown_fields(schema: &str, spec: &str, older_form: bool) -> Option<Vec<Fault>> {
    let schema: Value = serde_json::from_str(schema).ok()?;
    let known = schema.get("properties")?.as_object()?;
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        return None;
    }
    let spec: Value = serde_json::from_str(spec).ok()?;
    let unknown = spec.as_object()?.iter().filter(|(name, _)| !known.contains_key(*name));
    let hosts = if older_form { &HOST_FIELDS[..] } else { &[] };
    let faults: Vec<_> = unknown
        .map(|(name, value)| {
            let known = known.keys().map(String::as_str).chain(hosts.iter().copied());
            let remedy = format!("is not a field of such a pool{}", suggestion(name, known));
            let field = if older_form { name.clone() } else { format!("spec.{name}") };
            Fault::new(field, plain(value), remedy)
        })
        .collect();
    if faults.is_empty() { None } else { Some(faults) }
}

#[cfg(test)]
mod tests;
