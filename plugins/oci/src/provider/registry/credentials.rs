//! What a user shows a registry: an object, or the `config.json` of docker and its successors.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plugin_api::DelegateError;
use plugin_kit::transfer::Secret;
use serde::Deserialize;

const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What is shown to a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Credentials {
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
    auths: Option<BTreeMap<String, Self>>,
    #[serde(alias = "credsStore", alias = "credHelpers")]
    helper: Option<serde_json::Value>,
}

impl Credentials {
    /// Reads the credentials for the registry `host`.
    ///
    /// # Errors
    /// `InvalidInput`; nothing of `text` is repeated in it.
    pub(crate) fn parse(text: &str, host: &str) -> Result<Self, DelegateError> {
        if text.trim().is_empty() {
            return Ok(Self::None);
        }
        let entry: Entry = serde_json::from_str(text).map_err(|_| unreadable())?;
        let Some(auths) = entry.auths else { return Self::of_entry(entry) };
        match auths.into_iter().find(|(key, _)| is_key_of(key, host)) {
            Some((_, entry)) => Self::of_entry(entry),
            None if entry.helper.is_some() => Err(DelegateError::unsupported(format!(
                "the credentials for `{host}` are kept by a helper program of docker"
            ))
            .hint("give user and password, or a token")),
            None => {
                Err(DelegateError::credentials(format!("there are no credentials for `{host}`"))
                    .hint("`auths` has no entry of this name"))
            },
        }
    }

    fn of_entry(entry: Entry) -> Result<Self, DelegateError> {
        match entry {
            Entry { token: Some(token), .. } => Ok(Self::Token(token)),
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
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        match self {
            Self::None => Vec::new(),
            Self::Password { password, .. } => {
                self.basic().into_iter().chain([password.clone()]).collect()
            },
            Self::Token(token) | Self::Identity(token) => vec![token.clone()],
        }
    }

    /// User and password, as a header has them.
    pub(crate) fn basic(&self) -> Option<Secret> {
        match self {
            Self::Password { username, password } => {
                Some(Secret::new(STANDARD.encode(format!("{username}:{}", password.expose()))))
            },
            _ => None,
        }
    }

    /// The account, where it is known.
    pub(crate) fn account(&self) -> Option<&str> {
        match self {
            Self::Password { username, .. } => Some(username),
            _ => None,
        }
    }
}

/// Docker's keys are hosts, or addresses of them.
fn is_key_of(key: &str, host: &str) -> bool {
    let name = key.split_once("://").map_or(key, |(_, rest)| rest);
    name.split('/').next() == Some(host) || (host == "docker.io" && key == DOCKER_HUB_KEY)
}

fn unreadable() -> DelegateError {
    DelegateError::invalid_input("the credentials cannot be read").hint(
        r#"write them as {"username": "...", "password": "..."}, {"token": "..."} or the `config.json` of docker"#,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> Credentials {
        Credentials::Password { username: "ada".to_owned(), password: Secret::new("pass:word") }
    }

    #[test]
    fn every_form_is_read() {
        let host = "registry.example:5000";
        let pair = STANDARD.encode("ada:pass:word");
        for text in [
            r#"{"username": "ada", "password": "pass:word"}"#.to_owned(),
            format!(r#"{{"auths": {{"other": {{}}, "{host}": {{"auth": "{pair}"}}}}}}"#),
            format!(r#"{{"auths": {{"https://{host}/v2/": {{"auth": "{pair}"}}}}}}"#),
        ] {
            assert_eq!(Credentials::parse(&text, host).unwrap(), ada(), "{text}");
        }
        assert_eq!(Credentials::parse(" ", host).unwrap(), Credentials::None);
        let token = Credentials::parse(r#"{"token": "t"}"#, host).unwrap();
        assert_eq!(token, Credentials::Token(Secret::new("t")));
        let identity = r#"{"auths": {"registry.example:5000": {"identitytoken": "t"}}}"#;
        assert_eq!(
            Credentials::parse(identity, host).unwrap(),
            Credentials::Identity(Secret::new("t"))
        );
    }

    #[test]
    fn nothing_of_unreadable_credentials_is_repeated() {
        for text in ["swordfish", r#"{"username": "swordfish"}"#, r#"{"auth": "swordfish"}"#] {
            let error = Credentials::parse(text, "h").unwrap_err();
            assert!(!format!("{error:?}").contains("swordfish"), "{error:?}");
        }
        assert!(!format!("{:?}", ada()).contains("pass:word"));
    }
}
