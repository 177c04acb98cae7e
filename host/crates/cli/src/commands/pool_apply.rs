//! `nexus pool apply`: makes pools what files say, one after the other; what one is refused for does not stop the others.

use std::path::PathBuf;

use api::grpc::client::ClientError;
use nexus_proto::v1::{ApplyOutcome, ApplyPoolRequest, ApplyPoolResponse, apply_pool_request};

use crate::arguments::{ApplyArgs, Connection};
use crate::document::{Document, Fields};
use crate::exit::Failure;
use crate::pool_file::{self, WrittenPool};
use crate::screen::{List, Row, Screen, complain, refusal};
use crate::session::{Patience, connect};
use crate::table::{Cell, Tone};
use crate::words::grains;

const COLUMNS: &[&str] = &["POOL", "OUTCOME", "ADDED", "REMOVED", "WHERE", "WHY"];

/// Whether anything changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Apply,
    DryRun,
}

/// A pool of a file.
#[derive(Debug)]
struct Wanted {
    file: String,
    pool: WrittenPool,
}

/// Reads every file; a fault in one of them keeps all of them back.
fn wanted(files: &[PathBuf]) -> Result<Vec<Wanted>, Failure> {
    let mut all: Vec<Wanted> = Vec::new();
    for path in files {
        let file = path.display().to_string();
        for pool in pool_file::read_file(path)? {
            if let Some(twin) = all.iter().find(|other| other.pool.id == pool.id) {
                let (id, line) = (&pool.id, pool.line);
                let there = format!("{}:{}", twin.file, twin.pool.line);
                return Err(Failure::Usage(format!("{file}:{line}: pool {id} is described already, at {there}")));
            }
            all.push(Wanted { file: file.clone(), pool });
        }
    }
    Ok(all)
}

/// Sends them, shows what came of each, and fails with the first refusal's code if there was one.
pub(super) async fn apply(connection: &Connection, args: ApplyArgs, screen: &mut Screen) -> Result<(), Failure> {
    let mode = if args.dry_run { Mode::DryRun } else { Mode::Apply };
    let pools = wanted(&args.files)?;
    let client = connect(connection, Patience::Timeout).await?;
    let all = pools.len();
    let mut rows = Vec::with_capacity(all);
    let mut refusals = Vec::new();
    // A dry run leaves nothing behind that the next pool could run into, so the daemon is told what would be there.
    let mut beside = Vec::new();
    for wanted in pools {
        let document = wanted.pool.document.to_json();
        let request = ApplyPoolRequest {
            pool: Some(apply_pool_request::Pool::Document(document.clone())),
            dry_run: mode == Mode::DryRun,
            beside: beside.clone(),
        };
        match client.pools().apply_pool(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                rows.push(applied_row(&wanted, &answer, mode));
                if mode == Mode::DryRun && answer.outcome() != ApplyOutcome::Unchanged {
                    beside.push(document);
                }
            }
            Err(status) => {
                let error = ClientError::from(status);
                rows.push(refused_row(&wanted, &error, mode));
                refusals.push((wanted, error));
            }
        }
    }
    let mut list = List::begin(screen, "pools", COLUMNS);
    list.rows(&rows)?;
    list.end(&[("dry_run", Document::Truth(mode == Mode::DryRun))])?;
    let refused = refusals.len();
    let mut worst = None;
    for (wanted, error) in refusals {
        let mut told = format!("{}:{}: pool {}: {error}", wanted.file, wanted.pool.line, wanted.pool.id);
        for line in refusal(&error) {
            told.push_str("\n  ");
            told.push_str(&line);
        }
        complain(&told);
        worst = worst.or(Some(Failure::from(error).exit()));
    }
    match worst {
        Some(worst) => Err(Failure::Partly { refused, all, worst }),
        None => Ok(()),
    }
}

fn place(wanted: &Wanted) -> String {
    format!("{}:{}", wanted.file, wanted.pool.line)
}

fn applied_row(wanted: &Wanted, answer: &ApplyPoolResponse, mode: Mode) -> Row {
    let (word, tone) = match answer.outcome() {
        ApplyOutcome::Unspecified => ("done", Tone::Plain),
        ApplyOutcome::Created => ("created", Tone::Good),
        ApplyOutcome::Unchanged => ("unchanged", Tone::Plain),
        ApplyOutcome::Updated => ("updated", Tone::Good),
    };
    let [added, removed] = [&answer.added, &answer.removed].map(|change| grains(change.as_ref()));
    let shown = |change: &str| if change == "0" { String::new() } else { change.to_owned() };
    let cells = vec![
        wanted.pool.id.as_str().into(),
        Cell::toned(outcome(word, mode), tone),
        shown(&added).into(),
        shown(&removed).into(),
        place(wanted).into(),
        Cell::default(),
    ];
    let document = Fields::default()
        .text("id", &wanted.pool.id)
        .text("outcome", word)
        .number("added", added)
        .number("removed", removed)
        .text("where", &place(wanted))
        .done();
    Row { cells, document }
}

fn outcome(word: &str, mode: Mode) -> String {
    match (mode, word) {
        (Mode::Apply, word) | (Mode::DryRun, word @ "unchanged") => word.to_owned(),
        (Mode::DryRun, word) => format!("would be {word}"),
    }
}

fn refused_row(wanted: &Wanted, error: &ClientError, mode: Mode) -> Row {
    let cells = vec![
        wanted.pool.id.as_str().into(),
        Cell::toned(outcome("refused", mode), Tone::Bad),
        Cell::default(),
        Cell::default(),
        place(wanted).into(),
        error.reason.as_str().into(),
    ];
    let faults = error
        .violations
        .iter()
        .map(|one| Fields::default().text("field", &one.field).text("remedy", &one.remedy).done());
    let holders = error
        .in_the_way
        .iter()
        .map(|(resource, holder)| Fields::default().text("resource", resource).text("subscriber_id", holder).done());
    let (faults, holders): (Vec<_>, Vec<_>) = (faults.collect(), holders.collect());
    let document = Fields::default()
        .text("id", &wanted.pool.id)
        .text("outcome", "refused")
        .text("where", &place(wanted))
        .text("error", &error.message)
        .some_text("reason", &error.reason)
        .some("faults", (!faults.is_empty()).then_some(Document::List(faults)))
        .some("in_the_way", (!holders.is_empty()).then_some(Document::List(holders)))
        .done();
    Row { cells, document }
}
