//! Jobs: accepted requests, and the images that they make.
//!
//! A job outlives the process that accepted it. Its request is sealed before it comes here, since it may
//! hold credentials.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{ImageId, JobId, NewCallback};

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Accepted, and not begun.
    Queued,
    /// Its images are built, one after the other.
    Running,
    /// Every image has ended.
    Done,
}

impl JobState {
    /// The state as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
        }
    }
}

/// An accepted request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its identifier.
    pub id: JobId,
    /// Who asked for it.
    pub user: String,
    /// How far it is.
    pub state: JobState,
    /// Its images, lowest tier first: the one that it starts from, and those that it makes.
    pub images: Vec<ImageId>,
    /// Those whose records were made for it.
    pub made: Vec<ImageId>,
    /// When it was accepted.
    pub created: Timestamp,
}

/// A request that is being accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// Who asks.
    pub user: String,
    /// Its images; those that it makes are in the store and `PENDING`.
    pub images: Vec<ImageId>,
    /// Those whose records were made for it.
    pub made: Vec<ImageId>,
    /// What is asked for, sealed.
    pub request: Vec<u8>,
    /// A word of the client by which it recognises its own request.
    pub idempotency_key: Option<String>,
    /// Who is told of every change of state of its images.
    pub callbacks: Vec<NewCallback>,
}
