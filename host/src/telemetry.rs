//! Where log lines go and how they look, and the registry that `/metrics` shows.

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Starts logging to standard error. Called once.
pub(crate) fn start(config: &Config) -> anyhow::Result<()> {
    // What these say of a host that is away or not allowed, over and over, is said once by ours; who names them gets them all
    // the same.
    let filter =
        EnvFilter::try_new(format!("openraft=off,libp2p_swarm=warn,libp2p_gossipsub=error,{}", config.log_level))
            .with_context(|| {
                format!("log.level: {:?} is not a level (error, warn, info, debug, trace) or filter", config.log_level)
            })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}
