//! `nexus pool`, all but `apply`.

use nexus_proto::v1::{
    CreatePoolRequest, DeletePoolRequest, GetPoolRequest, GetPoolStatsRequest, ListPoolsRequest, UpdatePoolRequest,
    create_pool_request, update_pool_request,
};

use super::list::{Page, paged};
use super::pool_apply;
use super::pool_fields::Draft;
use crate::arguments::{Connection, CreateArgs, PoolCommand, UpdateArgs};
use crate::document::{Document, Fields};
use crate::exit::Failure;
use crate::screen::{Format, List, Row, Screen};
use crate::session::{Patience, connect};
use crate::shape::{
    POOL_COLUMNS, STATS_COLUMNS, definition_document, pool_document, pool_lines, pool_row, stats_document, stats_rows,
};
use crate::words::grains;

pub(super) async fn run(connection: &Connection, command: PoolCommand, screen: &mut Screen) -> Result<(), Failure> {
    let ask = async || connect(connection, Patience::Timeout).await;
    match command {
        PoolCommand::Create(args) => create(connection, args, screen).await,
        PoolCommand::Get { id } => {
            let client = ask().await?;
            let pool = client.pools().get_pool(GetPoolRequest { pool_id: id }).await?.into_inner();
            Ok(screen.one(&pool_document(&pool), &pool_lines(&pool))?)
        }
        PoolCommand::List { type_id, page } => {
            let client = ask().await?;
            paged(screen, "pools", POOL_COLUMNS, page, async |cursor, limit| {
                let request = ListPoolsRequest { cursor, limit, r#type: type_id.clone() };
                let answer = client.pools().list_pools(request).await?.into_inner();
                let rows = answer.pools.iter().map(pool_row).collect();
                Ok(Page { rows, total: answer.total, next_cursor: answer.next_cursor })
            })
            .await
        }
        PoolCommand::Update(args) => update(connection, args, screen).await,
        PoolCommand::Delete { id, force } => {
            let client = ask().await?;
            let request = DeletePoolRequest { pool_id: id.clone(), force };
            let released = client.pools().delete_pool(request).await?.into_inner().released;
            let document = Fields::default().text("deleted", &id).number("released", released).done();
            Ok(screen.one(&document, &[("deleted", id.into()), ("released", released.to_string().into())])?)
        }
        PoolCommand::Stats { id } => stats(connection, id, screen).await,
        PoolCommand::Apply(args) => pool_apply::apply(connection, args, screen).await,
    }
}

async fn create(connection: &Connection, args: CreateArgs, screen: &mut Screen) -> Result<(), Failure> {
    let CreateArgs { id, file, fields, dry_run } = args;
    let mut draft = match &file {
        Some(path) => Draft::from_file(path, id.as_deref())?,
        None => Draft::default(),
    };
    if let Some(id) = id {
        draft.put("id", Document::Text(id));
    }
    draft.set(&fields)?;
    let request = CreatePoolRequest { pool: Some(create_pool_request::Pool::Document(draft.json())), dry_run };
    let client = connect(connection, Patience::Timeout).await?;
    let answer = client.pools().create_pool(request).await?.into_inner();
    let pool = answer.pool.unwrap_or_default();
    let mut lines = pool_lines(&pool);
    if !answer.created {
        lines.push(("note", "the pool was there already, the same".into()));
    }
    if !dry_run {
        return Ok(screen.one(&pool_document(&pool), &lines)?);
    }
    if answer.created {
        lines.insert(0, ("dry run", "nothing was changed; the pool would be:".into()));
    }
    let document = Fields::default()
        .put("dry_run", Document::Truth(true))
        .put("created", Document::Truth(answer.created))
        .put("pool", pool_document(&pool))
        .done();
    Ok(screen.one(&document, &lines)?)
}

async fn update(connection: &Connection, args: UpdateArgs, screen: &mut Screen) -> Result<(), Failure> {
    let UpdateArgs { id, file, fields, unset, revision, dry_run } = args;
    let from_file = file.map(|path| Draft::from_file(&path, id.as_deref())).transpose()?;
    let client = connect(connection, Patience::Timeout).await?;
    let (mut draft, base) = if let Some(draft) = from_file {
        (draft, 0)
    } else {
        let asked = GetPoolRequest { pool_id: id.clone().unwrap_or_default() };
        let pool = client.pools().get_pool(asked).await?.into_inner();
        // Nobody else's change in between is undone.
        (Draft::of(definition_document(&pool.definition.unwrap_or_default())), pool.revision)
    };
    for name in &unset {
        draft.unset(name)?;
    }
    draft.set(&fields)?;
    let request = UpdatePoolRequest {
        pool_id: id.unwrap_or_default(),
        pool: Some(update_pool_request::Pool::Document(draft.json())),
        expected_revision: revision.unwrap_or(base),
        dry_run,
    };
    let answer = client.pools().update_pool(request).await?.into_inner();
    let pool = answer.pool.unwrap_or_default();
    if !dry_run {
        return Ok(screen.one(&pool_document(&pool), &pool_lines(&pool))?);
    }
    let (added, removed) = (grains(answer.added.as_ref()), grains(answer.removed.as_ref()));
    let document = Fields::default()
        .put("dry_run", Document::Truth(true))
        .number("added", &added)
        .number("removed", &removed)
        .put("pool", pool_document(&pool))
        .done();
    let mut lines = vec![("dry run", "nothing was changed; the pool would be:".into())];
    lines.extend(pool_lines(&pool));
    lines.extend([("added", format!("{added} grains").into()), ("removed", format!("{removed} grains").into())]);
    Ok(screen.one(&document, &lines)?)
}

async fn stats(connection: &Connection, id: String, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    let stats = client.pools().get_pool_stats(GetPoolStatsRequest { pool_id: id }).await?.into_inner();
    let document = stats_document(&stats);
    if screen.format() != Format::Table {
        return Ok(screen.one(&document, &[])?);
    }
    let rows: Vec<_> = stats_rows(&stats).into_iter().map(|cells| Row { cells, document: Document::Null }).collect();
    let mut list = List::begin(screen, "realms", STATS_COLUMNS);
    list.rows(&rows)?;
    list.end(&[])?;
    if stats.quarantined_shards > 0 {
        let (some, all) = (stats.quarantined_shards, stats.shards);
        let told = format!("{some} of {all} shards: nothing new is handed out from them (nexus shard list)");
        screen.gap()?;
        screen.lines(&[("quarantined", told.into())])?;
    }
    Ok(())
}
