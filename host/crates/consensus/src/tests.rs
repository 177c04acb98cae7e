//! Members in one process, over a transport that is cut, slow and forgetful on command.

pub(crate) mod machine;
mod net;

mod alone;
mod changes;
mod faults;
mod rubbish;
mod together;
