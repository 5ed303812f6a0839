//! The states of an image and the one table of transitions between them.
//!
//! `NEW → PENDING → BUILDING → COMPLETE | FAILED | SKIPPED | CANCELLED`, and from each of these four
//! `→ DELETING → DELETED | DELETEFAILED`. What has not begun to build may end without having built,
//! and a failed deletion may be tried again. Everything else is a [`TransitionError`].

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// State of an image. Written as upstream writes it: `COMPLETE`, `DELETEFAILED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// Recorded, not yet looked at.
    New,
    /// Waiting for an image of a lower tier, or for its turn.
    Pending,
    /// A worker is building it.
    Building,
    /// Its body is there.
    Complete,
    /// The build ended with an error.
    Failed,
    /// A plugin decided that it is not to be built.
    Skipped,
    /// Somebody cancelled the build.
    Cancelled,
    /// Being deleted.
    Deleting,
    /// Gone. The last event of an image; no record has this state for longer than a transaction.
    Deleted,
    /// The deletion ended with an error.
    DeleteFailed,
}

/// A transition that is not in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an image that is {from} cannot become {to}")]
pub struct TransitionError {
    /// The state that the image has.
    pub from: Status,
    /// The state that was asked for.
    pub to: Status,
}

impl Status {
    /// All states.
    pub const ALL: [Self; 10] = [
        Self::New,
        Self::Pending,
        Self::Building,
        Self::Complete,
        Self::Failed,
        Self::Skipped,
        Self::Cancelled,
        Self::Deleting,
        Self::Deleted,
        Self::DeleteFailed,
    ];

    /// The table of transitions: the states that may follow this one.
    pub const fn next(self) -> &'static [Self] {
        match self {
            Self::New => &[Self::Pending, Self::Failed, Self::Skipped, Self::Cancelled],
            Self::Pending => &[Self::Building, Self::Failed, Self::Skipped, Self::Cancelled],
            Self::Building => &[Self::Complete, Self::Failed, Self::Skipped, Self::Cancelled],
            Self::Complete
            | Self::Failed
            | Self::Skipped
            | Self::Cancelled
            | Self::DeleteFailed => &[Self::Deleting],
            Self::Deleting => &[Self::Deleted, Self::DeleteFailed],
            Self::Deleted => &[],
        }
    }

    /// Checks the table.
    ///
    /// # Errors
    /// [`TransitionError`] when `to` does not follow this state.
    pub fn check(self, to: Self) -> Result<(), TransitionError> {
        if self.next().contains(&to) { Ok(()) } else { Err(TransitionError { from: self, to }) }
    }

    /// Whether the image stays as it is until somebody deletes it.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::New | Self::Pending | Self::Building | Self::Deleting)
    }

    /// Whether the image is still to be built, or is being built.
    pub const fn is_under_way(self) -> bool {
        matches!(self, Self::New | Self::Pending | Self::Building)
    }

    /// The state as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Pending => "PENDING",
            Self::Building => "BUILDING",
            Self::Complete => "COMPLETE",
            Self::Failed => "FAILED",
            Self::Skipped => "SKIPPED",
            Self::Cancelled => "CANCELLED",
            Self::Deleting => "DELETING",
            Self::Deleted => "DELETED",
            Self::DeleteFailed => "DELETEFAILED",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Status {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownStatus(text.to_owned()))
    }
}

/// The text names no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a state of an image")]
pub struct UnknownStatus(String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn written_and_serialised_names_are_the_same_and_parse_back() {
        for status in Status::ALL {
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
            assert_eq!(status.as_str().parse(), Ok(status));
        }
        assert!("COMPLETED".parse::<Status>().is_err());
    }

    #[test]
    fn only_a_deletion_follows_a_terminal_state() {
        for status in Status::ALL.into_iter().filter(|status| status.is_terminal()) {
            let expected: &[Status] =
                if status == Status::Deleted { &[] } else { &[Status::Deleting] };
            assert_eq!(status.next(), expected, "after {status}");
        }
    }

    proptest! {
        #[test]
        fn no_sequence_of_requests_builds_twice_or_comes_back_from_deletion(
            requests in proptest::collection::vec(0..Status::ALL.len(), 0..60)
        ) {
            let mut status = Status::New;
            let mut visited = vec![status];
            for to in requests.into_iter().map(|index| Status::ALL[index]) {
                match status.check(to) {
                    Ok(()) => { status = to; visited.push(to); },
                    Err(error) => prop_assert_eq!(error, TransitionError { from: status, to }),
                }
            }
            let count = |wanted| visited.iter().filter(|status| **status == wanted).count();
            prop_assert!(count(Status::Building) <= 1 && count(Status::Deleted) <= 1);
            if count(Status::Complete) == 1 {
                prop_assert_eq!(&visited[..4],
                    &[Status::New, Status::Pending, Status::Building, Status::Complete]);
            }
            if let Some(at) = visited.iter().position(|status| *status == Status::Deleting) {
                prop_assert!(visited[at - 1].is_terminal());
                prop_assert!(visited[at..].iter().all(|status| matches!(
                    status, Status::Deleting | Status::Deleted | Status::DeleteFailed)));
            }
        }
    }
}
