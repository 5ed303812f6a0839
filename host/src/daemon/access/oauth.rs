//! Requests signed with OAuth 1.0a (RFC 5849), as clients of ImageFactory send them.
//!
//! Two-legged: a consumer has a key and a secret, and there is no token. The signature is over method, URL
//! and parameters; the fields of a form are among them, another body is when its digest is
//! (`oauth_body_hash`). A signature is good for a few minutes and for one request.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::signed::{Signed, base_string, encode, parameters};
use crate::settings::{ConsumerError, Secret, ServeSettings};
use crate::tokens::Scopes;

/// How far the clock of a client may be off, in seconds; what upstream allows.
const WINDOW_SECONDS: i64 = 300;
/// Longest nonce, in bytes.
const MAX_NONCE_BYTES: usize = 256;
/// Requests that are remembered, so that none is taken twice: some 6 MB.
const MAX_USED: usize = 100_000;

/// Why a signed request is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::daemon) enum Unsigned {
    /// The header does not read.
    #[error("the header `Authorization` is no list of OAuth parameters, each given once")]
    Malformed,
    /// Something is missing.
    #[error("the parameter `{0}` is missing or wrong")]
    Parameter(&'static str),
    /// The signature is of a kind that nobody reads here.
    #[error("the signature method is neither HMAC-SHA1 nor HMAC-SHA256")]
    Method,
    /// The clocks differ, or the request is old.
    #[error("the timestamp is {0} s away from the clock of the daemon, more than 300 s")]
    Timestamp(u64),
    /// The daemon does not remember what it took at that time.
    #[error("the timestamp is from before the daemon began to remember requests: sign it anew")]
    Forgotten,
    /// Another body than the one that was signed.
    #[error("the body is not the one of `oauth_body_hash`")]
    Body,
    /// The signature is wrong, or its consumer unknown: nobody is told which.
    #[error("the signature is wrong, or its consumer is unknown")]
    Signature,
    /// It was taken before.
    #[error("the nonce was used before")]
    Used,
}

/// Consumers by key, with what each signs with and may do.
type Consumers = HashMap<String, (Secret, Scopes)>;

/// The consumers, and what they have used up.
#[derive(Debug)]
pub(super) struct Oauth {
    consumers: RwLock<Arc<Consumers>>,
    used: Mutex<Used>,
}

/// Requests that were taken.
#[derive(Debug)]
struct Used {
    /// Timestamps before this are refused: what was taken then is not remembered.
    floor: i64,
    /// Timestamp, and a digest of consumer and nonce.
    taken: BTreeSet<(i64, [u8; 32])>,
    most: usize,
}

impl Oauth {
    /// Knows the consumers of `settings`.
    ///
    /// # Errors
    /// What is wrong with one.
    pub(super) fn open(settings: &ServeSettings) -> Result<Self, ConsumerError> {
        let floor = Timestamp::now().as_second();
        Ok(Self {
            consumers: RwLock::new(Arc::new(resolve(settings)?)),
            used: Mutex::new(Used { floor, taken: BTreeSet::new(), most: MAX_USED }),
        })
    }

    /// Knows those of `settings` from now on.
    ///
    /// # Errors
    /// What is wrong with one; those of before stay.
    pub(super) fn reload(&self, settings: &ServeSettings) -> Result<(), ConsumerError> {
        let consumers = Arc::new(resolve(settings)?);
        *self.consumers.write().unwrap_or_else(PoisonError::into_inner) = consumers;
        Ok(())
    }

    /// Whether there is any consumer.
    pub(super) fn is_in_use(&self) -> bool {
        !self.consumers().is_empty()
    }

