//! What a push cannot remove, and who is told.

use plugin_api::{DelegateErrorKind, ProviderIdentity};
use serde_json::json;

use super::fake::Fake;
use super::pushing::{is_upload, pushed};
use super::{anonymous, harness};

#[test]
fn what_a_first_try_left_is_removed_when_a_later_one_succeeds() {
    let fake = Fake::with(|state, mut exchange| {
        if is_upload(&exchange) && state.count() == 1 {
            exchange.take(900_000).unwrap();
            return Ok(exchange.answer(500, &[("retry-after", "0")], b""));
        }
        let arrived = state.images().values().any(|image| image["status"] == "active");
        if exchange.method == "DELETE" && !arrived {
            return Ok(exchange.answer(409, &[], b"busy"));
        }
        Err(exchange)
    });
    let identity = pushed(&anonymous(&fake.url(), &json!({})));
    assert_eq!(fake.image()["id"], identity.identifier_on_provider);
}

#[test]
fn a_token_that_runs_out_in_a_push_leaves_nothing_untold() {
    let fake = Fake::with(|state, mut exchange| {
        if is_upload(&exchange) {
            exchange.take(900_000).unwrap();
            *state.tokens.lock().unwrap() = 1;
            return Ok(exchange.answer(401, &[], b""));
        }
        Err(exchange)
    });
    let provider = json!({ "image_endpoint": fake.url() });
    let credentials = json!({ "token": "swordfish" });
    let delegate =
        harness().provider(provider.to_string(), credentials.to_string()).open().unwrap();
    let error = delegate.build().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Credentials);
    let id = fake.image()["id"].as_str().unwrap().to_owned();
    let place = format!("image `{id}` may be left at `{}/v2/images/{id}`", fake.url());
    assert!(error.causes().contains(&place), "{error:?}");
    assert!(error.hints().iter().any(|hint| hint.contains("images delete")), "{error:?}");
    assert!(error.hints().iter().any(|hint| hint.contains("run out")), "{error:?}");
    assert_eq!(delegate.left_behind(), [ProviderIdentity::new(id)]);
}

#[test]
fn a_token_that_is_no_longer_good_for_deleting_is_told() {
    let fake = Fake::with(|_, exchange| Ok(exchange.answer(401, &[], b"")));
    let provider = json!({ "image_endpoint": fake.url() }).to_string();
    let harness = harness().provider(provider, r#"{"token": "swordfish"}"#);
    let delegate = harness.identifier_on_provider("a").open().unwrap();
    let error = delegate.delete_from_provider().unwrap_err();
    assert!(error.hints().iter().any(|hint| hint.contains("run out")), "{error:?}");
}

#[test]
fn what_was_never_made_is_not_said_to_be_left() {
    let fake = Fake::with(|_, exchange| match exchange.method.as_str() {
        "GET" => Err(exchange),
        _ => Ok(exchange.answer(401, &[], b"")),
    });
    let delegate = anonymous(&fake.url(), &json!({}));
    let error = delegate.build().unwrap_err();
    assert_eq!(fake.times("DELETE"), 2);
    assert!(!format!("{error:?}").contains("left"), "{error:?}");
    assert_eq!(delegate.left_behind(), []);
}
