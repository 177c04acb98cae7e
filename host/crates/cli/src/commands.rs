//! What each command asks of the daemon and shows of the answer. One file per noun of the command line.
//!
//! A command reads its files before it connects: whatever is wrong with them is told before anything is asked.

mod allocation;
mod backup;
mod cluster;
pub(crate) mod completion;
mod conflicts;
mod list;
mod note;
mod plugin;
mod pool;
mod pool_apply;
mod pool_fields;
mod reservation;
mod watch;

use crate::arguments::{Connection, Online};
use crate::exit::Failure;
use crate::screen::Screen;

/// Carries out an online command.
pub(crate) async fn run(connection: &Connection, online: Online, screen: &mut Screen) -> Result<(), Failure> {
    match online {
        Online::Pool(command) => pool::run(connection, command, screen).await,
        Online::Allocate(args) => allocation::allocate(connection, args, screen).await,
        Online::Renew(args) => allocation::renew(connection, args, screen).await,
        Online::Release(args) => allocation::release(connection, args, screen).await,
        Online::Get(args) => allocation::get(connection, args, screen).await,
        Online::Who(args) => allocation::who(connection, args, screen).await,
        Online::List(args) => list::allocations(connection, args, screen).await,
        Online::Watch(args) => watch::watch(connection, args, screen).await,
        Online::Explain(args) => allocation::explain(connection, args, screen).await,
        Online::Reservation(command) => reservation::run(connection, command, screen).await,
        Online::Conflicts(command) => conflicts::run(connection, command, screen).await,
        Online::Note(command) => note::run(connection, command, screen).await,
        Online::Plugin(command) => plugin::run(connection, command, screen).await,
        Online::Cluster(command) => cluster::run(connection, command, screen).await,
        Online::Shard(command) => cluster::shard(connection, command, screen).await,
        Online::Node(command) => cluster::node(connection, command, screen).await,
        Online::Backup(args) => backup::backup(connection, args, screen).await,
        Online::Hashring => cluster::hashring(connection, screen).await,
        // Needs no daemon and was served before.
        Online::Completion { .. } => Ok(()),
    }
}
