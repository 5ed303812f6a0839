//! Keystone: what is sent, what is refused, what is shown.

use plugin_api::testing::HarnessedDelegate;
use plugin_api::{DelegateErrorKind, Tier};
use serde_json::{Value, json};

use super::fake::{Fake, PASSWORD};
use super::harness;

fn signing_in(fake: &Fake, provider: &Value, credentials: &Value) -> HarnessedDelegate {
    let mut credentials = credentials.clone();
    credentials["auth_url"] = format!("{}/identity/v3", fake.url()).into();
    harness().provider(provider.to_string(), credentials.to_string()).open().unwrap()
}

fn password(password: &str) -> Value {
    json!({"username": "ada", "password": password, "project_name": "images", "user_domain_name": "Users"})
}

#[test]
fn a_user_signs_in_for_a_project_and_finds_the_region_s_service() {
    let fake = Fake::start();
    let delegate = signing_in(&fake, &json!({"region": "south"}), &password(PASSWORD));
    delegate.check_provider().unwrap();
    let sent = fake.state.signed_in.lock().unwrap()[0].clone();
    assert_eq!(
        sent,
        json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": "ada", "domain": {"name": "Users"}, "password": PASSWORD,
            }}},
            "scope": {"project": {"name": "images", "domain": {"id": "default"}}},
        }})
    );
    let error = signing_in(&fake, &json!({"cloud": "x"}), &password(PASSWORD)).check_provider();
    assert!(error.unwrap_err().message().contains("several image services"));
}

#[test]
fn tokens_and_application_credentials_are_sent_as_keystone_wants_them() {
    for (credentials, identity, scope) in [
        (
            json!({"token": PASSWORD, "project_id": "p"}),
            json!({"methods": ["token"], "token": {"id": PASSWORD}}),
            json!({"project": {"id": "p"}}),
        ),
        (
            json!({"application_credential_id": "a", "application_credential_secret": PASSWORD}),
            json!({"methods": ["application_credential"], "application_credential": {"id": "a", "secret": PASSWORD}}),
            Value::Null,
        ),
        (
            json!({"application_credential_name": "a", "user_id": "u", "application_credential_secret": PASSWORD}),
            json!({"methods": ["application_credential"], "application_credential": {
                "name": "a", "user": {"id": "u"}, "secret": PASSWORD,
            }}),
            Value::Null,
        ),
    ] {
        let fake = Fake::start();
        signing_in(&fake, &json!({"region": "north"}), &credentials).check_provider().unwrap();
        let sent = fake.state.signed_in.lock().unwrap()[0]["auth"].clone();
        assert_eq!((&sent["identity"], &sent["scope"]), (&identity, &scope));
    }
}

#[test]
fn a_token_without_a_scope_is_taken_as_it_is() {
    let fake = Fake::start();
    let token =
        |token: &str| signing_in(&fake, &json!({"region": "north"}), &json!({ "token": token }));
    token(PASSWORD).check_provider().unwrap();
    assert_eq!(*fake.state.signed_in.lock().unwrap(), [json!(PASSWORD)]);
    let error = token("run out").check_provider().unwrap_err();
    assert!(error.hints().iter().any(|hint| hint.contains("still good")), "{error:?}");
}

#[test]
fn who_is_let_in_for_no_project_makes_no_image() {
    let fake = Fake::with(|_, exchange| {
        if exchange.method != "POST" {
            return Err(exchange);
        }
        let token = json!({"token": {"user": {"name": "ada"}}}).to_string();
        Ok(exchange.answer(201, &[("x-subject-token", "t")], token.as_bytes()))
    });
    let endpoint = json!({ "image_endpoint": fake.url() });
    let delegate = signing_in(&fake, &endpoint, &password(PASSWORD));
    let error = delegate.check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Credentials);
    assert!(error.message().contains("no project"), "{error:?}");
    assert_eq!(delegate.push_image_to_provider().unwrap_err(), error);
    assert_eq!(fake.server.seen().len(), 2);
}

#[test]
fn a_wrong_password_costs_one_question_and_is_shown_nowhere() {
    let fake = Fake::start();
    let delegate = signing_in(&fake, &json!({"region": "north"}), &password("geheimnis"));
    assert_eq!(delegate.check(), []);
    let error = delegate.check_provider().unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Credentials);
    // The fake repeats what it was sent.
    assert!(error.causes()[0].contains("<redacted>"), "{error:?}");
    assert!(error.hints()[1].contains("the project"), "{error:?}");
    let shown = format!(
        "{error:?}{:?}{:?}{:?}",
        delegate.logs(),
        delegate.activities(),
        delegate.properties()
    );
    assert!(!shown.contains("geheimnis"), "{shown}");
    assert_eq!(fake.server.seen().len(), 1);
}

