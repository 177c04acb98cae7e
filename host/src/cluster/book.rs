//! The ledger as the replicated log drives it.

use std::sync::Arc;

use consensus::Machine;
use kernel::ClusterId;
use kernel::ledger::{Ledger, LedgerEntry, LedgerError, LedgerReply, Wish};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

/// The ledger, and word when it changed.
#[derive(Debug)]
pub(super) struct Book {
    ledger: RwLock<Arc<Ledger>>,
    /// What was wished when the ledger stood at an entry: every shard is looked at for it, and only the ledger changes the answer.
    wishes: Mutex<(u64, Arc<[Wish]>)>,
    changed: watch::Sender<u64>,
}

/// What the ledger made of an entry, on its way to whoever proposed it.
pub(super) type Decision = Result<LedgerReply, LedgerError>;

impl Book {
    pub(super) fn new(cluster: ClusterId) -> Arc<Self> {
        let (changed, _) = watch::channel(0);
        let wishes = Mutex::new((0, Arc::default()));
        Arc::new(Self { ledger: RwLock::new(Arc::new(Ledger::new(cluster))), wishes, changed })
    }

    /// [`Ledger::wishes`] of a ledger of this book.
    pub(super) fn wishes(&self, ledger: &Ledger) -> Arc<[Wish]> {
        let mut known = self.wishes.lock();
        if known.0 != ledger.last_index() {
            *known = (ledger.last_index(), ledger.wishes().into());
        }
        Arc::clone(&known.1)
    }

    /// The ledger as it is now.
    pub(super) fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger.read())
    }

    /// The index of the last entry that was applied, whenever it grows.
    pub(super) fn changed(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    pub(super) fn machine(self: &Arc<Self>) -> Box<dyn Machine> {
        Box::new(Follower(Arc::clone(self)))
    }
}

/// An entry of the log. One that this build cannot read is of a newer one: to pass over it would make another ledger than
/// the other hosts have.
pub(super) fn read_entry(bytes: &[u8]) -> Result<LedgerEntry, String> {
    let newer = |why| format!("the entry cannot be read ({why}): it is of a newer build, so install that here, too");
    postcard::from_bytes(bytes).map_err(newer)
}

struct Follower(Arc<Book>);

impl Machine for Follower {
    fn apply(&mut self, index: u64, entry: &[u8]) -> Result<Vec<u8>, String> {
        let entry = read_entry(entry)?;
        let outcome = {
            let mut ledger = self.0.ledger.write();
            Arc::make_mut(&mut ledger).apply(index, &entry).outcome
        };
        self.0.changed.send_replace(index);
        let decision: Result<Decision, String> = Ok(outcome);
        Ok(postcard::to_stdvec(&decision).expect("a decision has a form on the wire"))
    }

    fn passed(&mut self, index: u64) {
        self.0.changed.send_replace(index);
    }

    fn snapshot(&self) -> Vec<u8> {
        postcard::to_stdvec(&*self.0.ledger()).expect("a ledger has a form on the wire")
    }

    fn check(&self, _: u64, snapshot: &[u8]) -> Result<(), String> {
        self.read(snapshot).map(drop)
    }

    fn restore(&mut self, index: u64, snapshot: &[u8]) -> Result<(), String> {
        let ledger = self.read(snapshot)?;
        *self.0.ledger.write() = Arc::new(ledger);
        self.0.changed.send_replace(index);
        Ok(())
    }
}

impl Follower {
    fn read(&self, snapshot: &[u8]) -> Result<Ledger, String> {
        let ledger: Ledger = postcard::from_bytes(snapshot).map_err(|why| why.to_string())?;
        let (found, ours) = (ledger.cluster(), self.0.ledger().cluster());
        if found != ours {
            return Err(format!("the snapshot is of cluster {found}, this host belongs to {ours}"));
        }
        Ok(ledger)
    }
}
