//! What a daemon can be asked for: the routes of `/v1`, with the types of the store.

use hyper::Method;
use hyper::header::{HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::follow::Retry;
use super::{Asked, ClientError, Follower, Server, Until};
use crate::factory::request::BuildRequest;
use crate::images::{DeleteMode, Filter, ImageId, ImageRecord, JobId};
use crate::plugins::{Schemas, TargetEntry};

/// Most records that one answer holds.
const PAGE: u32 = 1000;

/// An accepted request.
#[derive(Debug, Deserialize)]
pub struct Submitted {
    /// Its job; missing when everything was there.
    pub job: Option<JobId>,
    /// Its images, lowest tier first.
    pub images: Vec<ImageRecord>,
    /// Those of them that were there.
    pub reused: Vec<ImageId>,
}

#[derive(Deserialize)]
struct Page {
    images: Vec<ImageRecord>,
}

#[derive(Deserialize)]
struct Targets {
    targets: Vec<TargetEntry>,
}

#[derive(Deserialize)]
struct Plugins {
    plugins: Vec<Value>,
}

impl Server {
    /// Images that pass `filter`, the newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn images(&self, filter: &Filter) -> Result<Vec<ImageRecord>, ClientError> {
        let limit = filter.limit.map_or(usize::MAX, |limit| limit as usize);
        let page = filter.limit.map_or(PAGE, |limit| PAGE.min(limit.max(1)));
        let mut found: Vec<ImageRecord> = Vec::new();
        let mut offset = filter.offset;
        while found.len() < limit {
            let path = format!("/v1/images?{}&limit={page}&offset={offset}", query(filter));
            let Page { images } = self.get(&path)?;
            let is_last = images.len() < page as usize;
            offset += page;
            for image in images {
                // New images move the older ones to later pages.
                let is_known = found.iter().rev().take(page as usize).any(|old| old.id == image.id);
                // A comma in a label cannot be sent.
                if !is_known && filter.labels.iter().all(|(k, v)| image.labels.get(k) == Some(v)) {
                    found.push(image);
                }
            }
            if is_last {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The one image that `reference` means: an identifier, the beginning of one, or a name.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn image(&self, reference: &str) -> Result<ImageRecord, ClientError> {
        self.get(&format!("/v1/images/{}", encoded(reference)))
    }

    /// Everything that happened to an image, from the beginning.
    pub fn follow(&self, id: ImageId, until: Until) -> Follower<'_> {
        let query = match until {
            Until::Now => "follow=false",
            Until::End => "until_end=true",
            Until::Dropped => "",
        };
        Follower::new(self, format!("/v1/images/{id}/events?{query}"), until)
    }

    /// Everything that happened and will happen to several images, from the beginning.
    pub fn follow_all(&self, ids: &[ImageId]) -> Follower<'_> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let path = format!("/v1/events?after=0&images={}", ids.join(","));
        Follower::new(self, path, Until::Dropped)
    }

    /// Asks to cancel a build.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn cancel(&self, reference: &str) -> Result<ImageRecord, ClientError> {
        let path = format!("/v1/images/{}/cancel", encoded(reference));
        self.ask(&Asked::new(Method::POST, &path))
    }

    /// The images that deleting `reference` would delete, in order.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn deletion_order(
        &self,
        reference: &str,
        mode: DeleteMode,
    ) -> Result<Vec<ImageRecord>, ClientError> {
        let path = format!("/v1/images/{}?dry_run=true{}", encoded(reference), how(mode));
        let Page { images } = self.ask(&Asked::new(Method::DELETE, &path))?;
        Ok(images)
    }

    /// Deletes an image; at its provider with `access`, in the background.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn delete(&self, id: ImageId, mode: DeleteMode, access: &Value) -> Result<(), ClientError> {
        let path = format!("/v1/images/{id}?{}", how(mode));
        self.send(&Asked::new(Method::DELETE, &path).with(access)).map(drop)
    }

    /// What a build would do.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with every reason against it.
    pub fn plan(&self, request: &BuildRequest) -> Result<Value, ClientError> {
        let document = json!(request);
        self.ask(&Asked::new(Method::POST, "/v1/builds?dry_run=true").with(&document))
    }

    /// Has images built. A request whose answer is lost is sent again, and built once.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with every reason against it; [`ClientError::Cancelled`] while nobody
    /// knows whether the answer was lost or the request.
    pub fn submit(
        &self,
        request: &BuildRequest,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Submitted, ClientError> {
        let document = json!(request);
        let key = HeaderValue::try_from(Uuid::new_v4().to_string())
            .map_err(|_| self.no_daemon("no key can be made"))?;
        let name = HeaderName::from_static("idempotency-key");
        let asked = Asked::new(Method::POST, "/v1/builds").with(&document).header(name, key);
        let mut retry = Retry::default();
        let mut was_sent = false;
        loop {
            match self.ask(&asked) {
                // Somebody who is not there at all is no reason to wait.
                Err(error) if error.is_passing() && (was_sent || !error.is_unsent()) => {
                    was_sent = true;
                    retry.wait(self, error, cancelled)?;
                },
                other => return other,
            }
        }
    }

    /// The place of a job in the queue, 1 for the one that starts next; `None` once it has begun.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn position(&self, job: JobId) -> Result<Option<u64>, ClientError> {
        let found: Value = self.get(&format!("/v1/jobs/{job}"))?;
        Ok(found["position"].as_u64())
    }

    /// Everything that can be built.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn targets(&self) -> Result<Vec<TargetEntry>, ClientError> {
        self.get::<Targets>("/v1/targets").map(|found| found.targets)
    }

    /// What the plugin of a target may be told.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn schemas(&self, target: &str) -> Result<Schemas, ClientError> {
        self.get(&format!("/v1/targets/{}", encoded(target)))
    }

    /// Every plugin, described.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn plugins(&self) -> Result<Vec<Value>, ClientError> {
        self.get::<Plugins>("/v1/plugins").map(|found| found.plugins)
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn query(filter: &Filter) -> String {
    let states: Vec<&str> = filter.status.iter().map(|status| status.as_str()).collect();
    let is_plain = |text: &str| !text.contains(',');
    let labels: Vec<String> = filter
        .labels
        .iter()
        .filter(|(key, value)| is_plain(key) && is_plain(value))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let fields = [
        ("tier", filter.tier.map(|tier| tier.to_string())),
        ("status", Some(states.join(","))),
        ("target", filter.target.clone()),
        ("name", filter.name.clone()),
        ("labels", Some(labels.join(","))),
    ];
    let given = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let given = given.filter(|(name, value)| !value.is_empty() || *name == "target");
    given.map(|(name, value)| format!("{name}={}", encoded(&value))).collect::<Vec<_>>().join("&")
}

fn how(mode: DeleteMode) -> &'static str {
    match mode {
        DeleteMode::Refuse => "",
        DeleteMode::Cascade => "&cascade=true",
        DeleteMode::Force => "&force=true",
    }
}
