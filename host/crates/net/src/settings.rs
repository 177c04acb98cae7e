//! What the network is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::address::PeerAddress;
use crate::error::NetError;
use crate::key::ClusterKey;
use crate::limits;

/// What the network is told at its start; [`Net::start`](crate::Net::start) checks it.
#[derive(Clone, Debug)]
pub struct NetSettings {
    /// Where to listen; port 0 takes any free one. At least one, and without a cluster key only on loopback.
    pub listen: Vec<SocketAddr>,
    /// Whom to look for, and to keep on looking for.
    pub peers: Vec<PeerAddress>,
    /// The secret of the cluster. Without it whoever can connect can speak.
    pub cluster_key: Option<ClusterKey>,
    /// Where the host's key is kept. It must exist.
    pub data_dir: PathBuf,
    /// Tells this process from one that runs on a copy of that directory: the same for each process in this very directory since
    /// the machine was started, and drawn at random for any other.
    pub process: u64,
    /// The versions of the channels to speak: this release's and the one before it, so that two adjacent releases work
    /// together. At most 4.
    pub majors: Vec<u32>,
    /// What this host calls itself, as `nexus/0.1.0`: 1 to 128 printable ASCII characters.
    pub agent: String,
}

impl NetSettings {
    pub(crate) fn check(&self) -> Result<(), NetError> {
        let refuse = |field, value: &dyn ToString, why| Err(NetError::Setting { field, value: value.to_string(), why });
        if self.listen.is_empty() {
            return refuse("listen", &"an empty list", "at least one address is needed");
        }
        if self.listen.len() > limits::ADDRESSES {
            return refuse("listen", &self.listen.len(), "at most 16 addresses are listened on");
        }
        if self.cluster_key.is_none()
            && let Some(open) = self.listen.iter().find(|address| !address.ip().is_loopback())
        {
            return refuse(
                "listen",
                open,
                "without cluster_key anybody who can connect could speak to this host; set cluster_key, or listen on \
                 loopback only",
            );
        }
        if self.peers.len() > limits::TARGETS {
            return refuse("peers", &self.peers.len(), "at most 1024 peers can be configured");
        }
        if self.majors.is_empty() || self.majors.len() > 4 || self.majors.contains(&0) {
            return refuse("majors", &format!("{:?}", self.majors), "1 to 4 versions are needed, counted from 1");
        }
        let printable = self.agent.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if !(1..=limits::AGENT_CHARACTERS).contains(&self.agent.len()) || !printable {
            return refuse("agent", &format!("{:?}", self.agent), "1 to 128 printable ASCII characters are needed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> NetSettings {
        NetSettings {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            peers: Vec::new(),
            cluster_key: None,
            data_dir: PathBuf::new(),
            process: 1,
            majors: vec![1],
            agent: "nexus/0.1.0".to_owned(),
        }
    }

    #[test]
    fn without_a_cluster_key_only_loopback_is_listened_on() {
        settings().check().unwrap();
        let mut open = settings();
        open.listen.push("10.0.0.1:7000".parse().unwrap());
        let error = open.check().unwrap_err().to_string();
        assert!(error.contains("10.0.0.1:7000") && error.contains("cluster_key"), "{error}");
        open.cluster_key = Some("correct horse battery".parse().unwrap());
        open.check().unwrap();
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_name() {
        let check = |field: &str, change: &dyn Fn(&mut NetSettings)| {
            let mut settings = settings();
            change(&mut settings);
            let error = settings.check().unwrap_err().to_string();
            assert!(error.starts_with(&format!("setting {field}:")), "{error}");
        };
        check("listen", &|it| it.listen.clear());
        check("majors", &|it| it.majors.clear());
        check("majors", &|it| it.majors = vec![0]);
        check("agent", &|it| it.agent = "nexus\n".to_owned());
        check("agent", &|it| it.agent.clear());
        check("peers", &|it| it.peers = vec!["10.0.0.1:7000".parse().unwrap(); 1025]);
    }
}