#[test]
fn a_token_that_runs_out_is_replaced_once() {
    let fake = Fake::with(|state, exchange| {
        // Right before the data is sent.
        if exchange.method == "PUT" && state.count() == 1 {
            *state.tokens.lock().unwrap() += 1;
        }
        Err(exchange)
    });
    let delegate = signing_in(&fake, &json!({"region": "north"}), &password(PASSWORD));
    delegate.build().unwrap();
    assert_eq!(fake.times("POST /identity"), 2);
    assert_eq!(fake.image()["status"], "active");
    assert!(!format!("{:?}", delegate.logs()).contains("gAAAAA"));
}

#[test]
fn whoever_sends_a_password_without_tls_is_warned() {
    let warned = |auth_url: &str, credentials: &Value| {
        let mut credentials = credentials.clone();
        credentials["auth_url"] = auth_url.into();
        let harness = harness().configuration("retries", 0);
        let delegate = harness.provider("prod", credentials.to_string()).open().unwrap();
        delegate.check_provider().unwrap_err();
        let logs = format!("{:?}", delegate.logs());
        assert!(!logs.contains(PASSWORD), "{logs}");
        logs.contains("without TLS")
    };
    for (auth_url, expected) in [
        ("http://keystone.invalid:5000/v3", true),
        ("https://keystone.invalid:5000/v3", false),
        // Nobody listens there, and nobody else would hear it.
        ("http://127.0.0.1:9/v3", false),
    ] {
        assert_eq!(warned(auth_url, &password(PASSWORD)), expected, "{auth_url}");
    }
}

#[test]
fn a_server_that_is_no_keystone_is_told_apart() {
    let fake = Fake::with(|_, exchange| Ok(exchange.json(404, &json!({}))));
    let delegate = signing_in(&fake, &json!({"region": "north"}), &password(PASSWORD));
    let error = delegate.check_provider().unwrap_err();
    assert!(error.hints()[0].contains("`auth_url`"), "{error:?}");
}

#[test]
fn the_account_is_the_project() {
    let fake = Fake::start();
    let delegate = signing_in(&fake, &json!({"region": "north"}), &password(PASSWORD));
    let identity = delegate.push_image_to_provider().unwrap();
    assert_eq!(identity.provider_account_identifier.as_deref(), Some("images"));
}

#[test]
fn an_image_that_another_project_does_not_see_is_not_taken_for_gone() {
    let fake = Fake::start();
    let delete = |delivered_as: &str| {
        let mut credentials = password(PASSWORD);
        credentials["auth_url"] = format!("{}/identity", fake.url()).into();
        let delegate = harness()
            .provider(r#"{"region": "north"}"#, credentials.to_string())
            .identifier_on_provider("a")
            .provider_account_identifier(delivered_as);
        delegate.open().unwrap().delete_from_provider()
    };
    delete("images").unwrap();
    delete("").unwrap();
    let error = delete("others").unwrap_err();
    assert_eq!(error.kind(), DelegateErrorKind::Credentials);
    assert_eq!(error.causes(), ["it was delivered as `others`"]);
}

#[test]
fn everything_wrong_is_told_before_anybody_is_asked() {
    let delegate = harness()
        .provider(
            r#"{"cloud": "prod", "visibilty": "public", "properties": {"status": "x"}}"#,
            r#"{"username": "ada"}"#,
        )
        .open()
        .unwrap();
    let problems = delegate.check();
    let messages: Vec<&str> = problems.iter().map(plugin_api::DelegateError::message).collect();
    assert_eq!(
        messages,
        [
            "provider: `visibilty` is no key that is known here",
            "credentials: `password` is missing",
            "credentials: `auth_url` is missing",
            "`properties.status` is no property of its own: Glance keeps that name to itself",
        ]
    );
    assert_eq!(problems[0].hints(), ["did you mean `visibility`?"]);
}

#[test]
fn authorities_that_cannot_be_read_are_told_before_anybody_is_asked() {
    let provider = r#"{"glance-host": "a", "auth_type": "none", "cacert": "/nowhere.pem"}"#;
    let problems = harness().provider(provider, "").tier(Tier::Provider).open().unwrap().check();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message().contains("`/nowhere.pem`"), "{problems:?}");
}

#[test]
fn a_request_from_the_network_names_no_file_of_authorities() {
    let provider = r#"{"glance-host": "a", "auth_type": "none", "cacert": "/etc/hostname"}"#;
    let session = harness().provider(provider, "").tier(Tier::Provider).remote().open().unwrap();
    let problems = session.check();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].message().contains("from the network"), "{problems:?}");
}
