//! Images: what is known about them, what may become of them, and where they are kept.
//!
//! Start at [`Store`]: it keeps one [`ImageRecord`] per image and every [`Event`] in SQLite, and a folder per
//! image beside it. [`Status`] holds the one table of transitions. Nothing here builds, prints or knows
//! what a plugin is; the factory decides what happens, this module makes sure that it is written down.

mod callback;
mod events;
mod id;
mod job;
mod record;
mod status;
mod store;
mod tree;

pub use callback::{CallbackCounts, CallbackState, Message, NewCallback};
pub use events::{Event, EventKind, LogLine, LogStream};
pub use id::{ImageId, JobId, ParseImageIdError, ParseJobIdError};
pub use job::{Job, JobState, NewJob};
pub use record::{
    BOOT_ARTIFACTS, BuiltBy, Failure, ImageRecord, NewImage, StatusDetail, StoredArtifact,
    TemplateRecord,
};
pub use status::{Status, TransitionError, UnknownStatus};
pub use store::{
    Body, BuildTotals, CheckReport, Damage, DeleteMode, Deletion, Filter, Health, ImageTotals,
    Incoming, Listing, OwnedImage, Recovery, Room, Scratch, Store, StoreError, Temporary, Update,
    inspect,
};
pub use tree::{TreeError, remove_tree};
