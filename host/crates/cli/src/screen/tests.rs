use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use api::grpc::client::{ClientError, Violation};

use super::*;
use crate::document::Fields;
use crate::yaml::Fault;

/// Standard output in the tests.
#[derive(Clone, Default)]
struct Paper(Rc<RefCell<Vec<u8>>>);

impl Write for Paper {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn shown(format: Format, colour: bool, show: impl FnOnce(&mut Screen) -> io::Result<()>) -> String {
    let paper = Paper::default();
    let mut screen = Screen::into(paper.clone(), format, colour);
    show(&mut screen).unwrap();
    drop(screen);
    String::from_utf8(paper.0.take()).unwrap()
}

fn row(id: &str, kind: &str) -> Row {
    let document = Fields::default().text("id", id).text("type", kind).done();
    Row { cells: vec![id.into(), Cell::toned(kind, Tone::Good)], document }
}

fn two_pages(screen: &mut Screen) -> io::Result<()> {
    let mut list = List::begin(screen, "pools", &["POOL", "TYPE"]);
    list.rows(&[row("a", "ipv4"), row("isp-east", "vlan")])?;
    list.rows(&[row("b", "port")])?;
    list.end(&[("total", Document::number(3))])
}

#[test]
fn a_list_looks_the_same_in_pages_and_at_once() {
    let table = "POOL      TYPE\na         ipv4\nisp-east  vlan\nb         port\n";
    assert_eq!(shown(Format::Table, false, two_pages), table);
    let json = r#"{
  "pools": [
    {"id":"a","type":"ipv4"},
    {"id":"isp-east","type":"vlan"},
    {"id":"b","type":"port"}
  ],
  "count": 3,
  "total": 3
}
"#;
    assert_eq!(shown(Format::Json, false, two_pages), json);
    let yaml = "pools:\n  - id: a\n    type: ipv4\n  - id: isp-east\n    type: vlan\n  - id: b\n    type: port\ncount: 3\ntotal: 3\n";
    assert_eq!(shown(Format::Yaml, false, two_pages), yaml);
}

#[test]
fn an_empty_list_is_a_list() {
    let empty = |screen: &mut Screen| screen.list("pools", &["POOL", "TYPE"], &[]);
    assert_eq!(shown(Format::Table, false, empty), "POOL  TYPE\n");
    assert_eq!(shown(Format::Json, false, empty), "{\n  \"pools\": [],\n  \"count\": 0\n}\n");
    assert_eq!(shown(Format::Yaml, false, empty), "pools: []\ncount: 0\n");
}

#[test]
fn one_answer_is_lines_or_a_document() {
    let one = |screen: &mut Screen| {
        let document = Fields::default().text("id", "a").done();
        screen.one(&document, &[("pool", "a".into()), ("hold-down", "1m".into()), ("note", "".into())])
    };
    assert_eq!(shown(Format::Table, false, one), "pool       a\nhold-down  1m\n");
    assert_eq!(shown(Format::Json, false, one), "{\n  \"id\": \"a\"\n}\n");
    assert_eq!(shown(Format::Yaml, false, one), "id: a\n");
}

#[test]
fn events_are_lines_or_documents_of_their_own() {
    let events = |screen: &mut Screen| {
        let mut columns = Columns::new(&["POOL", "TYPE"]);
        screen.event(&row("a", "ipv4"), &mut columns)?;
        screen.event(&row("b", "vlan"), &mut columns)
    };
    assert_eq!(shown(Format::Table, false, events), "a     ipv4\nb     vlan\n");
    assert_eq!(
        shown(Format::Json, false, events),
        "{\"id\":\"a\",\"type\":\"ipv4\"}\n{\"id\":\"b\",\"type\":\"vlan\"}\n"
    );
    assert_eq!(shown(Format::Yaml, false, events), "---\nid: a\ntype: ipv4\n---\nid: b\ntype: vlan\n");
}

#[test]
fn colours_take_no_room() {
    let painted = shown(Format::Table, true, |screen| screen.list("pools", &["POOL", "TYPE"], &[row("a", "ipv4")]));
    assert_eq!(painted, "POOL  TYPE\na     \u{1b}[32mipv4\u{1b}[0m\n");
}

#[test]
fn a_refusal_says_field_value_and_remedy() {
    let error = ClientError {
        code: tonic::Code::InvalidArgument,
        message: "cidr is \"10.0.0.1/8\": has host bits".to_owned(),
        reason: "INVALID_SPEC".to_owned(),
        metadata: BTreeMap::from([
            ("field".to_owned(), "/cidr".to_owned()),
            ("value".to_owned(), "10.0.0.1/8".to_owned()),
            ("remedy".to_owned(), "must be 10.0.0.0/8".to_owned()),
            ("retryable".to_owned(), "false".to_owned()),
        ]),
        violations: vec![Violation { field: "/cidr".to_owned(), remedy: "must be 10.0.0.0/8".to_owned() }],
        in_the_way: vec![("10.0.0.7".to_owned(), "home-1".to_owned())],
    };
    let expected =
        ["/cidr is \"10.0.0.1/8\": must be 10.0.0.0/8", "10.0.0.7 is in the way: home-1", "reason INVALID_SPEC"];
    assert_eq!(particulars(&error.into()), expected);
}

#[test]
fn a_refusal_that_may_pass_says_so() {
    let error = ClientError {
        code: tonic::Code::Unavailable,
        message: "the queue is full".to_owned(),
        reason: "OVERLOADED".to_owned(),
        metadata: BTreeMap::new(),
        violations: Vec::new(),
        in_the_way: Vec::new(),
    };
    assert_eq!(particulars(&error.into()), ["the same command may succeed later", "reason OVERLOADED"]);
}

#[test]
fn a_file_is_told_with_all_its_faults() {
    let faults =
        vec![Fault { line: 2, what: "the pool has no id".to_owned() }, Fault { line: 7, what: "x".to_owned() }];
    let failure = Failure::File { file: "pools.yaml".to_owned(), faults };
    assert_eq!(failure.to_string(), "pools.yaml cannot be used");
    assert_eq!(particulars(&failure), ["line 2: the pool has no id", "line 7: x"]);
}
