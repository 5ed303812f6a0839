//! How servers are spoken to.

use std::sync::Arc;
use std::time::Duration;

use camino::Utf8PathBuf;
use plugin_api::{Builder, DelegateError};
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};

use super::early::{Answered, EarlyConnector};
use super::error::{Words, printable};
use super::resolver::SystemResolver;
use super::tcp::TcpConnector;
use super::{Retries, Secret, TransferError};

/// Bytes that are read of a file and written to a connection at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// How often at most is tried again what can as well be asked for again.
const FEW: u32 = 2;

/// How long is waited for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// For the next part of a body to be taken.
    pub silence: Duration,
    /// For an answer, and for each next part of it.
    pub answer: Duration,
    /// For everything, when there is such a limit.
    pub total: Option<Duration>,
}

impl Default for Limits {
    /// An answer may take minutes: a server that was sent an image looks at it first.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            silence: Duration::from_mins(1),
            answer: Duration::from_mins(5),
            total: None,
        }
    }
}

/// How servers are spoken to.
#[derive(Clone, Debug)]
pub struct Options {
    /// Authorities of which one vouches for a server, in place of the system's: certificates in PEM
    /// form, or the path of a file of them.
    pub authorities: Option<String>,
    /// Believes every server to be who it says. Whoever stands between reads and changes everything.
    pub insecure: bool,
    /// How long is waited.
    pub limits: Limits,
    /// How often is tried again.
    pub retries: Retries,
    /// Who asks: the name of a program and its version.
    pub user_agent: String,
    /// What is never shown.
    pub secrets: Vec<Secret>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            authorities: None,
            insecure: false,
            limits: Limits::default(),
            retries: Retries::default(),
            user_agent: concat!("imageforge/", env!("CARGO_PKG_VERSION")).to_owned(),
            secrets: Vec::new(),
        }
    }
}

impl Options {
    /// The defaults, and what the plugin's own settings say under the names that plugins share: `retries`.
    ///
    /// # Errors
    /// `InvalidInput`: no number.
    pub fn configured(builder: &Builder) -> Result<Self, DelegateError> {
        let mut options = Self::default();
        if let Some(times) = builder.configuration().u64("retries")? {
            options.retries.times = u32::try_from(times).unwrap_or(u32::MAX);
        }
        Ok(options)
    }

    /// Refuses `authorities` that a request names when they are a file of this machine and the request is from
    /// elsewhere. What the settings of a plugin name is the operator's word, and not asked about.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub fn check_authorities(builder: &Builder, given: Option<&str>) -> Result<(), DelegateError> {
        if !builder.is_remote() || given.is_none_or(is_pem) {
            return Ok(());
        }
        Err(DelegateError::invalid_input(
            "a request from the network names a file of this machine for authorities of certificates",
        )
        .hint("write the certificates themselves, in PEM form, or have them named in the settings of the plugin"))
    }

    /// For asking before a build whether a server would do it: seconds, two tries more.
    #[must_use]
    pub fn for_check(mut self) -> Self {
        self.limits.connect = Duration::from_secs(5);
        self.limits.answer = Duration::from_secs(15);
        self.retries.first_wait = self.retries.first_wait.min(Duration::from_millis(500));
        self.retries.longest_wait = self.retries.longest_wait.min(Duration::from_secs(5));
        self.for_deleting()
    }

    /// For deleting what was delivered: two tries more. Nobody sees why it takes time, and it may be asked for again.
    #[must_use]
    pub fn for_deleting(mut self) -> Self {
        self.retries.times = self.retries.times.min(FEW);
        self
    }

    /// For removing what was half there, also after a cancel: within the seconds that are left.
    #[must_use]
    pub(super) fn for_clean_up(mut self) -> Self {
        self.limits.connect = Duration::from_secs(2);
        self.limits.total = Some(Duration::from_secs(4));
        self.retries.times = self.retries.times.min(1);
        self.retries.longest_wait = self.retries.longest_wait.min(Duration::from_millis(300));
        self
    }

    /// What connects as these options say.
    pub(super) fn agent(&self, answered: Answered) -> Result<Agent, TransferError> {
        let roots = match &self.authorities {
            None => RootCerts::PlatformVerifier,
            Some(given) => RootCerts::Specific(Arc::new(authorities(given)?)),
        };
        let tls =
            TlsConfig::builder().root_certs(roots).disable_verification(self.insecure).build();
        let limits = &self.limits;
        let config = Agent::config_builder()
            .timeout_resolve(Some(limits.connect))
            .timeout_connect(Some(limits.connect))
            .timeout_per_write(Some(limits.silence))
            .timeout_per_read(Some(limits.answer))
            .timeout_global(limits.total)
            .http_status_as_error(false)
            // A token must not follow to another server.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .output_buffer_size(CHUNK_BYTES)
            .user_agent(&self.user_agent)
            .tls_config(tls)
            .build();
        let connector = ConnectProxyConnector::default()
            .chain(TcpConnector)
            .chain(RustlsConnector::default())
            .chain(EarlyConnector(answered));
        Ok(Agent::with_parts(config, connector, SystemResolver::default()))
    }
}

fn is_pem(given: &str) -> bool {
    given.contains("-----BEGIN")
}

fn authorities(given: &str) -> Result<Vec<Certificate<'static>>, TransferError> {
    let (from, pem) = if is_pem(given) {
        ("the text that was given".to_owned(), Ok(given.as_bytes().to_vec()))
    } else {
        let path = Utf8PathBuf::from(given.trim());
        (format!("`{path}`"), fs_err::read(&path))
    };
    let wrong = |reason: String| {
        let source = Words(printable(&reason));
        TransferError::Authorities { from: from.clone(), source }
    };
    let pem = pem.map_err(|error| wrong(error.to_string()))?;
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| wrong(error.to_string()))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned()));
    }
    Ok(found)
}
