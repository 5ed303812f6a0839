//! One attempt to tell a receiver: the request, its signature, and where it may not go.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::daemon::upstream;
use crate::factory::CallbackAddress;
use crate::failures;
use crate::images::Message;
use crate::settings::CallbackSettings;

/// Identifies a message: the same one that is sent again has the same.
const DELIVERY: &str = "x-imageforge-delivery";
/// The signature: `t=SECONDS,v1=HEX`.
const SIGNATURE: &str = "x-imageforge-signature";
/// Longest reason for a failure that is kept, in characters.
const MAX_REASON: usize = 300;

/// Sends messages.
#[derive(Debug)]
pub(super) struct Courier {
    agent: Agent,
    secret: Option<String>,
}

impl Courier {
    pub(super) fn new(settings: &CallbackSettings) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(settings.timeout_seconds.max(1))))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            // A proxy of the environment would connect for us, past the guard.
            .proxy(None)
            // A connection that was kept would be one that nobody looked at.
            .max_idle_connections(0)
            .tls_config(tls)
            .user_agent(concat!("imageforge/", env!("CARGO_PKG_VERSION")))
            .build();
        let guard =
            Guard { settings: Arc::new(settings.clone()), names: DefaultResolver::default() };
        Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), guard),
            secret: settings.secret.clone(),
        }
    }

    /// Tells the receiver at `address`; an error is why it did not acknowledge.
    pub(super) fn put(
        &self,
        address: &CallbackAddress,
        job: &str,
        message: &Message,
    ) -> Result<(), String> {
        let body = upstream::change(message).to_string();
        let mut request = self
            .agent
            .put(address.uri())
            .header("content-type", "application/json")
            .header(DELIVERY, format!("{job}.{}", message.event.sequence));
        if let Some(authorization) = address.authorization() {
            request = request.header("authorization", authorization);
        }
        if let Some(secret) = &self.secret {
            let now = Timestamp::now().as_second();
            request = request.header(SIGNATURE, signature(secret, now, &body));
        }
        match request.send(body.as_bytes()) {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) if answer.status().is_redirection() => {
                Err(format!("it answered {}, and redirects are not followed", answer.status()))
            },
            Ok(answer) => Err(format!("it answered {}", answer.status())),
            Err(error) => Err(reason(&error)),
        }
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA256 over the seconds since 1970, a full stop and the body.
fn signature(secret: &str, seconds: i64, body: &str) -> String {
    // Keys of any length are taken.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body.as_bytes());
    format!("t={seconds},v1={}", hex::encode(mac.finalize().into_bytes()))
}

fn reason(error: &ureq::Error) -> String {
    let mut text = error.to_string();
    for cause in failures::causes(error) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    plugin_api::info::printable(&text).chars().take(MAX_REASON).collect()
}

/// Lets names lead to allowed addresses only. It is these that are connected to, so a name that means
/// something else a moment later leads nowhere else.
#[derive(Debug)]
struct Guard {
    settings: Arc<CallbackSettings>,
    names: DefaultResolver,
}

/// All addresses of a receiver are out of bounds.
#[derive(Debug, thiserror::Error)]
#[error("it is at an address that this daemon does not tell anything")]
struct OutOfBounds;

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        let host = uri.host().unwrap_or_default();
        let mut allowed = self.empty();
        for address in found.iter().filter(|found| self.settings.allows(host, found.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            return Err(ureq::Error::Other(Box::new(OutOfBounds)));
        }
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_any_other_implementation() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac hunter2
        assert_eq!(
            signature("hunter2", 1_700_000_000, "{\"a\":1}"),
            "t=1700000000,v1=56b25cbf563812b38800e5f4dd1febfde087d36841155e70b3aa285517e1570a"
        );
    }
}
