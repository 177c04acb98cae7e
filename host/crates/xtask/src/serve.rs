//! From a fresh machine to a running daemon.

use anyhow::Result;

use crate::shell::Shell;
use crate::{build, workspace};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    build::run(&[])?;
    let daemon = workspace::target_dir()?.join("release").join("nexus");
    let own = of_the_daemon(arguments);
    Shell::new(daemon).dir(workspace::root()).args(["serve", "--data-path", "./data"]).args(own).exec()
}

/// All but a leading `--`. Whoever separates the daemon's arguments from the chore's writes one, as after `cargo run`;
/// the daemon would take what follows it for words, and refuse them.
fn of_the_daemon(arguments: &[String]) -> &[String] {
    match arguments.split_first() {
        Some((first, rest)) if first == "--" => rest,
        Some(_) | None => arguments,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_leading_separator_is_the_chores_and_the_rest_the_daemons() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&[], &[]),
            (&["--"], &[]),
            (&["--node-id", "a"], &["--node-id", "a"]),
            (&["--", "--node-id", "a"], &["--node-id", "a"]),
            (&["--node-id", "--", "--"], &["--node-id", "--", "--"]),
        ];
        for (given, expected) in cases {
            let given: Vec<String> = given.iter().map(ToString::to_string).collect();
            assert_eq!(of_the_daemon(&given), expected, "{given:?}");
        }
    }
}
