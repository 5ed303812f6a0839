//! Addresses of those who want to be told what becomes of images.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

use crate::images::NewCallback;
use crate::seal::{SealError, Sealer};
use crate::settings::CallbackSettings;

/// Longest address, in bytes.
const MAX_BYTES: usize = 2048;
/// Most addresses of one request.
pub(super) const MAX_CALLBACKS: usize = 16;

/// Where a receiver is, and how it knows us. `Debug` shows what people may see.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackAddress {
    uri: Uri,
    authorization: Option<String>,
}

impl CallbackAddress {
    /// Reads `http[s]://[USER[:PASSWORD]@]HOST[:PORT][/PATH][?QUERY]`.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence; it never holds the address.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_BYTES {
            return Err("is longer than 2048 bytes");
        }
        let uri: Uri = text.parse().map_err(|_| "is no URL")?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("is no `http://` or `https://` URL");
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if uri.host().is_none_or(str::is_empty) {
            return Err("names no host");
        }
        let authorization = user.map(|user| {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            let mut pair: Vec<u8> = percent_decode_str(name).collect();
            pair.push(b':');
            pair.extend(percent_decode_str(password));
            format!("Basic {}", STANDARD.encode(pair))
        });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder()
            .scheme(uri.scheme_str().unwrap_or_default())
            .authority(host)
            .path_and_query(path)
            .build()
            .map_err(|_| "is no URL")?;
        Ok(Self { uri, authorization })
    }

    /// Reads an address that was accepted with a job.
    ///
    /// # Errors
    /// [`SealError`]: it was changed, or the key is another one.
    pub fn unseal(sealer: &Sealer, sealed: &[u8]) -> Result<Self, SealError> {
        let text = String::from_utf8(sealer.unseal(sealed)?).map_err(|_| SealError::Damaged)?;
        Self::parse(&text).map_err(|_| SealError::Damaged)
    }

    /// Refuses an address that is known to be out of bounds without asking who has that name.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence.
    pub fn check(&self, settings: &CallbackSettings) -> Result<(), &'static str> {
        let host = self.host();
        match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) if !settings.allows(host, address) => {
                Err("is an address that this daemon does not tell anything")
            },
            _ => Ok(()),
        }
    }

    /// The address without user and password.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The host; an IPv6 address in brackets.
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
    }

    /// What the header `Authorization` says.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Scheme, host and port: whoever shares them shares a receiver.
    pub fn origin(&self) -> String {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        format!("{}://{authority}", self.uri.scheme_str().unwrap_or_default())
    }

    /// The address for people: user, password and query may be secret and are not in it.
    pub fn shown(&self) -> String {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        format!(
            "{}://{}{authority}{}{}",
            self.uri.scheme_str().unwrap_or_default(),
            if self.authorization.is_some() { "***@" } else { "" },
            self.uri.path(),
            if self.uri.query().is_some() { "?***" } else { "" },
        )
    }
}

/// Addresses that were checked, as they are kept with their job.
pub(super) fn seal(sealer: &Sealer, addresses: &[String]) -> Result<Vec<NewCallback>, SealError> {
    let parsed =
        addresses.iter().filter_map(|text| Some((text, CallbackAddress::parse(text).ok()?)));
    let sealed = parsed.map(|(text, address)| {
        Ok(NewCallback { address: sealer.seal(text.as_bytes())?, shown: address.shown() })
    });
    sealed.collect()
}

impl std::fmt::Debug for CallbackAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_become_a_header_and_are_never_shown() {
        let address =
            CallbackAddress::parse("https://ann:p%40ss%3Aw@[::1]:8443/a/b?token=t0p").unwrap();
        assert_eq!(address.uri().to_string(), "https://[::1]:8443/a/b?token=t0p");
        let expected = format!("Basic {}", STANDARD.encode("ann:p@ss:w"));
        assert_eq!(address.authorization(), Some(expected.as_str()));
        assert_eq!(address.shown(), "https://***@[::1]:8443/a/b?***");
        assert_eq!(format!("{address:?}"), address.shown());
        assert_eq!(address.origin(), "https://[::1]:8443");
    }

    #[test]
    fn only_web_addresses_are_taken() {
        let texts =
            ["", "debug", "/hook", "ftp://a/", "file:///etc/passwd", "http://", "http://u@/"];
        for text in texts {
            assert!(CallbackAddress::parse(text).is_err(), "{text}");
        }
        let long = format!("http://a/{}", "x".repeat(MAX_BYTES));
        assert!(CallbackAddress::parse(&long).is_err());
        assert_eq!(CallbackAddress::parse("http://a").unwrap().uri().to_string(), "http://a/");
    }

    #[test]
    fn an_address_out_of_bounds_is_refused_before_anything_is_accepted() {
        let settings = CallbackSettings::default();
        let check = |text: &str| CallbackAddress::parse(text).unwrap().check(&settings);
        assert!(check("http://169.254.169.254/latest").is_err());
        assert!(check("http://[fe80::1]/").is_err());
        assert!(check("http://[::1]/").is_ok() && check("http://example.org/").is_ok());
    }
}
