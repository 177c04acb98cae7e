//! Published numbers do not change: the descriptor, written out, is compared with `descriptor.golden`.
//! `UPDATE_GOLDENS=1` writes it anew; whoever does that looks at the difference, in which lines may only be added.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

fn own_files() -> Vec<prost_types::FileDescriptorProto> {
    let described = FileDescriptorSet::decode(nexus_proto::DESCRIPTORS).unwrap();
    described.file.into_iter().filter(|file| file.package() == "nexus.v1").collect()
}

fn field_line(field: &FieldDescriptorProto) -> String {
    let kind = if matches!(field.r#type(), Type::Message | Type::Enum) {
        field.type_name().trim_start_matches('.').to_owned()
    } else {
        field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase()
    };
    let label = match field.label() {
        Label::Repeated => "repeated ",
        Label::Optional | Label::Required if field.proto3_optional() => "optional ",
        Label::Optional | Label::Required => "",
    };
    format!("{} = {} {label}{kind}", field.number(), field.name())
}

fn message_lines(within: &str, message: &DescriptorProto, text: &mut String) {
    let name = format!("{within}{}", message.name());
    writeln!(text, "message {name}").unwrap();
    let mut fields: Vec<_> = message.field.iter().collect();
    fields.sort_by_key(|field| field.number());
    for field in fields {
        writeln!(text, "  {}", field_line(field)).unwrap();
    }
    let is_map =
        |nested: &&DescriptorProto| nested.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry);
    for nested in message.nested_type.iter().filter(|nested| !is_map(nested)) {
        message_lines(&format!("{name}."), nested, text);
    }
}

fn enum_lines(one: &EnumDescriptorProto, text: &mut String) {
    writeln!(text, "enum {}", one.name()).unwrap();
    for value in &one.value {
        writeln!(text, "  {} = {}", value.number(), value.name()).unwrap();
    }
}

fn service_lines(service: &ServiceDescriptorProto, text: &mut String) {
    writeln!(text, "service {}", service.name()).unwrap();
    for method in &service.method {
        let stream = |streaming: bool| if streaming { "stream " } else { "" };
        let (asks, answers) = (stream(method.client_streaming()), stream(method.server_streaming()));
        let (input, output) = (method.input_type(), method.output_type());
        writeln!(text, "  {}({asks}{input}) {answers}{output}", method.name()).unwrap();
    }
}

fn listing() -> String {
    let mut text = String::new();
    for file in own_files() {
        writeln!(text, "file {}", file.name()).unwrap();
        file.service.iter().for_each(|service| service_lines(service, &mut text));
        file.message_type.iter().for_each(|message| message_lines("", message, &mut text));
        file.enum_type.iter().for_each(|one| enum_lines(one, &mut text));
    }
    text
}

#[test]
fn the_descriptor_is_the_published_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptor.golden");
    let found = listing();
    if env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap();
    for (at, (golden, found)) in golden.lines().zip(found.lines()).enumerate() {
        assert_eq!(golden, found, "descriptor.golden line {}", at + 1);
    }
    assert_eq!(
        golden.len(),
        found.len(),
        "lines were added or taken away; UPDATE_GOLDENS=1 writes descriptor.golden anew"
    );
}

/// What clients in the field were built with.
#[test]
fn the_first_numbers_are_as_they_were_published() {
    let published = [
        ("AllocateRequest", &["subscriber_id", "pool_id", "mac", "duid", "iaid"][..]),
        ("AllocateResponse", &["ip", "prefix_length", "expires_at"]),
        ("ReleaseRequest", &["subscriber_id", "pool_id"]),
        ("LookupRequest", &["subscriber_id", "pool_id"]),
        ("LookupByIPRequest", &["ip"]),
    ];
    let files = own_files();
    for (name, fields) in published {
        let message = files.iter().flat_map(|file| &file.message_type).find(|message| message.name() == name).unwrap();
        for (number, field) in (1..).zip(fields) {
            assert!(message.field.iter().any(|one| one.number() == number && one.name() == *field), "{name}.{field}");
        }
    }
}

/// Reflection sends the whole set: comments would make it five times as large.
#[test]
fn the_descriptor_set_carries_no_comments() {
    assert!(own_files().iter().all(|file| file.source_code_info.is_none()));
}
