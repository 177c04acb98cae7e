//! `nexus plugin list`, `nexus plugin retire` and `nexus plugin resume`.

use nexus_proto::v1::{ListPluginsRequest, ResumePluginRequest, RetirePluginRequest};

use crate::arguments::{Connection, PluginCommand};
use crate::document::Fields;
use crate::exit::Failure;
use crate::screen::Screen;
use crate::session::{Patience, connect};
use crate::shape::{PLUGIN_COLUMNS, plugin_row};

pub(super) async fn run(connection: &Connection, command: PluginCommand, screen: &mut Screen) -> Result<(), Failure> {
    let client = connect(connection, Patience::Timeout).await?;
    match command {
        PluginCommand::List => {
            let answer = client.plugins().list_plugins(ListPluginsRequest {}).await?.into_inner();
            let rows: Vec<_> = answer.plugins.iter().map(plugin_row).collect();
            screen.list("plugins", PLUGIN_COLUMNS, &rows)?;
        }
        PluginCommand::Retire { type_id } => {
            client.plugins().retire_plugin(RetirePluginRequest { r#type: type_id.clone() }).await?;
            let document = Fields::default().text("retired", &type_id).done();
            screen.one(&document, &[("retired", type_id.into())])?;
        }
        PluginCommand::Resume { type_id } => {
            client.plugins().resume_plugin(ResumePluginRequest { r#type: type_id.clone() }).await?;
            let document = Fields::default().text("resumed", &type_id).done();
            screen.one(&document, &[("resumed", type_id.into())])?;
        }
    }
    Ok(())
}
