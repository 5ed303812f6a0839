//! TLS: the site's own certificate, or one that the daemon makes for itself.
//!
//! Clients know it by the SHA-256 of the certificate. Certificate and key are read again on SIGHUP and twice a day;
//! connections keep what they began with, and what is wrong does not replace what is good.

mod error;
mod pair;
mod self_signed;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use tokio_rustls::TlsAcceptor;

use crate::settings::{ServeSettings, TlsSettings};
pub use error::TlsError;
pub use pair::Certificate;
use pair::Pair;

/// A certificate that ends within this time is told of.
const NOTICE: SignedDuration = SignedDuration::from_hours(24 * 60);

/// A certificate with its key, as it is now.
#[derive(Debug)]
pub(super) struct Tls {
    place: Place,
    current: RwLock<Arc<Pair>>,
}

/// What a self-signed certificate is for; a daemon keeps it until it ends.
#[derive(Debug)]
struct Place {
    address: IpAddr,
    data_dir: Utf8PathBuf,
}

/// Where a certificate comes from.
enum Origin<'s> {
    Own { certificate: &'s Utf8Path, key: &'s Utf8Path },
    SelfSigned,
}

impl Tls {
    /// What `settings` ask for; `None` when clients speak without TLS.
    pub(super) fn open(
        settings: &ServeSettings,
        data_dir: &Utf8Path,
    ) -> Result<Option<Self>, TlsError> {
        let Some(origin) = origin(&settings.tls)? else {
            return Ok(None);
        };
        let place = Place { address: settings.listen.ip(), data_dir: data_dir.to_owned() };
        let pair = read(&origin, &settings.tls, &place)?;
        let seen = &pair.certificate;
        tracing::info!(fingerprint = %seen.fingerprint, ends = %seen.ends, "the certificate");
        warn_of_end(&origin, seen);
        let current = RwLock::new(Arc::new(pair));
        Ok(Some(Self { place, current }))
    }

    /// Reads certificate and key again, and makes a self-signed one anew that ends soon. Unless
    /// all is well, the old ones stay.
    pub(super) fn reload(&self, settings: &TlsSettings) -> Result<(), TlsError> {
        let origin = origin(settings)?.ok_or(TlsError::Off)?;
        let new = read(&origin, settings, &self.place)?;
        let (old, seen) = (self.certificate(), new.certificate.clone());
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        if old != seen {
            tracing::warn!(
                fingerprint = %seen.fingerprint,
                before = %old.fingerprint,
                ends = %seen.ends,
                "the certificate was replaced: clients that know it by its fingerprint need the new one"
            );
        }
        warn_of_end(&origin, &seen);
        Ok(())
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current().config).into()
    }

    /// What clients see.
    pub(super) fn certificate(&self) -> Certificate {
        self.current().certificate.clone()
    }

    fn current(&self) -> Arc<Pair> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The certificate that a daemon with `settings` shows to its clients.
///
/// # Errors
/// [`TlsError`]: among others, when it has made none yet. Nothing is made here: it would belong
/// to another user.
pub fn certificate(settings: &ServeSettings, data_dir: &Utf8Path) -> Result<Certificate, TlsError> {
    let path = match origin(&settings.tls)?.ok_or(TlsError::Off)? {
        Origin::Own { certificate, .. } => certificate.to_owned(),
        Origin::SelfSigned => self_signed::path(data_dir),
    };
    match pair::read_certificate(&path) {
        Err(TlsError::Read { source, path })
            if settings.tls.self_signed && source.kind() == std::io::ErrorKind::NotFound =>
        {
            Err(TlsError::NotYet { path })
        },
        read => read.map(|(_, seen)| seen),
    }
}

fn origin(settings: &TlsSettings) -> Result<Option<Origin<'_>>, TlsError> {
    match (settings.self_signed, &settings.certificate, &settings.key) {
        (false, None, None) => Ok(None),
        (true, None, None) => Ok(Some(Origin::SelfSigned)),
        (false, Some(certificate), Some(key)) => Ok(Some(Origin::Own { certificate, key })),
        (true, ..) => Err(TlsError::Both),
        (false, ..) => Err(TlsError::Half),
    }
}

fn read(origin: &Origin<'_>, settings: &TlsSettings, place: &Place) -> Result<Pair, TlsError> {
    let Origin::Own { certificate, key } = *origin else {
        return self_signed::open(&settings.names, place);
    };
    let pair = Pair::read(certificate, key)?;
    let (now, path) = (Timestamp::now(), certificate.to_owned());
    match pair.certificate {
        Certificate { ends: at, .. } if at <= now => Err(TlsError::Expired { path, at }),
        Certificate { begins: at, .. } if at > now => Err(TlsError::NotYetValid { path, at }),
        _ => Ok(pair),
    }
}

/// Tells of a certificate that ends soon while there is time.
fn warn_of_end(origin: &Origin<'_>, certificate: &Certificate) {
    let Certificate { fingerprint, ends, .. } = certificate;
    if ends.duration_since(Timestamp::now()) > NOTICE {
        return;
    }
    match origin {
        Origin::Own { certificate: path, .. } => {
            tracing::warn!(%path, %ends, "the certificate ends soon: renew it");
        },
        Origin::SelfSigned => tracing::warn!(
            %fingerprint,
            on = %(*ends - self_signed::RENEWAL),
            "the self-signed certificate ends soon and will be replaced"
        ),
    }
}
