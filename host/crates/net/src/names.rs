//! Names to addresses, by the system's resolver: `/etc/hosts`, search domains and all.

use std::net::SocketAddr;
use std::time::Duration;

use crate::address::{Hosts, Name};
use crate::limits;

/// What a name stands for now, in order and without repeats. Empty for none.
pub(crate) async fn resolve(name: &Name, within: Duration) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::time::timeout(within, tokio::net::lookup_host((name.host.as_str(), name.port)))
        .await
        .map_err(|_| format!("no answer within {within:?}"))?
        .map_err(|error| error.to_string())?;
    let most = match name.hosts {
        Hosts::One => limits::ADDRESSES,
        Hosts::Each => limits::HOSTS_OF_A_NAME,
    };
    let mut addresses: Vec<_> = found.filter(|address| name.family.has(address.ip())).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(most);
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Family;

    #[tokio::test]
    async fn a_name_gives_the_addresses_of_the_wanted_family() {
        let name = |family| Name { host: "localhost".to_owned(), port: 7000, family, hosts: Hosts::Each };
        let found = resolve(&name(Family::V4), Duration::from_secs(10)).await.unwrap();
        assert_eq!(found, ["127.0.0.1:7000".parse().unwrap()]);
        let found = resolve(&name(Family::V6), Duration::from_secs(10)).await.unwrap();
        assert!(found.iter().all(SocketAddr::is_ipv6));
    }

    #[tokio::test]
    async fn a_name_that_is_none_is_an_error() {
        let name = Name { host: "nobody.invalid".to_owned(), port: 1, family: Family::Any, hosts: Hosts::One };
        assert!(resolve(&name, Duration::from_secs(20)).await.is_err());
    }
}
