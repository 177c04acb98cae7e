//! How fast a member gives up on a leader, and how large things get.

use std::time::Duration;

use openraft::{Config, SnapshotPolicy};

/// The defaults suit hosts a few milliseconds apart that sync within tens of milliseconds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How often a leader is heard of. Also how long one message of the log may take.
    pub heartbeat: Duration,
    /// A member that hears nothing for a time drawn from this range stands for election.
    pub election: (Duration, Duration),
    /// A snapshot is taken after so many entries, and what it covers is dropped from the log, but for a quarter of them.
    pub snapshot_after: u64,
    /// The most a message carries of a snapshot, or of entries unless a single one is larger.
    pub chunk_bytes: u32,
    /// How long a member may take to accept a part of a snapshot; the last part installs it.
    pub snapshot_timeout: Duration,
    /// How long a change of members may take.
    pub change_timeout: Duration,
    /// Whether an entry may be put into the log, asked by the leader: one that members cannot understand would stop them. The
    /// error says why not, to whoever proposed it.
    pub admits: fn(&[u8]) -> Result<(), String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            election: (Duration::from_secs(3), Duration::from_secs(6)),
            snapshot_after: 4096,
            chunk_bytes: 256 * 1024,
            snapshot_timeout: Duration::from_secs(30),
            change_timeout: Duration::from_secs(30),
            admits: |_| Ok(()),
        }
    }
}

/// A setting that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting {field} is {value}, but must be {must}")]
pub struct InvalidSettings {
    pub field: &'static str,
    pub value: String,
    pub must: &'static str,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Settings {
    /// No member has heard of a leader for longer than this, and still has one.
    pub(crate) fn leader_lost_after(&self) -> Duration {
        self.election.1
    }

    fn check(&self) -> Result<(), InvalidSettings> {
        let refuse = |field, value: String, must| Err(InvalidSettings { field, value, must });
        let day = Duration::from_hours(24);
        if self.heartbeat < Duration::from_millis(1) || self.heartbeat > day {
            return refuse("heartbeat", format!("{:?}", self.heartbeat), "1 ms to 1 day");
        }
        if self.election.0 <= self.heartbeat || self.election.1 > day {
            return refuse("election", format!("{:?}", self.election), "longer than the heartbeat, at most 1 day");
        }
        if millis(self.election.0) >= millis(self.election.1) {
            return refuse("election", format!("{:?}", self.election), "a range of at least 1 ms, the lower end first");
        }
        if self.snapshot_after == 0 {
            return refuse("snapshot_after", "0".to_owned(), "at least 1 entry");
        }
        if !(1024..=4 * 1024 * 1024).contains(&self.chunk_bytes) {
            return refuse("chunk_bytes", self.chunk_bytes.to_string(), "1 KiB to 4 MiB");
        }
        if self.snapshot_timeout < Duration::from_millis(1) || self.snapshot_timeout > day {
            return refuse("snapshot_timeout", format!("{:?}", self.snapshot_timeout), "1 ms to 1 day");
        }
        Ok(())
    }

    pub(crate) fn to_config(&self) -> Result<Config, InvalidSettings> {
        self.check()?;
        let config = Config {
            cluster_name: "ledger".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(self.election.0),
            election_timeout_max: millis(self.election.1),
            install_snapshot_timeout: millis(self.snapshot_timeout),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_after),
            // Members that are a little behind catch up from the log.
            max_in_snapshot_log_to_keep: self.snapshot_after / 4,
            // Only a member further behind than a snapshot can bridge is sent one.
            replication_lag_threshold: self.snapshot_after.saturating_mul(2),
            snapshot_max_chunk_size: u64::from(self.chunk_bytes),
            ..Config::default()
        };
        config.validate().map_err(|why| InvalidSettings {
            field: "heartbeat and election",
            value: why.to_string(),
            must: "as openraft wants them",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        let config = Settings::default().to_config().expect("valid");
        assert_eq!((config.heartbeat_interval, config.election_timeout_min), (500, 3000));
        assert_eq!((config.election_timeout_max, config.snapshot_max_chunk_size), (6000, 262_144));
    }

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        let check = |settings: Settings, field: &str| {
            let refused = settings.to_config().expect_err("refused");
            assert_eq!(refused.field, field, "{refused}");
        };
        let default = Settings::default();
        check(Settings { heartbeat: Duration::ZERO, ..default.clone() }, "heartbeat");
        check(
            Settings { election: (Duration::from_millis(400), Duration::from_secs(1)), ..default.clone() },
            "election",
        );
        check(Settings { election: (Duration::from_secs(3), Duration::from_secs(3)), ..default.clone() }, "election");
        check(Settings { snapshot_after: 0, ..default.clone() }, "snapshot_after");
        check(Settings { chunk_bytes: 10, ..default.clone() }, "chunk_bytes");
        check(Settings { snapshot_timeout: Duration::ZERO, ..default }, "snapshot_timeout");
    }
}
