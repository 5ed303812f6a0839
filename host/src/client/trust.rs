//! Whether the certificate that a server shows is one to be trusted.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use camino::Utf8PathBuf;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    self, CryptoProvider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::ClientError;
use crate::fingerprint::Fingerprint;

/// What a certificate must be to be trusted. Without either, an authority of this system vouches for it.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// PEM file of the authorities of which one vouches for it, in the system's place.
    pub authorities: Option<Utf8PathBuf>,
    /// It is this one; without `authorities`, whoever vouches for it.
    pub fingerprint: Option<Fingerprint>,
}

impl Trust {
    /// Whether it says more than the system does.
    pub(super) fn is_particular(&self) -> bool {
        self.authorities.is_some() || self.fingerprint.is_some()
    }
}

/// Makes connections secure.
pub(super) struct Tls {
    connector: TlsConnector,
    verifier: Arc<Verifier>,
}

impl Tls {
    pub(super) fn new(trust: &Trust) -> Result<Self, ClientError> {
        let provider = Arc::new(crypto::ring::default_provider());
        let unusable = |error: Error| ClientError::Machine(io::Error::other(error));
        let inner = match (&trust.authorities, trust.fingerprint) {
            (Some(path), _) => Some(authorities(path, &provider)?),
            (None, Some(_)) => None,
            (None, None) => {
                let system = rustls_platform_verifier::Verifier::new(Arc::clone(&provider));
                let system = system.map_err(ClientError::NoAuthorities)?;
                Some(Arc::new(system) as Arc<dyn ServerCertVerifier>)
            },
        };
        let verifier = Arc::new(Verifier {
            inner,
            wanted: trust.fingerprint,
            provider: Arc::clone(&provider),
            shown: Mutex::default(),
        });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), verifier })
    }

    pub(super) fn connector(&self) -> &TlsConnector {
        &self.connector
    }

    /// The certificate that was shown last.
    pub(super) fn shown(&self) -> Option<Fingerprint> {
        *self.verifier.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those that vouch for servers, from a file.
fn authorities(
    path: &Utf8PathBuf,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, ClientError> {
    let unreadable = |source: io::Error| ClientError::Authorities { path: path.clone(), source };
    let text = fs_err::read(path).map_err(unreadable)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| unreadable(io::Error::other(error)))?;
        roots.add(certificate).map_err(|error| unreadable(io::Error::other(error)))?;
    }
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
    Ok(verifier.map_err(|error| unreadable(io::Error::other(error)))?)
}

/// Looks at the fingerprint, then has somebody else look at the rest.
#[derive(Debug)]
struct Verifier {
    inner: Option<Arc<dyn ServerCertVerifier>>,
    wanted: Option<Fingerprint>,
    provider: Arc<CryptoProvider>,
    shown: Mutex<Option<Fingerprint>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = Fingerprint::of(end_entity);
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        if self.wanted.is_some_and(|wanted| wanted != shown) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        match &self.inner {
            None => Ok(ServerCertVerified::assertion()),
            Some(inner) => {
                inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            },
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
