//! Pools written in YAML: one or more documents, each a pool, a list of pools, or a mapping with `pools:`.
//!
//! What `nexus pool get` and `nexus pool list` show, YAML or JSON, is such a file.
//!
//! Only the file's shape is judged here, with lines. What a pool's fields mean is the daemon's to say; where it refuses
//! one, [`WrittenPool::line`] says which.

use std::io::Read as _;
use std::path::Path;

use crate::document::Document;
use crate::exit::Failure;
use crate::yaml::{self, Fault, Node, Value};

/// A pool as a file describes it.
#[derive(Clone, Debug)]
pub(crate) struct WrittenPool {
    pub(crate) id: String,
    /// Where it begins, from 1.
    pub(crate) line: usize,
    pub(crate) document: Document,
}

/// Reads a file, or standard input for `-`.
pub(crate) fn read_file(path: &Path) -> Result<Vec<WrittenPool>, Failure> {
    let unreadable = |source| Failure::Unreadable { path: path.to_owned(), source };
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
        text
    } else {
        std::fs::read_to_string(path).map_err(unreadable)?
    };
    read(&text).map_err(|faults| Failure::File { file: path.display().to_string(), faults })
}

/// Reads pools out of YAML, or says everything that keeps it from being pools.
pub(crate) fn read(text: &str) -> Result<Vec<WrittenPool>, Vec<Fault>> {
    let mut reading = Reading::default();
    for document in yaml::read(text)? {
        reading.top(document);
    }
    if reading.pools.is_empty() && reading.faults.is_empty() {
        reading.fault(1, "no pool; a document with at least `id` and `type` is wanted");
    }
    if reading.faults.is_empty() { Ok(reading.pools) } else { Err(reading.faults) }
}

#[derive(Default)]
struct Reading {
    pools: Vec<WrittenPool>,
    faults: Vec<Fault>,
}

impl Reading {
    fn fault(&mut self, line: usize, what: impl Into<String>) {
        self.faults.push(Fault { line, what: what.into() });
    }

    fn top(&mut self, node: Node) {
        match node.value {
            // A file may begin with `---` or end with it.
            Value::Scalar(Document::Null) => {}
            Value::List(nodes) => nodes.into_iter().for_each(|node| self.pool(node)),
            Value::Fields(ref fields) if fields.iter().any(|(name, _)| name == "pools") => self.under_pools(node),
            Value::Fields(_) | Value::Scalar(_) => self.pool(node),
        }
    }

    fn under_pools(&mut self, node: Node) {
        let Value::Fields(fields) = node.value else { return };
        for (name, node) in fields {
            match (name.as_str(), node.value) {
                ("pools", Value::List(nodes)) => nodes.into_iter().for_each(|node| self.pool(node)),
                ("pools", Value::Scalar(_) | Value::Fields(_)) => {
                    self.fault(node.line, "pools must be a list of pools");
                }
                // What `nexus pool list` says of the whole list.
                ("count" | "total" | "next_cursor", Value::Scalar(_)) => {}
                (other, _) => {
                    self.fault(node.line, format!("{other} stands beside pools, where nothing else may stand"));
                }
            }
        }
    }

    fn pool(&mut self, node: Node) {
        let line = node.line;
        let Value::Fields(_) = node.value else {
            return self.fault(line, "must be a pool: a mapping with id, type and spec");
        };
        let id = match node.field("id") {
            None => return self.fault(line, "the pool has no id"),
            Some(id) => match id.as_text() {
                Some(text) => text.to_owned(),
                None => return self.fault(id.line, "id must be a text; quote it if it is all digits"),
            },
        };
        if let Some(twin) = self.pools.iter().find(|other| other.id == id) {
            let what = format!("pool {id} is there already, at line {}", twin.line);
            return self.fault(line, what);
        }
        self.pools.push(WrittenPool { id, line, document: node.plain() });
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(String, usize)> {
        read(text).unwrap().into_iter().map(|pool| (pool.id, pool.line)).collect()
    }

    fn refused(text: &str) -> Vec<String> {
        read(text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn pools_stand_in_documents_lists_or_under_a_key() {
        let expected = |lines: [usize; 2]| vec![("a".to_owned(), lines[0]), ("b".to_owned(), lines[1])];
        assert_eq!(found("id: a\n---\nid: b\n"), expected([1, 3]));
        assert_eq!(found("---\n- id: a\n- id: b\n"), expected([2, 3]));
        assert_eq!(found("# stock\npools:\n  - {id: a}\n  - id: b\n    type: vlan\n"), expected([3, 4]));
        assert_eq!(found("{\"pools\": [{\"id\": \"a\"}, {\"id\": \"b\"}]}"), expected([1, 1]));
    }

    #[test]
    fn what_a_list_shows_is_a_file_of_pools() {
        assert_eq!(
            found("pools:\n  - id: a\n    shards: 8\ncount: 1\ntotal: 7\nnext_cursor: x\n"),
            [("a".to_owned(), 2)]
        );
        assert_eq!(
            refused("pools: []\ncounts: 1\n"),
            ["line 2: counts stands beside pools, where nothing else may stand"]
        );
    }

    #[test]
    fn a_pool_goes_out_as_it_was_written() {
        let pools = read("id: a\nspec: {range: 100-4000, exclusions: [7, 9-12], use_all: true}\nnote: null\n").unwrap();
        let expected = r#"{"id":"a","spec":{"range":"100-4000","exclusions":[7,"9-12"],"use_all":true},"note":null}"#;
        assert_eq!(pools[0].document.to_json(), expected);
    }

    #[test]
    fn every_fault_is_told_with_its_line() {
        assert_eq!(refused(""), ["line 1: no pool; a document with at least `id` and `type` is wanted"]);
        let text = "pools:\n  - type: vlan\n  - id: 7\n  - id: a\n  - word\n  - id: a\nother: 1\n";
        let expected = [
            "line 2: the pool has no id",
            "line 3: id must be a text; quote it if it is all digits",
            "line 5: must be a pool: a mapping with id, type and spec",
            "line 6: pool a is there already, at line 4",
            "line 7: other stands beside pools, where nothing else may stand",
        ];
        assert_eq!(refused(text), expected);
        assert_eq!(refused("pools: 3\n"), ["line 1: pools must be a list of pools"]);
        assert!(refused("id: [\n")[0].contains("not YAML"));
    }

    proptest! {
        #[test]
        fn no_file_panics(text in "([ -~]{0,20}|pools:|- id: a|  - |---|id: b)(\n([ -~]{0,20}|pools:|- id: a|  - |---|id: b)){0,9}") {
            let _pools_or_faults = read(&text);
        }
    }
}