    fn consumers(&self) -> Arc<Consumers> {
        Arc::clone(&self.consumers.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The key of the consumer that signed a request with `header`, the credentials behind `OAuth`, and
    /// what it may do.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(super) fn verify(
        &self,
        header: &str,
        signed: &Signed<'_>,
    ) -> Result<(String, Scopes), Unsigned> {
        self.verify_at(header, signed, Timestamp::now().as_second())
    }

    fn verify_at(
        &self,
        header: &str,
        signed: &Signed<'_>,
        now: i64,
    ) -> Result<(String, Scopes), Unsigned> {
        let presented = Presented::read(header, now)?;
        if presented.body_hash.as_ref().is_some_and(|hash| !is_digest(hash, signed.body)) {
            return Err(Unsigned::Body);
        }
        let consumers = self.consumers();
        let known = consumers.get(&presented.key);
        // An unknown consumer takes as long as a known one. The scheme is not ours to know: a proxy may
        // have taken the encryption away.
        let secret = known.map_or("", |(secret, _)| secret.expose());
        let right = ["http", "https"].map(|scheme| {
            let text = base_string(signed, scheme, &presented.given);
            presented.method.verifies(secret, &text, &presented.signature)
        });
        match known {
            Some((_, scopes)) if right.contains(&true) => {
                self.take(&presented, now)?;
                Ok((presented.key, scopes.clone()))
            },
            _ => Err(Unsigned::Signature),
        }
    }

    /// Notes a request that is right, unless it was taken before.
    fn take(&self, presented: &Presented, now: i64) -> Result<(), Unsigned> {
        let digest = Sha256::new()
            .chain_update(&presented.key)
            .chain_update(" ")
            .chain_update(&presented.nonce);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if presented.time < used.floor {
            return Err(Unsigned::Forgotten);
        }
        if !used.taken.insert((presented.time, digest.finalize().into())) {
            return Err(Unsigned::Used);
        }
        used.forget(now);
        Ok(())
    }
}

/// What a header holds, before it is known whether it is true.
struct Presented {
    given: Vec<(String, String)>,
    key: String,
    nonce: String,
    time: i64,
    method: Method,
    signature: Vec<u8>,
    body_hash: Option<String>,
}

impl Presented {
    fn read(header: &str, now: i64) -> Result<Self, Unsigned> {
        let given = parameters(header).ok_or(Unsigned::Malformed)?;
        let find =
            |name: &str| given.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        let get = |name: &'static str| find(name).ok_or(Unsigned::Parameter(name));
        let key = get("oauth_consumer_key")?;
        let nonce = get("oauth_nonce")?;
        let time = get("oauth_timestamp")?.parse::<u32>();
        let time = time.map(i64::from).map_err(|_| Unsigned::Parameter("oauth_timestamp"))?;
        let method = Method::named(&get("oauth_signature_method")?).ok_or(Unsigned::Method)?;
        let signature = STANDARD.decode(get("oauth_signature")?);
        let signature = signature.map_err(|_| Unsigned::Parameter("oauth_signature"))?;
        let wrong = [
            ("oauth_nonce", nonce.is_empty() || nonce.len() > MAX_NONCE_BYTES),
            ("oauth_version", find("oauth_version").is_some_and(|version| version != "1.0")),
            ("oauth_token", find("oauth_token").is_some_and(|token| !token.is_empty())),
        ];
        if let Some((name, _)) = wrong.iter().find(|(_, is_wrong)| *is_wrong) {
            return Err(Unsigned::Parameter(name));
        }
        let off = now.abs_diff(time);
        if off > WINDOW_SECONDS.unsigned_abs() {
            return Err(Unsigned::Timestamp(off));
        }
        let body_hash = find("oauth_body_hash");
        Ok(Self { given, key, nonce, time, method, signature, body_hash })
    }
}

/// Whether a header may be one of a request that is signed now: asked before its body is read.
///
/// # Errors
/// Why it is not.
pub(super) fn look(header: &str) -> Result<(), Unsigned> {
    Presented::read(header, Timestamp::now().as_second()).map(drop)
}

impl Used {
    /// Forgets what is refused for its age, and the oldest of what is too much.
    fn forget(&mut self, now: i64) {
        while let Some((time, _)) = self.taken.first().copied()
            && (self.taken.len() > self.most || time < now - WINDOW_SECONDS)
        {
            self.floor = self.floor.max(time + 1);
            self.taken.pop_first();
        }
    }
}

fn resolve(settings: &ServeSettings) -> Result<Consumers, ConsumerError> {
    let consumers = settings.consumers.iter();
    consumers.map(|(key, consumer)| Ok((key.clone(), consumer.resolve(key)?))).collect()
}

/// Whether `text` is a digest of the body: SHA-1 by the extension that defines it, SHA-256 by clients
/// that sign with it.
fn is_digest(text: &str, body: &[u8]) -> bool {
    text == STANDARD.encode(Sha1::digest(body)) || text == STANDARD.encode(Sha256::digest(body))
}

/// How a request is signed.
#[derive(Clone, Copy)]
enum Method {
    HmacSha1,
    HmacSha256,
}

impl Method {
    fn named(name: &str) -> Option<Self> {
        match name {
            "HMAC-SHA1" => Some(Self::HmacSha1),
            "HMAC-SHA256" => Some(Self::HmacSha256),
            _ => None,
        }
    }

    /// Whether `signature` is that of `text`, in a time that tells nothing about it.
    fn verifies(self, secret: &str, text: &str, signature: &[u8]) -> bool {
        // The secret of a token would stand behind `&`.
        let key = format!("{}&", encode(secret));
        match self {
            Self::HmacSha1 => Hmac::<Sha1>::new_from_slice(key.as_bytes())
                .is_ok_and(|mac| mac.chain_update(text).verify_slice(signature).is_ok()),
            Self::HmacSha256 => Hmac::<Sha256>::new_from_slice(key.as_bytes())
                .is_ok_and(|mac| mac.chain_update(text).verify_slice(signature).is_ok()),
        }
    }
}

#[cfg(test)]
#[path = "oauth_tests.rs"]
mod tests;
