//! Whether what arrived is what was sent, by whatever the server tells.

use plugin_api::DelegateError;
use plugin_api::host::{LogLevel, LogRecord};
use plugin_api::testing::{Built, HarnessedDelegate};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::anonymous;
use super::fake::{Fake, body};
use super::pushing::{is_upload, take};

/// A push to a Glance that names its digests so, what it says, and what is known of it afterwards.
fn compared(
    algorithm: &'static str,
    value: &str,
    size: Option<u64>,
) -> (Result<Built, DelegateError>, HarnessedDelegate) {
    let value = value.to_owned();
    let fake = Fake::with(move |state, mut exchange| {
        if !is_upload(&exchange) {
            return Err(exchange);
        }
        let id = take(state, &mut exchange);
        let mut images = state.images();
        let image = images.get_mut(&id).unwrap();
        image["os_hash_algo"] = algorithm.into();
        image["os_hash_value"] = value.as_str().into();
        image["size"] = size.map_or(Value::Null, Value::from);
        Ok(exchange.answer(204, &[], b""))
    });
    let delegate = anonymous(&fake.url(), &json!({}));
    (delegate.build(), delegate)
}

#[test]
fn what_arrived_is_compared_by_the_digest_that_the_server_names() {
    let size = Some(body().len() as u64);
    for (algorithm, name, value) in [
        ("sha256", "SHA-256", hex::encode(Sha256::digest(body()))),
        ("sha384", "SHA-384", hex::encode(Sha384::digest(body()))),
        ("sha512", "SHA-512", hex::encode(Sha512::digest(body()))),
    ] {
        let (built, delegate) = compared(algorithm, &value, size);
        built.unwrap();
        assert_eq!(delegate.properties()["verified_by"], algorithm);
        let (built, _) = compared(algorithm, &"0".repeat(value.len()), size);
        let error = built.unwrap_err();
        assert_eq!(error.message(), "the image arrived damaged");
        assert!(error.causes()[0].contains(name), "{error:?}");
    }
}

#[test]
fn what_nobody_can_compare_is_told_and_recorded() {
    let size = body().len() as u64;
    for (size, verified_by, told) in
        [(Some(size), "size", "only the size was compared"), (None, "nothing", "nothing tells")]
    {
        let (built, delegate) = compared("blake2b", "00", size);
        built.unwrap();
        assert_eq!(delegate.properties()["verified_by"], verified_by);
        let logs = delegate.logs();
        let is_told = |record: &LogRecord| {
            record.level == LogLevel::Warn
                && record.message.contains("`blake2b`")
                && record.message.contains(told)
        };
        assert!(logs.iter().any(is_told), "{logs:?}");
    }
}
