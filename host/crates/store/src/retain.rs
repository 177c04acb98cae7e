//! Which log files stay although a checkpoint covers them: other hosts have not everything in them yet.
//!
//! Files go oldest first and only at the end of a cycle or between two, after a manifest that says how far the log still
//! reaches back. So whoever asks for what was in them is told so, and never given a log with a hole.

use std::collections::BTreeMap;
use std::sync::Arc;

use kernel::{Origin, Seq};

use crate::error::StoreError;
use crate::history::Reader;
use crate::log::{Contents, LogFile, Of, scan_kept};
use crate::manifest::{Manifest, Reach};
use crate::medium::Medium;

/// More files than this are not kept, however small they are: each is an open file.
const MOST_FILES: usize = 256;

/// What must be kept for other hosts. Nothing, unless one was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    floor: BTreeMap<Of, Seq>,
    pub(crate) most_bytes: u64,
}

impl Retention {
    /// Nobody told yet who has what, so nothing goes that the last run of the daemon had to keep.
    pub(crate) fn unknown(most_bytes: u64) -> Self {
        Self { floor: BTreeMap::new(), most_bytes }
    }

    /// How many of these files need not be kept, from the oldest on.
    pub(crate) fn droppable(&self, kept: &[Arc<LogFile>]) -> usize {
        let mut bytes: u64 = kept.iter().map(|log| log.durable_bytes()).sum();
        let mut files = kept.len();
        for log in kept {
            let too_much = bytes > self.most_bytes || files > MOST_FILES;
            if !too_much && !self.everybody_has(&log.index().contents) {
                break;
            }
            bytes -= log.durable_bytes();
            files -= 1;
        }
        kept.len() - files
    }

    fn everybody_has(&self, contents: &Contents) -> bool {
        contents.numbers.iter().all(|(of, numbers)| self.floor.get(of).is_some_and(|floor| numbers.last <= *floor))
    }
}

impl Manifest {
    fn reach(&mut self, of: Of) -> &mut Reach {
        self.origins.entry(of).or_default()
    }

    /// Takes in what a checkpoint covers now.
    pub(crate) fn note_covered(&mut self, contents: &Contents) {
        for (of, numbers) in &contents.numbers {
            let reach = self.reach(*of);
            reach.last = reach.last.max(numbers.last);
        }
        for (origin, through) in &contents.heard {
            let reach = self.reach(Some(*origin));
            reach.heard = reach.heard.max(*through);
        }
        for (origin, through) in &contents.adopted {
            let reach = self.reach(Some(*origin));
            reach.gone = reach.gone.max(*through);
        }
    }

    /// Of the files that a checkpoint covers these stay; those go.
    pub(crate) fn settle_kept(&mut self, kept: &[Arc<LogFile>], gone: &[Arc<LogFile>]) {
        for log in gone {
            for (of, numbers) in &log.index().contents.numbers {
                let reach = self.reach(*of);
                reach.gone = reach.gone.max(numbers.last);
            }
        }
        self.kept_log = kept.first().map_or(self.first_log, |log| log.ordinal);
    }

    /// Nothing that the checkpoint covers can be given to other hosts any more.
    pub(crate) fn keep_nothing(&mut self) {
        let covered = self.covered;
        self.reach(None).gone = covered;
        for (of, reach) in &mut self.origins {
            if of.is_some() {
                reach.gone = reach.gone.max(reach.last).max(reach.heard);
            }
        }
        self.kept_log = self.first_log;
    }

    /// The files that are kept, as a start finds them.
    pub(crate) fn open_kept(&mut self, medium: &dyn Medium) -> Result<Vec<Arc<LogFile>>, StoreError> {
        let found = scan_kept(medium, self.kept_log, self.first_log, self.covered)?;
        if found.is_none() {
            self.keep_nothing();
        }
        Ok(found.unwrap_or_default())
    }
}

impl Reader {
    /// From now on a log file goes only if a checkpoint covers it and every other member has what is in it: the operations
    /// of each origin (`None`: this host's own) up to the floor's number. An origin that is not in the floor was
    /// acknowledged by nobody. Whatever the floor, at most `most_bytes` of such files are kept, and never more than
    /// [`retain_bytes`](crate::StoreSettings::retain_bytes); 0 keeps nothing, as for a host that is alone.
    ///
    /// The [compactor](crate::Compactor) does the work, and notes how much is kept: after a start and until this is called,
    /// everything is kept up to as many bytes.
    pub fn retain(&self, floor: BTreeMap<Option<Origin>, Seq>, most_bytes: u64) {
        let own = Origin::from(self.identity().origin);
        let floor = floor.into_iter().map(|(of, seq)| (of.filter(|of| *of != own), seq)).collect();
        let most_bytes = most_bytes.min(self.shared.settings.retain_bytes);
        self.shared.state.lock().retention = Retention { floor, most_bytes };
        self.shared.bell.notify_all();
    }
}
