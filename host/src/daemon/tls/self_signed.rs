//! A certificate that the daemon makes for itself.
//!
//! `DATA_DIR/tls/self-signed.pem` holds key and certificate, so that both are replaced at once. It is made
//! anew when it comes to its end, and when it lacks a name that the settings ask for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, date_time_ymd,
};
use tokio_rustls::rustls::pki_types::ServerName;

use super::pair::Pair;
use super::{Certificate, Place, TlsError};
use crate::atomic_file;

/// How long a certificate is valid. Some clients accept none that is valid for more than 825 days.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24 * 820);
/// What a certificate that is made anew had left.
pub(super) const RENEWAL: SignedDuration = SignedDuration::from_hours(24 * 30);
/// Clocks of clients differ.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(24);

/// Where the certificate is.
pub(super) fn path(data_dir: &Utf8Path) -> Utf8PathBuf {
    data_dir.join("tls/self-signed.pem")
}

/// The certificate, made first when there is none, when it ends soon, or when it lacks a name.
pub(super) fn open(names: &[String], place: &Place) -> Result<Pair, TlsError> {
    let path = path(&place.data_dir);
    let wanted = wanted(names, place.address)?;
    match Pair::read(&path, &path) {
        Ok(pair) => {
            let left = pair.certificate.ends.duration_since(Timestamp::now());
            let missing = wanted.iter().find(|name| !pair.names(name));
            if left > RENEWAL && missing.is_none() {
                return Ok(pair);
            }
            let name = missing.map(|name| name.to_str().into_owned());
            let Certificate { fingerprint: before, ends, .. } = pair.certificate;
            tracing::warn!(%before, %ends, missing = name, "the self-signed certificate is made anew");
        },
        Err(TlsError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {},
        Err(error) => return Err(TlsError::SelfSigned { path, source: Box::new(error) }),
    }
    make(&path, &wanted)?;
    Pair::read(&path, &path)
}

/// Names that a certificate must have.
fn wanted(names: &[String], address: IpAddr) -> Result<Vec<ServerName<'static>>, TlsError> {
    let mut wanted = Vec::new();
    if !address.is_unspecified() {
        wanted.push(address.into());
    }
    for name in names {
        let parsed = ServerName::try_from(name.clone());
        wanted.push(parsed.map_err(|_| TlsError::Name { name: name.clone() })?);
    }
    Ok(wanted)
}

/// Makes a certificate for `wanted` and the names that this machine has anyway.
fn make(path: &Utf8Path, wanted: &[ServerName<'_>]) -> Result<(), TlsError> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let mut names: Vec<String> = vec!["localhost".to_owned()];
    names.extend(ServerName::try_from(host.as_str()).ok().map(|name| name.to_str().into_owned()));
    let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    names.extend(loopback.map(|address| address.to_string()));
    for name in wanted {
        let name = name.to_str().into_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let mut parameters = CertificateParams::new(names).map_err(TlsError::Make)?;
    // A common name has 64 characters at most.
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, format!("imageforge {host:.50}"));
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = Timestamp::now();
    let ((year, month, date), end) = (day(now - CLOCK_SKEW), day(now + VALIDITY));
    parameters.not_before = date_time_ymd(year, month, date);
    parameters.not_after = date_time_ymd(end.0, end.1, end.2);
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let certificate = parameters.self_signed(&key).map_err(TlsError::Make)?;

    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| TlsError::Folder { path: folder.to_owned(), source })?;
    }
    let text = format!("{}{}", key.serialize_pem(), certificate.pem());
    Ok(atomic_file::write(path, text.as_bytes(), 0o600)?)
}

/// Year, month and day of `time`.
fn day(time: Timestamp) -> (i32, u8, u8) {
    let day = time.to_zoned(TimeZone::UTC).date();
    (day.year().into(), day.month().unsigned_abs(), day.day().unsigned_abs())
}
