//! The factory: from an order to images.
//!
//! Start at [`order`]: what somebody wants. [`plan`] finds the plugins, asks them, and refuses what
//! cannot work, with every reason at once. `run` makes the records and goes through the tiers;
//! each image is made by one `worker` process, watched by a supervisor.

mod accept;
mod base;
mod bounds;
mod branches;
mod callback;
pub mod cgroup;
mod checks;
pub mod configuration;
mod credentials;
mod delete;
mod failure;
pub mod import;
mod journal;
mod limits;
mod media_type;
mod notice;
pub mod order;
pub mod parameters;
pub mod plan;
mod planner;
pub mod protocol;
mod queue;
pub mod request;
mod run;
mod secrets;
mod side_by_side;
mod slots;
mod supervisor;
mod unserved;
pub mod worker;

pub use accept::Accepted;
pub use callback::CallbackAddress;
pub use delete::Deleter;
pub use limits::{Limits, MIN_FREE_BYTES};
pub use notice::{NoObserver, Notice, Observer, What};
pub use planner::Planner;
pub use queue::{Queue, QueueError, Submission, Surroundings};
pub use run::{Built, Factory};
pub use slots::{Holder, Slot, SlotCounts, SlotKind, Slots};
pub use unserved::{Unserved, unserved};

#[cfg(test)]
mod tests;
