//! Why something was not delivered, in words for its user.

use std::io;
use std::time::Duration;

use camino::Utf8PathBuf;
use plugin_api::DelegateError;
use serde_json::Value;
use thiserror::Error;
use ureq::http::{HeaderMap, StatusCode};

use super::request::shown_url;

/// Most characters of a server's own words that are repeated.
const MAX_WORDS: usize = 300;

/// Why a request was not answered as it should be. Free of secrets.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The URL, the proxy or a header cannot be used.
    #[error("`{asked}` cannot be asked")]
    Url {
        /// Method and URL.
        asked: String,
        /// What is wrong.
        #[source]
        source: Words,
    },
    /// The certificates of the authorities to trust cannot be read.
    #[error("the certificates of authorities cannot be read from {from}")]
    Authorities {
        /// The path in backticks, or where else they were given.
        from: String,
        /// What is wrong.
        #[source]
        source: Words,
    },
    /// The server was not reached; nothing was sent.
    #[error("`{host}` cannot be reached")]
    Unreachable {
        /// The server.
        host: String,
        /// What came instead.
        #[source]
        source: Words,
    },
    /// No secure connection came about.
    #[error("no secure connection to `{host}` came about")]
    Tls {
        /// The server.
        host: String,
        /// What is wrong.
        #[source]
        source: Words,
    },
    /// The connection ended before the answer.
    #[error("the connection to `{host}` broke during `{asked}`")]
    Cut {
        /// The server.
        host: String,
        /// Method and URL.
        asked: String,
        /// What came instead.
        #[source]
        source: Words,
    },
    /// The server was silent for too long.
    #[error("`{host}` was silent for too long during `{asked}`")]
    Silent {
        /// The server.
        host: String,
        /// Method and URL.
        asked: String,
        /// Which limit it was.
        #[source]
        source: Words,
    },
    /// The server answered that it did not do it.
    #[error("`{}` was answered {}", .0.asked, .0.status)]
    Refused(#[source] Box<Refusal>),
    /// The answer is not what this protocol answers.
    #[error("the answer to `{asked}` makes no sense")]
    Malformed {
        /// Method and URL.
        asked: String,
    },
    /// The file to send does not read.
    #[error("cannot read `{path}`")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// The build was cancelled meanwhile.
    #[error("the build was cancelled")]
    Cancelled,
}

/// What somebody else said, without control characters and cut.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct Words(pub(super) String);

/// An answer that is a refusal.
#[derive(Debug, Error)]
#[error("the server says: {words}")]
pub struct Refusal {
    pub(super) asked: String,
    pub(super) host: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) retry_after: Option<Duration>,
    pub(super) words: String,
}

impl Refusal {
    /// Whether the server has no room for what it was sent, by its own words.
    fn is_full(&self) -> bool {
        let words = self.words.to_lowercase();
        let signs = ["no space", "storage media is full", "disk full", "quota"];
        signs.iter().any(|sign| words.contains(sign))
    }
}

impl TransferError {
    /// Whether the same may succeed a little later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Cut { .. } | Self::Silent { .. } => true,
            Self::Refused(refusal) => {
                let passes = matches!(refusal.status.as_u16(), 408 | 425 | 429 | 500 | 502..=504);
                passes && !refusal.is_full()
            },
            _ => false,
        }
    }

    /// Whether the server has certainly done nothing of what was asked.
    pub fn is_unsent(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refusal) => matches!(refusal.status.as_u16(), 425 | 429),
            _ => false,
        }
    }

    /// The status code of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refusal) => Some(refusal.status.as_u16()),
            _ => None,
        }
    }

    /// A header of a refusal.
    pub fn header(&self, name: &str) -> Option<&str> {
        match self {
            Self::Refused(refusal) => refusal.headers.get(name)?.to_str().ok(),
            _ => None,
        }
    }

    /// All headers of this name of a refusal, as far as they are text.
    pub fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let headers = match self {
            Self::Refused(refusal) => Some(refusal.headers.get_all(name)),
            _ => None,
        };
        headers.into_iter().flatten().filter_map(|value| value.to_str().ok())
    }

    /// What the server said about its refusal; may be empty.
    pub fn words(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.words,
            _ => "",
        }
    }

    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.retry_after,
            _ => None,
        }
    }

    /// In a few words, for an activity.
    pub(super) fn in_short(&self) -> String {
        match self {
            Self::Refused(refusal) => {
                format!("`{}` answered {}", refusal.host, refusal.status.as_u16())
            },
            Self::Cut { host, .. } => format!("the connection to `{host}` broke"),
            Self::Silent { host, .. } => format!("`{host}` was silent for too long"),
            other => other.to_string(),
        }
    }
}

