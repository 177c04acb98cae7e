//! What a plugin says about itself.

use nexus_plugin_contract::Descriptor;
use serde_json::Value;

use crate::run::Finding;

/// 1 to 32 of `a-z 0-9 -`, first a letter.
pub(crate) fn type_id(descriptor: &Descriptor) -> Finding {
    let id = &descriptor.type_id;
    let letters = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if letters && (1..=32).contains(&id.len()) && id.starts_with(|first: char| first.is_ascii_lowercase()) {
        Ok(id.clone())
    } else {
        Err(format!("type-id is {id:?}; it must be 1 to 32 of a-z 0-9 -, first a letter"))
    }
}

pub(crate) fn version(descriptor: &Descriptor) -> Finding {
    let version = &descriptor.plugin_version;
    if is_semver(version) {
        Ok(version.clone())
    } else {
        Err(format!("plugin-version is {version:?}; semver.org says 1.2.3"))
    }
}

/// `major.minor.patch`, each without leading zeros, then optionally `-pre` and `+build`.
fn is_semver(version: &str) -> bool {
    let (rest, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    let label = |label: &str| {
        label
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'))
    };
    core.split('.').count() == 3 && core.split('.').all(number) && pre.is_none_or(label) && build.is_none_or(label)
}

pub(crate) fn texts(descriptor: &Descriptor) -> Finding {
    for (name, text) in [("mapping-id", &descriptor.mapping_id), ("title", &descriptor.title)] {
        if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
            return Err(format!("{name} is {text:?}; it must be 1 to 255 bytes without control characters"));
        }
    }
    let mut faults = Vec::new();
    crate::layout::check_attributes("labels", &descriptor.labels, &mut faults);
    if faults.is_empty() { Ok(descriptor.mapping_id.clone()) } else { Err(faults.join("; ")) }
}

/// Both schemas compile, and hints are texts.
pub(crate) fn schemas(descriptor: &Descriptor) -> Finding {
    for (name, text) in [("spec-schema", &descriptor.spec_schema), ("hint-schema", &descriptor.hint_schema)] {
        compile(text).map_err(|why| format!("{name}: {why}"))?;
    }
    for (name, schema) in hint_properties(descriptor) {
        if schema.get("type").and_then(Value::as_str) != Some("string") {
            return Err(format!("hint-schema: the hint {name:?} is not of the type \"string\", and hints are texts"));
        }
    }
    Ok(String::new())
}

pub(crate) fn examples(descriptor: &Descriptor) -> Finding {
    let schema = compile(&descriptor.spec_schema)?;
    if descriptor.examples.is_empty() {
        return Err("there are no examples; give at least one spec that opens".to_owned());
    }
    for (at, example) in descriptor.examples.iter().enumerate() {
        let value: Value =
            serde_json::from_str(example).map_err(|error| format!("example {at} is not JSON: {error}"))?;
        if let Some(error) = schema.iter_errors(&value).next() {
            return Err(format!(
                "example {at} does not fit the spec-schema at {:?}: {error}",
                error.instance_path().to_string()
            ));
        }
    }
    Ok(format!("{} examples", descriptor.examples.len()))
}

/// The hints the schema names, each with its schema.
pub(crate) fn hint_properties(descriptor: &Descriptor) -> Vec<(String, Value)> {
    let schema: Value = serde_json::from_str(&descriptor.hint_schema).unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    properties.into_iter().collect()
}

fn compile(schema: &str) -> Result<jsonschema::Validator, String> {
    let value: Value = serde_json::from_str(schema).map_err(|error| format!("not JSON: {error}"))?;
    jsonschema::draft202012::new(&value).map_err(|error| format!("not a JSON Schema 2020-12: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        for good in ["0.1.0", "1.2.3", "1.0.0-rc.1", "1.0.0-rc-1+build.5", "10.20.30+x-y"] {
            assert!(is_semver(good), "{good}");
        }
        for bad in ["", "1", "1.2", "1.2.3.4", "01.2.3", "1.2.x", "1.2.3-", "1.2.3-a..b", "v1.2.3"] {
            assert!(!is_semver(bad), "{bad}");
        }
    }
}
