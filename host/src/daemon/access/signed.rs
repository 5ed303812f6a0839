//! What an OAuth signature is of: the base string of RFC 5849 §3.4.1.

use axum::http::Method;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters (RFC 5849 §3.6).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The parts of a request that are signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) method: &'a Method,
    /// Host and port, as the client named them.
    pub(super) host: &'a str,
    /// The path, as it was sent.
    pub(super) path: &'a str,
    /// What stands behind `?`.
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
    /// Whether the body is a form, whose fields are signed.
    pub(super) is_form: bool,
}

impl<'a> Signed<'a> {
    /// Those of the request with this head.
    pub(super) fn of(request: &'a Parts, body: &'a [u8]) -> Self {
        let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = || request.uri.authority().map(Authority::as_str);
        Self {
            method: &request.method,
            host: host.or_else(authority).unwrap_or_default(),
            path: request.uri.path(),
            query: request.uri.query().unwrap_or_default(),
            body,
            is_form: is_form(request),
        }
    }
}

/// Whether the body of a request must be known to verify its signature.
pub(super) fn signs_body(request: &Parts) -> bool {
    let header = request.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    is_form(request) || header.is_some_and(|header| header.contains("oauth_body_hash"))
}

fn is_form(request: &Parts) -> bool {
    let kind = request.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// The parameters of an `Authorization` header; `None` when it is malformed or one is given twice.
pub(super) fn parameters(header: &str) -> Option<Vec<(String, String)>> {
    let mut given: Vec<(String, String)> = Vec::new();
    for pair in header.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim().strip_prefix('"')?.strip_suffix('"')?;
        let decode = |text| Some(percent_decode_str(text).decode_utf8().ok()?.into_owned());
        let (key, value) = (decode(key.trim())?, decode(value)?);
        if given.iter().any(|(other, _)| *other == key) {
            return None;
        }
        given.push((key, value));
    }
    Some(given)
}

/// What is signed, in the order and encoding that both sides know. `scheme` is `http` or `https`; `given`
/// are the parameters of the header.
pub(super) fn base_string(signed: &Signed<'_>, scheme: &str, given: &[(String, String)]) -> String {
    let form = if signed.is_form { signed.body } else { b"" };
    let fields = form_urlencoded::parse(signed.query.as_bytes())
        .chain(form_urlencoded::parse(form))
        .map(|(key, value)| (encode(&key), encode(&value)));
    let header = given
        .iter()
        .filter(|(key, _)| key != "realm" && key != "oauth_signature")
        .map(|(key, value)| (encode(key), encode(value)));
    let mut all: Vec<(String, String)> = fields.chain(header).collect();
    all.sort();
    let all: Vec<String> = all.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    let host = signed.host.to_ascii_lowercase();
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(usual).unwrap_or(&host);
    let url = format!("{scheme}://{host}{}", signed.path);
    format!("{}&{}&{}", signed.method, encode(&url), encode(&all.join("&")))
}

/// Percent-encodes as RFC 5849 §3.6 wants it.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