/// Whose fault it is, and what helps.
impl From<TransferError> for DelegateError {
    fn from(error: TransferError) -> Self {
        let message = error.to_string();
        let (failed, hint): (fn(String) -> Self, _) = match &error {
            TransferError::Cancelled => return Self::cancelled(message),
            TransferError::Url { .. } => (Self::invalid_input, ""),
            TransferError::Authorities { .. } => {
                (Self::invalid_input, "name a file of certificates in PEM form, or give its text")
            },
            TransferError::Unreachable { .. } => (
                Self::unavailable,
                "look at name and port, and whether a proxy or a firewall stands between",
            ),
            // rustls takes no authority for a server.
            TransferError::Tls { source, .. } if source.0.contains("CaUsedAsEndEntity") => (
                Self::unavailable,
                "its certificate is that of an authority (`CA:TRUE`): have it sign another one for the \
                 server",
            ),
            TransferError::Tls { .. } => (
                Self::unavailable,
                "name the authority that signed its certificate, as `ca` or `cacert`, and look whether \
                 host and port are meant for TLS",
            ),
            TransferError::Cut { asked, .. } if asked.contains(" http://") => (
                Self::unavailable,
                "try again, and look whether the server wants `https://`; its log tells more",
            ),
            TransferError::Cut { .. } | TransferError::Silent { .. } => {
                (Self::unavailable, "try again; the server's log tells more")
            },
            TransferError::Malformed { .. } => {
                (Self::unavailable, "look at the URL: does another service answer there?")
            },
            TransferError::File { .. } => (Self::failed, ""),
            TransferError::Refused(refusal) => by_status(refusal),
        };
        let failed = failed(message);
        let failed = match &error {
            TransferError::Refused(refusal) if refusal.words.is_empty() => failed,
            _ => match std::error::Error::source(&error) {
                Some(source) => failed.caused_by(source),
                None => failed,
            },
        };
        let failed = if hint.is_empty() { failed } else { failed.hint(hint) };
        match error.header("location") {
            Some(location) if matches!(error.status(), Some(300..=399)) => {
                let location = printable(&shown_url(location));
                failed.because(format!("it points to `{location}`"))
            },
            _ => failed,
        }
    }
}

fn by_status(refusal: &Refusal) -> (fn(String) -> DelegateError, &'static str) {
    let status = refusal.status.as_u16();
    if refusal.is_full() || matches!(status, 413 | 507) {
        return (
            DelegateError::unavailable,
            "free space there, raise the quota, or deliver a smaller image",
        );
    }
    match status {
        401 => {
            (DelegateError::credentials, "look at the credentials: are they those of this server?")
        },
        403 => (DelegateError::credentials, "ask for the right to do this, or use another account"),
        404 | 410 => (DelegateError::not_found, ""),
        409 | 412 => (DelegateError::conflict, ""),
        408 | 425 | 429 | 500..=504 | 506 | 508..=599 => {
            (DelegateError::unavailable, "try again later; the server's log tells more")
        },
        405 | 505 => {
            (DelegateError::unsupported, "look at the URL: is it the one of this service?")
        },
        300..=399 => (
            DelegateError::invalid_input,
            "give the URL that it points to, if that server is meant",
        ),
        400 | 422 => (DelegateError::invalid_input, ""),
        _ => (DelegateError::failed, ""),
    }
}

