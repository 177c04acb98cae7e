mod deploy;

use std::fmt::Write as _;
use std::path::Path;

use super::*;

/// Every `--help`, the leaves' included. `UPDATE_GOLDENS=1` writes it anew.
#[test]
fn the_help_is_what_was_agreed() {
    let mut told = String::new();
    tell_help(&command().term_width(100), "nexus", &mut told);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help.golden");
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&golden, &told).unwrap();
    }
    let agreed = std::fs::read_to_string(&golden).unwrap();
    assert!(told == agreed, "the help has changed: look at the difference after UPDATE_GOLDENS=1 cargo test -p cli");
}

fn tell_help(command: &clap::Command, path: &str, told: &mut String) {
    let mut shown = command.clone().bin_name(path).term_width(100);
    shown.build();
    writeln!(told, "===== {path} --help\n\n{}", shown.render_help()).unwrap();
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        tell_help(below, &format!("{path} {}", below.get_name()), told);
    }
}

fn parsed(line: &[&str]) -> ArgMatches {
    command().try_get_matches_from([&["nexus"], line].concat()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_tree_is_sound() {
    command().debug_assert();
}

#[test]
fn connection_options_stand_before_or_after_the_command() {
    let lines: [&[&str]; 2] = [
        &["--server", "https://core:9001", "-o", "json", "pool", "list"],
        &["pool", "list", "--server", "https://core:9001", "-o", "json"],
    ];
    for line in lines {
        let connection = Connection::of(&parsed(line)).unwrap();
        assert_eq!(connection.server, "https://core:9001", "{line:?}");
        assert_eq!(connection.output, screen::Format::Json, "{line:?}");
    }
    let both = parsed(&["--server", "a:1", "--tenant", "isp", "list", "--server", "b:2"]);
    let connection = Connection::of(&both).unwrap();
    assert_eq!((connection.server.as_str(), connection.tenant.as_deref()), ("b:2", Some("isp")));
}

#[test]
fn a_lease_may_be_declined() {
    for line in [["allocate", "p", "s", "--ttl", "-5"].as_slice(), &["renew", "s", "--ttl", "-5"]] {
        let matches = parsed(line);
        let (_, below) = matches.subcommand().unwrap();
        assert_eq!(below.get_one("ttl"), Some(&words::NO_LEASE), "{line:?}");
    }
    let refused = command().try_get_matches_from(["nexus", "allocate", "p", "s", "--ttl", "soon"]);
    assert!(refused.is_err());
}

#[test]
fn a_tree_can_be_extended_and_completed() {
    let tree = command()
        .subcommand(clap::Command::new("serve"))
        .mut_subcommand("plugin", |plugin| plugin.subcommand(clap::Command::new("check")));
    tree.clone().debug_assert();
    let mut script = Vec::new();
    clap_complete::generate(clap_complete::Shell::Bash, &mut tree.clone(), "nexus", &mut script);
    let script = String::from_utf8(script).unwrap();
    assert!(script.contains("nexus__subcmd__serve") || script.contains("nexus__serve"), "{script}");
}

#[test]
fn contradicting_options_are_a_wrong_command_line() {
    let lines: [&[&str]; 11] = [
        &["list", "--all", "--limit", "3"],
        &["list", "--limit", "0"],
        &["list", "--expiring", "1h", "--node", "olt-1"],
        &["allocate", "p", "s", "--ttl", "1h", "--permanent"],
        &["allocate", "p", "s", "--ttl", "soon"],
        &["pool", "create"],
        &["get", "s", "--cert", "c.pem"],
        &["cluster", "remove", "core-2"],
        &["shard", "seize", "p", "--shards", "1", "--to", "core-2"],
        &["shard", "move", "p", "--shards", "3-1", "--to", "core-2"],
        &["shard", "move", "p", "--shards", "1"],
    ];
    for line in lines {
        let error = command().try_get_matches_from([&["nexus"], line].concat()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line:?}");
    }
}
