//! Calls of a well behaved plugin.

use crate::bench::{Bench, span, spec};
use crate::guest::Guest;
use plugin_host::PluginError;

#[test]
fn a_plugin_by_hand_answers_every_call() {
    let bench = Bench::new();
    let host = bench.start(&[Guest::new("num").build()]);
    assert_eq!(host.types(), ["num"], "{:#?}", host.list());
    let opened = host.open("num", "{}").unwrap();
    assert_eq!(opened.geometry.spans[0].first().len(), 4_096);
    assert_eq!(host.render("num", &spec(), &[span(1_000), span(5_095)]).unwrap(), ["1000", "5095"]);
    let parsed = host.parse("num", &spec(), &["1000", "x", "9"]).unwrap();
    assert_eq!(parsed[0], Ok(span(1_000)));
    assert!(matches!(parsed[1], Err(PluginError::InvalidName(_))));
    assert_eq!(parsed[2], Err(PluginError::OutOfRange));
    assert_eq!(host.interpret("num", &spec(), &[]).unwrap().len, 1);
    let hint = host.interpret("num", &spec(), &[("color".into(), "red".into())]);
    assert!(matches!(hint, Err(PluginError::InvalidHint(problem)) if problem.path == "color"));
    let run = kernel::Span::new(1_000, 100).unwrap();
    assert_eq!(host.summarize("num", &spec(), run).unwrap(), ["1000-1099"]);
    assert_eq!(host.attributes("num", &spec(), span(1_000)).unwrap(), []);
    assert!(matches!(host.open("num", "[]"), Err(PluginError::InvalidSpec(problems)) if problems.len() == 1));
    assert!(matches!(host.open("nope", "{}"), Err(PluginError::UnknownType { known, .. }) if known == ["num"]));
}
