//! Where a daemon is.

use std::fmt;
use std::net::IpAddr;

use camino::Utf8PathBuf;
use hyper::Uri;

use super::ClientError;

/// The address of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket of this machine.
    Socket(Utf8PathBuf),
    /// HTTP without TLS, within this machine.
    Loopback {
        /// `localhost`, or an address of the loopback interface.
        host: String,
        /// The port.
        port: u16,
    },
    /// HTTP over TLS.
    Tls {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Address {
    /// Reads `https://HOST:PORT`, `http://127.0.0.1:PORT` or `unix:/PATH`.
    ///
    /// # Errors
    /// [`ClientError::Address`]; HTTP without TLS is for loopback only, since what is sent holds a token
    /// and may hold credentials.
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let wrong = |reason| ClientError::Address { given: text.to_owned(), reason };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                _ if path.starts_with('/') => Ok(Self::Socket(path.into())),
                _ => Err(wrong("names no absolute path of a socket")),
            };
        }
        let uri: Uri = text.parse().map_err(|_| wrong("is no address"))?;
        let authority = uri.authority().ok_or_else(|| wrong("names no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("holds a user, which belongs elsewhere"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(wrong("holds more than a host and a port"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16();
        if port.is_none() && authority.as_str() != authority.host() {
            return Err(wrong("names no port behind its colon"));
        }
        match uri.scheme_str() {
            Some("https") => Ok(Self::Tls { host, port: port.unwrap_or(443) }),
            Some("http") if is_loopback(&host) => {
                Ok(Self::Loopback { host, port: port.unwrap_or(80) })
            },
            Some("http") => Err(wrong("would send secrets over the network in clear")),
            _ => Err(wrong("is neither `https:`, `http:` nor `unix:`")),
        }
    }

    /// What the header `Host` says.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Socket(_) => "localhost".to_owned(),
            Self::Loopback { host, port } | Self::Tls { host, port } => join(host, *port),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// As [`Address::parse`] reads it.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix:{path}"),
            Self::Loopback { host, port } => write!(f, "http://{}", join(host, *port)),
            Self::Tls { host, port } => write!(f, "https://{}", join(host, *port)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_as_it_is_written() {
        for text in [
            "https://forge.example:8075",
            "https://[2001:db8::1]:8075",
            "http://127.0.0.1:8075",
            "http://[::1]:8075",
            "http://localhost:8075",
            "unix:/run/imageforge/serve.sock",
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Address::parse("https://a/").unwrap().to_string(), "https://a:443");
    }

    #[test]
    fn what_would_leak_or_is_unclear_is_refused() {
        for text in [
            "http://forge.example:8075",
            "http://10.0.0.1",
            "http://127.0.0.1.example",
            "https://user:secret@forge.example",
            "https://forge.example/v1",
            "https://forge.example?a=b",
            "https://forge.example:",
            "https://forge.example:99999",
            "ftp://forge.example",
            "forge.example:8075",
            "unix:serve.sock",
            "",
        ] {
            let refused = Address::parse(text);
            assert!(matches!(refused, Err(ClientError::Address { .. })), "{text}: {refused:?}");
        }
    }
}
