//! Where a peer may be found, as configured.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::peer::PeerId;

/// Where one peer is, or many.
///
/// - `10.0.0.1:7000`, `[2001:db8::1]:7000`, `/ip4/10.0.0.1/tcp/7000`: one host at this address.
/// - `core-1.example:7000`, `/dns4/core-1.example/tcp/7000` (or `dns6`, `dns`): one host, at one of the name's addresses.
/// - `dns:nexus.svc:7000`: every address of the name is a host of its own (a headless service).
///
/// The forms with slashes may end in `/p2p/PEER`, then only that peer is spoken to there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    pub(crate) place: Place,
    pub(crate) peer: Option<PeerId>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Socket(SocketAddr),
    Name(Name),
}

/// A name that is resolved, again and again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) family: Family,
    pub(crate) hosts: Hosts,
}

/// Which addresses of a name count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    Any,
    V4,
    V6,
}

impl Family {
    pub(crate) fn has(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::V4 => ip.is_ipv4(),
            Self::V6 => ip.is_ipv6(),
        }
    }
}

/// Whether a name's addresses are those of one host or of one host each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Hosts {
    One,
    Each,
}

/// A text that says nowhere to find a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no peer address: {why}; possible are host:port, dns:name:port, /ip4/…/tcp/…, /ip6/…/tcp/… and /dns4/…/tcp/…"
)]
pub struct InvalidPeerAddress {
    text: String,
    why: &'static str,
}

impl FromStr for PeerAddress {
    type Err = InvalidPeerAddress;

    fn from_str(text: &str) -> Result<Self, InvalidPeerAddress> {
        let parsed = if text.len() > 512 {
            Err("it is longer than 512 bytes")
        } else if text.starts_with('/') {
            parse_multiaddr(text)
        } else if let Some(rest) = text.strip_prefix("dns:") {
            parse_name(rest, Hosts::Each)
        } else if let Ok(address) = text.parse::<SocketAddr>() {
            socket(address.ip(), address.port())
        } else {
            parse_name(text, Hosts::One)
        };
        parsed.map_err(|why| InvalidPeerAddress { text: text.chars().take(128).collect(), why })
    }
}

fn socket(ip: IpAddr, port: u16) -> Result<PeerAddress, &'static str> {
    if port == 0 {
        return Err("port 0 cannot be dialed");
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return Err("the address is nobody's");
    }
    Ok(PeerAddress { place: Place::Socket(SocketAddr::new(ip, port)), peer: None })
}

fn named(host: &str, port: u16, family: Family, hosts: Hosts) -> Result<PeerAddress, &'static str> {
    if port == 0 {
        return Err("port 0 cannot be dialed");
    }
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(allowed) {
        return Err("the host is no name of 1 to 253 of A-Z a-z 0-9 . _ -");
    }
    let name = Name { host: host.to_ascii_lowercase(), port, family, hosts };
    Ok(PeerAddress { place: Place::Name(name), peer: None })
}

fn parse_name(text: &str, hosts: Hosts) -> Result<PeerAddress, &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("the port is missing")?;
    let port = port.parse().map_err(|_| "the port is no number from 1 to 65535")?;
    named(host, port, Family::Any, hosts)
}

fn parse_multiaddr(text: &str) -> Result<PeerAddress, &'static str> {
    let address: Multiaddr = text.parse().map_err(|_| "it is no multiaddress")?;
    let mut parts = address.iter();
    let host = parts.next();
    let Some(Protocol::Tcp(port)) = parts.next() else {
        return Err("only tcp is spoken");
    };
    let mut found = match host {
        Some(Protocol::Ip4(ip)) => socket(ip.into(), port),
        Some(Protocol::Ip6(ip)) => socket(ip.into(), port),
        Some(Protocol::Dns(name)) => named(&name, port, Family::Any, Hosts::One),
        Some(Protocol::Dns4(name)) => named(&name, port, Family::V4, Hosts::One),
        Some(Protocol::Dns6(name)) => named(&name, port, Family::V6, Hosts::One),
        _ => Err("it starts with none of ip4, ip6, dns, dns4, dns6"),
    }?;
    match (parts.next(), parts.next()) {
        (None, None) => Ok(found),
        (Some(Protocol::P2p(peer)), None) => {
            found.peer = Some(PeerId(peer));
            Ok(found)
        }
        _ => Err("only /p2p/PEER may follow the port"),
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.peer) {
            (Place::Socket(address), None) => write!(f, "{address}"),
            (Place::Socket(address), Some(peer)) => write!(f, "{}/p2p/{peer}", multiaddr(*address)),
            (Place::Name(name), peer) => {
                match (name.hosts, name.family, peer) {
                    (Hosts::Each, _, _) => write!(f, "dns:{}:{}", name.host, name.port),
                    (Hosts::One, Family::Any, None) => write!(f, "{}:{}", name.host, name.port),
                    (Hosts::One, Family::Any, Some(_)) => write!(f, "/dns/{}/tcp/{}", name.host, name.port),
                    (Hosts::One, Family::V4, _) => write!(f, "/dns4/{}/tcp/{}", name.host, name.port),
                    (Hosts::One, Family::V6, _) => write!(f, "/dns6/{}/tcp/{}", name.host, name.port),
                }?;
                peer.map_or(Ok(()), |peer| write!(f, "/p2p/{peer}"))
            }
        }
    }
}

pub(crate) fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Tcp(address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_shown_as_it_was() {
        let peer = PeerId(libp2p::PeerId::random());
        let forms = [
            "10.0.0.1:7000".to_owned(),
            "[2001:db8::1]:7000".to_owned(),
            "core-1.example:7000".to_owned(),
            "dns:nexus.default.svc:7000".to_owned(),
            "/dns4/core-1.example/tcp/7000".to_owned(),
            format!("/dns6/core-1.example/tcp/7000/p2p/{peer}"),
            format!("/dns/core-1.example/tcp/7000/p2p/{peer}"),
            format!("/ip4/10.0.0.1/tcp/7000/p2p/{peer}"),
        ];
        for form in forms {
            assert_eq!(form.parse::<PeerAddress>().unwrap().to_string(), form);
        }
        assert_eq!("/ip4/10.0.0.1/tcp/7000".parse::<PeerAddress>().unwrap(), "10.0.0.1:7000".parse().unwrap());
    }

    #[test]
    fn what_cannot_be_dialed_is_refused_with_a_reason() {
        let long = "x".repeat(600);
        for (text, why) in [
            ("", "the port is missing"),
            ("core-1", "the port is missing"),
            ("core-1:0", "port 0"),
            ("core-1:70000", "the port is no number"),
            ("0.0.0.0:7000", "nobody's"),
            ("dns::7000", "the host is no name"),
            ("co re:7000", "the host is no name"),
            ("/ip4/10.0.0.1/udp/7000", "only tcp"),
            ("/ip4/10.0.0.1/tcp/7000/ws", "only /p2p/PEER"),
            ("/unix/tmp", "only tcp"),
            ("/nothing/at/all", "no multiaddress"),
            (&long, "longer than 512"),
        ] {
            let error = text.parse::<PeerAddress>().unwrap_err().to_string();
            assert!(error.contains(why) && error.len() < 400, "{text:?}: {error}");
        }
    }
}
