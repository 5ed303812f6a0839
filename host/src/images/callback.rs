//! Callbacks: who is told of what becomes of the images of a job, and how far that is.
//!
//! A message is written in the same transaction as the change that it tells of, so that none is missed,
//! and kept until its receiver has acknowledged it or was given up.

use plugin_api::Tier;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Event, ImageRecord};

/// A receiver of a job that is being accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCallback {
    /// Its address, sealed.
    pub address: Vec<u8>,
    /// Its address for people, without what is secret in it.
    pub shown: String,
}

/// How far a receiver has been told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct CallbackState {
    /// Its address, without what is secret in it.
    pub url: String,
    /// Messages that it acknowledged.
    pub delivered: u64,
    /// Messages that it is yet to be told.
    pub pending: u64,
    /// Messages that were given up.
    pub failed: u64,
    /// How often the message was sent that is next.
    pub attempts: u32,
    /// Why it was not told, the last time.
    pub last_error: Option<String>,
}

/// A change that a receiver is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The receiver.
    pub callback: i64,
    /// The change.
    pub event: Event,
    /// Tier of the image.
    pub tier: Tier,
    /// The image after the change; missing once it is gone.
    pub record: Option<Box<ImageRecord>>,
    /// How often it has been sent.
    pub attempts: u32,
}

/// Messages of all receivers, since the store was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallbackCounts {
    /// Acknowledged.
    pub delivered: u64,
    /// To be sent.
    pub pending: u64,
    /// Given up.
    pub failed: u64,
}
