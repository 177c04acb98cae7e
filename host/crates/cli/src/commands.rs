//! What each command asks of the daemon and shows of the answer. One file per noun of the command line.

mod allocation;
pub(crate) mod completion;
mod list;
mod plugin;
mod pool;
mod pool_apply;
mod pool_fields;
mod reservation;
mod watch;

use crate::arguments::{Connection, Online, PoolCommand};
use crate::exit::Failure;
use crate::screen::Screen;
use crate::session::{Patience, connect};

/// Carries out an online command. Whatever is wrong with files and values is told before anything is asked of the daemon.
pub(crate) async fn run(connection: &Connection, online: Online, screen: &mut Screen) -> Result<(), Failure> {
    let ask = async |patience| connect(connection, patience).await;
    match online {
        Online::Pool(PoolCommand::Apply(args)) => {
            let wanted = pool_apply::wanted(&args.files)?;
            let mode = if args.dry_run { pool_apply::Mode::DryRun } else { pool_apply::Mode::Apply };
            pool_apply::apply(&ask(Patience::Timeout).await?, wanted, mode, screen).await
        }
        Online::Pool(PoolCommand::Create(args)) => {
            let draft = pool::draft(&args)?;
            pool::create(&ask(Patience::Timeout).await?, draft, screen).await
        }
        Online::Pool(command) => pool::run(&ask(Patience::Timeout).await?, command, screen).await,
        Online::Allocate(args) => allocation::allocate(&ask(Patience::Timeout).await?, args, screen).await,
        Online::Renew(args) => allocation::renew(&ask(Patience::Timeout).await?, args, screen).await,
        Online::Release(args) => allocation::release(&ask(Patience::Timeout).await?, args, screen).await,
        Online::Get(args) => allocation::get(&ask(Patience::Timeout).await?, args, screen).await,
        Online::Who(args) => allocation::who(&ask(Patience::Timeout).await?, args, screen).await,
        Online::List(args) => list::allocations(&ask(Patience::Timeout).await?, args, screen).await,
        Online::Watch(args) => watch::watch(&ask(Patience::Endless).await?, args, screen).await,
        Online::Explain(args) => allocation::explain(&ask(Patience::Timeout).await?, args, screen).await,
        Online::Reservation(command) => reservation::run(&ask(Patience::Timeout).await?, command, screen).await,
        Online::Plugin(command) => plugin::run(&ask(Patience::Timeout).await?, command, screen).await,
        Online::Completion { .. } => Ok(()),
    }
}