/// What a body says to a reader: the message inside JSON, the text of HTML. Not yet [`printable`]:
/// what is cut may be a part of a secret.
pub(super) fn words_of(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        Ok(document) => match message_in(&document) {
            Some(message) => message,
            None => document.to_string(),
        },
        Err(_) => without_tags(&String::from_utf8_lossy(body)),
    }
}

/// One line of at most [`MAX_WORDS`] characters.
pub(super) fn printable(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(MAX_WORDS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The first text under a name that services use for messages, with the details beside it.
fn message_in(document: &Value) -> Option<String> {
    const NAMES: [&str; 4] = ["message", "detail", "error_description", "faultstring"];
    match document {
        Value::String(text) => Some(text.clone()),
        Value::Array(items) => items.iter().find_map(message_in),
        Value::Object(members) => {
            let text = |name: &str| members.get(name).and_then(Value::as_str);
            let message = NAMES.into_iter().find_map(text);
            match (message, text("detail")) {
                (Some(message), Some(detail)) if message != detail => {
                    Some(format!("{message}: {detail}"))
                },
                (Some(message), _) => Some(message.to_owned()),
                (None, _) => {
                    let nested = members.values().filter(|value| !value.is_string());
                    nested.into_iter().find_map(message_in)
                },
            }
        },
        _ => None,
    }
}

/// The text of HTML. Its title is left out, since the page says the same below.
fn without_tags(text: &str) -> String {
    // What an entity stands for may begin another one, but for the last.
    const ENTITIES: [(&str, &str); 7] = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&amp;", "&"),
    ];
    let text = match text.split_once("</title>") {
        Some((before, after)) if before.contains("<title>") => after,
        _ => text,
    };
    let mut plain = String::new();
    let mut is_tag = false;
    for character in text.chars() {
        match character {
            '<' => is_tag = true,
            '>' if is_tag => {
                is_tag = false;
                plain.push(' ');
            },
            _ if is_tag => {},
            _ => plain.push(character),
        }
    }
    ENTITIES.iter().fold(plain, |plain, (entity, meaning)| plain.replace(entity, meaning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_that_is_used_as_a_server_s_certificate_is_told() {
        let hint = |source: &str| {
            let source = Words(source.to_owned());
            let error = TransferError::Tls { host: "a".to_owned(), source };
            DelegateError::from(error).hints()[0].clone()
        };
        assert!(hint("invalid peer certificate: UnknownIssuer").contains("`cacert`"));
        let told = hint("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))");
        assert!(told.contains("CA:TRUE"), "{told}");
    }

    #[test]
    fn a_server_s_words_are_found_in_what_services_answer() {
        for (body, words) in [
            (
                r#"{"error": {"code": 401, "title": "Unauthorized", "message": "The request"}}"#,
                "The request",
            ),
            (r#"{"badRequest": {"message": "no flavor", "code": 400}}"#, "no flavor"),
            (
                r#"{"errors":[{"code":"DENIED","message":"access denied","detail":[]}]}"#,
                "access denied",
            ),
            (
                r#"{"errors":[{"message":"unknown error","detail":"no space left on device"}]}"#,
                "unknown error: no space left on device",
            ),
            (
                "<html><head><title>413 Full</title></head>\n<body><h1>413 Full</h1>no\tspace</body></html>",
                "413 Full no space",
            ),
            ("<p>&#x27;a&#x27; is &lt;b&gt;, not &amp;lt;</p>", "'a' is <b>, not &lt;"),
            ("plain \u{1b}[31mred", "plain [31mred"),
            ("", ""),
        ] {
            assert_eq!(printable(&words_of(body.as_bytes())), words);
        }
        assert_eq!(printable(&"é".repeat(999)).chars().count(), MAX_WORDS + 1);
    }
}
