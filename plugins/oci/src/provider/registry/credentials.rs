//! What a user shows a registry: an object, or the `config.json` of docker and its successors.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plugin_api::{Builder, DelegateError};
use plugin_kit::transfer::Secret;
use serde::Deserialize;

use super::address;
use super::helper::Helper;

/// What is shown to a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Credentials {
    /// Nothing: everybody may.
    #[default]
    None,
    /// For the registry, or for its token service.
    Password { username: String, password: Secret },
    /// A token of the registry itself.
    Token(Secret),
    /// A token that the token service changes into others.
    Identity(Secret),
}

/// What a user wrote: an [`Entry`], or a file of them.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    #[serde(flatten)]
    entry: Entry,
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    username: Option<String>,
    password: Option<Secret>,
    /// `username:password` in base64.
    auth: Option<Secret>,
    #[serde(alias = "registrytoken")]
    token: Option<Secret>,
    #[serde(alias = "identitytoken")]
    identity_token: Option<Secret>,
}

impl Entry {
    /// What docker writes for a registry whose credentials a helper keeps.
    fn is_empty(&self) -> bool {
        let secrets = [&self.password, &self.auth, &self.token, &self.identity_token];
        secrets.into_iter().flatten().all(Secret::is_empty) && self.username.is_none()
    }
}

/// Where the credentials for a registry are.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Here(Credentials),
    At(Helper),
}

impl Credentials {
    /// Those that `builder` was given for a repository of the registry `host`. A helper program is asked for
    /// them where they say so.
    ///
    /// # Errors
    /// `InvalidInput`: they cannot be read; nothing of them is repeated. `Credentials`: there are none for it.
    pub(super) fn of(
        builder: &Builder,
        host: &str,
        repository: &str,
    ) -> Result<Self, DelegateError> {
        match Found::parse(builder.credentials(), host, repository)? {
            Found::Here(credentials) => Ok(credentials),
            Found::At(helper) => helper.ask(builder),
        }
    }

    /// What can be said about them before anybody is asked.
    ///
    /// # Errors
    /// As of [`Credentials::of`].
    pub(super) fn check(
        builder: &Builder,
        host: &str,
        repository: &str,
    ) -> Result<(), DelegateError> {
        match Found::parse(builder.credentials(), host, repository)? {
            Found::Here(_) => Ok(()),
            Found::At(helper) => helper.check(builder),
        }
    }

    fn of_entry(entry: Entry) -> Result<Self, DelegateError> {
        match entry {
            Entry { token: Some(token), .. } if !token.is_empty() => Ok(Self::Token(token)),
            Entry { identity_token: Some(token), .. } if !token.is_empty() => {
                Ok(Self::Identity(token))
            },
            Entry { username: Some(username), password: Some(password), .. } => {
                Ok(Self::Password { username, password })
            },
            Entry { auth: Some(auth), .. } => {
                let pair = STANDARD.decode(auth.expose()).map_err(|_| unreadable())?;
                let pair = String::from_utf8(pair).map_err(|_| unreadable())?;
                let (username, password) = pair.split_once(':').ok_or_else(unreadable)?;
                let password = Secret::new(password);
                Ok(Self::Password { username: username.to_owned(), password })
            },
            _ => Err(unreadable()),
        }
    }

    /// What must not be shown.
    pub(super) fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::None => Vec::new(),
            Self::Password { password, .. } => {
                self.basic().into_iter().chain([password.clone()]).collect()
            },
            Self::Token(token) | Self::Identity(token) => vec![token.clone()],
        }
    }

    /// User and password, as a header has them.
    pub(super) fn basic(&self) -> Option<Secret> {
        match self {
            Self::Password { username, password } => {
                Some(Secret::new(STANDARD.encode(format!("{username}:{}", password.expose()))))
            },
            _ => None,
        }
    }

    /// The account, where it is known.
    pub(super) fn account(&self) -> Option<&str> {
        match self {
            Self::Password { username, .. } => Some(username),
            _ => None,
        }
    }
}

impl Found {
    fn parse(text: &str, host: &str, repository: &str) -> Result<Self, DelegateError> {
        if text.trim().is_empty() {
            return Ok(Self::Here(Credentials::None));
        }
        let written: Written = serde_json::from_str(text).map_err(|_| unreadable())?;
        let Written { entry, auths, helpers, store } = written;
        if auths.is_none() && helpers.is_empty() && store.is_empty() {
            return Credentials::of_entry(entry).map(Self::Here);
        }
        // An empty name says: none for this one.
        let own = nearest(helpers, host, repository);
        if let Some(helper) = own.as_ref().filter(|name| !name.is_empty()) {
            return Helper::new(helper, host).map(Self::At);
        }
        let mut auths = auths.unwrap_or_default();
        auths.retain(|_, entry| !entry.is_empty());
        match nearest(auths, host, repository) {
            Some(entry) => Credentials::of_entry(entry).map(Self::Here),
            None if own.is_none() && !store.is_empty() => Helper::new(&store, host).map(Self::At),
            None => {
                Err(DelegateError::credentials(format!("there are no credentials for `{host}`"))
                    .hint("neither `auths` nor `credHelpers` has an entry of this name"))
            },
        }
    }
}

