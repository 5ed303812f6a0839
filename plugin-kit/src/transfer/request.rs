//! What is asked, and what is answered.

use std::fmt;
use std::net::IpAddr;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{HeaderMap, Method, Uri};

use super::{Secret, TransferError};

/// A request that is not yet sent.
///
/// `GET`, `HEAD`, `PUT` and `DELETE` are sent again after what may pass; `POST` and `PATCH` only when
/// [`repeatable`](Self::repeatable), or when nothing of them has reached the server.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<Vec<u8>>,
    pub(super) is_repeatable: bool,
    pub(super) accepted: Vec<u16>,
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident => $method:ident, $is_repeatable:literal;)*) => {
        impl Request {
            $($(#[$doc])*
            pub fn $name(url: impl Into<String>) -> Self {
                Self::new(Method::$method, url.into(), $is_repeatable)
            })*
        }
    };
}

methods! {
    /// Asks for something.
    get => GET, true;
    /// Asks whether something is there.
    head => HEAD, true;
    /// Puts something in a place.
    put => PUT, true;
    /// Deletes something.
    delete => DELETE, true;
    /// Makes something new.
    post => POST, false;
    /// Changes something.
    patch => PATCH, false;
}

impl Request {
    fn new(method: Method, url: String, is_repeatable: bool) -> Self {
        Self { method, url, headers: Vec::new(), body: None, is_repeatable, accepted: Vec::new() }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a header that holds a secret.
    #[must_use]
    pub fn secret_header(self, name: &str, value: &Secret) -> Self {
        self.header(name, value.expose())
    }

    /// Shows a token: `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, token: &Secret) -> Self {
        self.header("authorization", format!("Bearer {}", token.expose()))
    }

    /// Sends a JSON document.
    #[must_use]
    pub fn json(self, document: &Value) -> Self {
        self.body("application/json", document.to_string())
    }

    /// Sends bytes of a media type.
    #[must_use]
    pub fn body(mut self, media_type: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.body = Some(bytes.into());
        self.header("content-type", media_type)
    }

    /// Says whether sending it twice does no harm.
    #[must_use]
    pub fn repeatable(mut self, is_repeatable: bool) -> Self {
        self.is_repeatable = is_repeatable;
        self
    }

    /// Has answers of this status returned instead of being errors.
    #[must_use]
    pub fn accept(mut self, status: u16) -> Self {
        self.accepted.push(status);
        self
    }

    /// Method and URL, as they may be shown.
    pub(super) fn shown(&self) -> String {
        format!("{} {}", self.method, shown_url(&self.url))
    }

    /// Name and port of the server, as they may be shown.
    pub(super) fn host(&self) -> String {
        let uri: Option<Uri> = self.url.parse().ok();
        let Some(host) = uri.as_ref().and_then(Uri::host) else { return shown_url(&self.url) };
        match uri.as_ref().and_then(Uri::port_u16) {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// Whether the URL has a port that is none. It would be taken for the usual one.
    pub(super) fn has_wrong_port(&self) -> bool {
        let Ok(uri) = self.url.parse::<Uri>() else { return false };
        uri.authority().is_some_and(|authority| {
            let host_and_port = authority.as_str().rsplit('@').next().unwrap_or_default();
            let port = host_and_port.strip_prefix(authority.host()).unwrap_or_default();
            authority.port_u16().is_none() && port.len() > 1
        })
    }
}

/// Whether `host`, a name or an address with or without a port, is this machine: what is sent there without TLS is
/// heard by nobody else.
pub fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A URL without user and query, both of which may hold secrets.
pub(super) fn shown_url(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, ""), |(url, _)| (url, "?…"));
    let Some((scheme, rest)) = url.split_once("://") else {
        return format!("{url}{query}");
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let host_start = rest[..authority_end].rfind('@').map_or(0, |at| at + 1);
    format!("{scheme}://{}{query}", &rest[host_start..])
}

/// Without headers and body: they may hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Request").field(&self.shown()).finish()
    }
}

/// What a server answered.
#[derive(Clone)]
pub struct Answer {
    pub(super) asked: String,
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// A header that is text, the first of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The whole body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as a JSON document.
    ///
    /// # Errors
    /// [`TransferError::Malformed`] when it is none, or not of this shape.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, TransferError> {
        // What serde quotes of the document may be a secret.
        serde_json::from_slice(&self.body).map_err(|_| self.no_sense())
    }

    /// The error of an answer that is not what this protocol answers.
    pub fn no_sense(&self) -> TransferError {
        TransferError::Malformed { asked: self.asked.clone() }
    }
}

/// Without headers and body: they may hold secrets.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("asked", &self.asked)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_none_is_not_taken_for_the_usual_one() {
        for (url, is_wrong) in [
            ("http://a:65536/", true),
            ("http://ada@[::1]:99999", true),
            ("http://a:65535/", false),
            ("http://[::1]", false),
            ("http://ada:1@a:/b:99999", false),
        ] {
            assert_eq!(Request::get(url).has_wrong_port(), is_wrong, "{url}");
        }
    }

    #[test]
    fn what_a_url_may_hide_is_not_shown() {
        for (url, shown) in [
            ("https://ada:secret@a.example:9292/v2?token=secret", "https://a.example:9292/v2?…"),
            ("https://a.example/v2/a@b", "https://a.example/v2/a@b"),
            ("https://ada:p@ss@a.example", "https://a.example"),
            ("a.example", "a.example"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
        let request = Request::get("https://ada:secret@a.example:80/v2?token=secret");
        assert_eq!(request.host(), "a.example:80");
        let request = Request::get("https://a.example").bearer(&Secret::new("swordfish"));
        assert!(!format!("{request:?}").contains("swordfish"));
    }
}
