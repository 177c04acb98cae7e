//! From the command line's options to a connection.

use api::grpc::client::{Client, ClientSettings};

use crate::arguments::Connection;
use crate::exit::Failure;

/// Whether calls have an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as `--timeout` says.
    Timeout,
    /// For watches.
    Endless,
}

/// Connects as the options say.
pub(crate) async fn connect(connection: &Connection, patience: Patience) -> Result<Client, Failure> {
    let token = match &connection.token_file {
        Some(path) => {
            Some(std::fs::read_to_string(path).map_err(|source| Failure::Unreadable { path: path.clone(), source })?)
        }
        None => connection.token.clone(),
    };
    let settings = ClientSettings {
        server: connection.server.clone(),
        ca: connection.ca.clone(),
        identity: connection.cert.clone().zip(connection.cert_key.clone()),
        token,
        tenant: connection.tenant.clone(),
        timeout: match patience {
            Patience::Timeout => Some(connection.timeout),
            Patience::Endless => None,
        },
    };
    Ok(Client::connect(&settings).await?)
}