/// The entry for a repository: its key is a host, or the beginning of a place there; the longest counts.
fn nearest<T>(entries: BTreeMap<String, T>, host: &str, repository: &str) -> Option<T> {
    let place = format!("{}/{repository}", address::plain_host(host));
    let covers = |key: &str| {
        place.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let entries = entries.into_iter().map(|(key, entry)| (plain_key(&key), entry));
    let nearest = entries.filter(|(key, _)| covers(key)).max_by_key(|(key, _)| key.len());
    nearest.map(|(_, entry)| entry)
}

/// Docker's keys may be addresses, with the version of the API at their end.
fn plain_key(key: &str) -> String {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest).trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    match key.split_once('/') {
        Some((host, rest)) => format!("{}/{rest}", address::plain_host(host)),
        None => address::plain_host(key).to_owned(),
    }
}

fn unreadable() -> DelegateError {
    DelegateError::invalid_input("the credentials cannot be read").hint(
        r#"write them as {"username": "...", "password": "..."}, {"token": "..."} or the `config.json` of docker"#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "registry.example:5000";

    fn ada() -> Credentials {
        Credentials::Password { username: "ada".to_owned(), password: Secret::new("pass:word") }
    }

    fn here(text: &str) -> Credentials {
        match Found::parse(text, HOST, "team/web") {
            Ok(Found::Here(credentials)) => credentials,
            other => unreachable!("{text}: {other:?}"),
        }
    }

    #[test]
    fn every_form_is_read() {
        let pair = STANDARD.encode("ada:pass:word");
        for text in [
            r#"{"username": "ada", "password": "pass:word"}"#.to_owned(),
            format!(r#"{{"auths": {{"other": {{}}, "{HOST}": {{"auth": "{pair}"}}}}}}"#),
            format!(r#"{{"auths": {{"https://{HOST}/v2/": {{"auth": "{pair}"}}}}}}"#),
            // As docker writes it: what it does not keep itself is empty.
            format!(
                r#"{{"auths": {{"{HOST}": {{"auth": "{pair}"}}, "a.example": {{}}}}, "credsStore": "pass",
                    "credHelpers": {{"b.example": "gcr"}}, "HttpHeaders": {{}}}}"#
            ),
            format!(
                r#"{{"auths": {{"{HOST}": {{"auth": "{pair}"}}}}, "credHelpers": {{"{HOST}": ""}}}}"#
            ),
        ] {
            assert_eq!(here(&text), ada(), "{text}");
        }
        assert_eq!(here(" "), Credentials::None);
        assert_eq!(here(r#"{"token": "t"}"#), Credentials::Token(Secret::new("t")));
        let identity = r#"{"auths": {"registry.example:5000": {"identitytoken": "t"}}}"#;
        assert_eq!(here(identity), Credentials::Identity(Secret::new("t")));
    }

    #[test]
    fn the_entry_that_names_the_most_of_a_place_counts() {
        let entry = |name: &str| format!(r#"{{"username": "{name}", "password": "p"}}"#);
        let text = format!(
            r#"{{"auths": {{"{HOST}": {}, "{HOST}/team": {}, "{HOST}/team/we": {}, "{HOST}/team/web/x": {}}}}}"#,
            entry("all"),
            entry("team"),
            entry("others"),
            entry("below")
        );
        assert_eq!(here(&text).account(), Some("team"));
        let hub = format!(r#"{{"auths": {{"https://index.docker.io/v1/": {}}}}}"#, entry("hub"));
        let found = Found::parse(&hub, "docker.io", "library/web").unwrap();
        assert!(matches!(found, Found::Here(found) if found.account() == Some("hub")));
        let error = Found::parse(&hub, HOST, "team/web").unwrap_err();
        assert_eq!(error.kind(), plugin_api::DelegateErrorKind::Credentials);
    }

    #[test]
    fn a_helper_is_asked_where_docker_would_ask_it() {
        for (text, name) in [
            (r#"{"credsStore": "pass"}"#, "pass"),
            (r#"{"credsStore": "pass", "auths": {"registry.example:5000": {}}}"#, "pass"),
            (r#"{"credsStore": "pass", "credHelpers": {"registry.example:5000": "gcr"}}"#, "gcr"),
            (r#"{"credsStore": "pass", "credHelpers": {"registry.example": "gcr"}}"#, "pass"),
        ] {
            let expected = Helper::new(name, HOST).unwrap();
            assert_eq!(Found::parse(text, HOST, "x").unwrap(), Found::At(expected), "{text}");
        }
        for text in [
            r#"{"credHelpers": {"a.example": "gcr"}}"#,
            r#"{"credHelpers": {"registry.example:5000": ""}, "credsStore": "pass"}"#,
        ] {
            Found::parse(text, HOST, "x").unwrap_err();
        }
    }

    #[test]
    fn nothing_of_unreadable_credentials_is_repeated() {
        for text in [
            "swordfish",
            r#"{"username": "swordfish"}"#,
            r#"{"auth": "swordfish"}"#,
            r#"{"credHelpers": "swordfish"}"#,
        ] {
            let error = Found::parse(text, "h", "x").unwrap_err();
            assert!(!format!("{error:?}").contains("swordfish"), "{error:?}");
        }
        assert!(!format!("{:?}", ada()).contains("pass:word"));
    }
}
