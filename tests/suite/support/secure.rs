//! A client that speaks TLS and trusts one certificate, and certificates for it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd,
};
use sha2::{Digest, Sha256};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::PATIENCE;

/// A certificate with its key, PEM, and the fingerprint that clients know it by.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key: String,
    pub(crate) fingerprint: String,
}

impl Certificate {
    /// One for this machine and `forge.test`, valid from the beginning of one year to that of another.
    pub(crate) fn new(from: i32, to: i32) -> Self {
        Self::make(|parameters| {
            parameters.not_before = date_time_ymd(from, 1, 1);
            parameters.not_after = date_time_ymd(to, 1, 1);
        })
    }

    /// One that ends in a few days.
    pub(crate) fn for_days(days: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self::make(|parameters| {
            parameters.not_before = date_time_ymd(2020, 1, 1);
            let days = Duration::from_hours(24 * days);
            parameters.not_after = date_time_ymd(1970, 1, 1) + now + days;
        })
    }

    /// One for `forge.test`, with that of the authority which signed it, and the root which signed that one.
    pub(crate) fn of_authority() -> (Self, String) {
        let authority = |name: &str| {
            let mut parameters = CertificateParams::new(Vec::new()).unwrap();
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters.distinguished_name.push(DnType::CommonName, name);
            (parameters, KeyPair::generate().unwrap())
        };
        let (parameters, key) = authority("root");
        let root = CertifiedIssuer::self_signed(parameters, key).unwrap();
        let (parameters, key) = authority("between");
        let between = CertifiedIssuer::signed_by(parameters, key, &root).unwrap();
        let parameters = CertificateParams::new(["forge.test".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = parameters.signed_by(&key, &between).unwrap();
        let pem = format!("{}{}", own.pem(), between.pem());
        let fingerprint = fingerprint(own.der());
        (Self { pem, key: key.serialize_pem(), fingerprint }, root.pem())
    }

    /// One for this machine, and the authority which signed it.
    pub(crate) fn of_loopback() -> (Self, String) {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, "an authority of the suite");
        let root = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let names = ["127.0.0.1", "localhost"].map(str::to_owned);
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(names).unwrap().signed_by(&key, &root).unwrap();
        let fingerprint = fingerprint(own.der());
        (Self { pem: own.pem(), key: key.serialize_pem(), fingerprint }, root.pem())
    }

    fn make(set: impl FnOnce(&mut CertificateParams)) -> Self {
        let names = ["127.0.0.1", "localhost", "forge.test"].map(str::to_owned);
        let mut parameters = CertificateParams::new(names).unwrap();
        set(&mut parameters);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            key: key.serialize_pem(),
            fingerprint: fingerprint(certificate.der()),
        }
    }
}

/// A connection that speaks TLS.
#[derive(Debug)]
pub(crate) struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// Connects to `address`, the port of a daemon that must show the certificate in the file
    /// `trusted`, which must be one of `name`.
    pub(crate) fn connect(address: &str, trusted: &Path, name: &str) -> io::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = TcpStream::connect(address.trim_start_matches("https://"))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        while connection.is_handshaking() {
            connection.complete_io(&mut stream)?;
        }
        Ok(Self(StreamOwned::new(connection, stream)))
    }

    /// The fingerprint of the certificate that the daemon showed.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.0.conn.peer_certificates().unwrap()[0])
    }

    /// What was agreed to be spoken.
    pub(crate) fn protocol(&self) -> String {
        String::from_utf8(self.0.conn.alpn_protocol().unwrap().to_vec()).unwrap()
    }
}

impl Read for Secure {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Secure {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn fingerprint(der: &[u8]) -> String {
    format!("SHA256:{}", hex::encode(Sha256::digest(der)))
}

/// The head of a request; `more` are further lines.
pub(crate) fn head(method: &str, path: &str, token: &str, more: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: forge.test\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
    )
}

/// Asks for `path` and answers all that comes until the connection ends.
#[track_caller]
pub(crate) fn ask(mut stream: impl Read + Write, path: &str, token: &str) -> String {
    stream.write_all(head("GET", path, token, "Connection: close\r\n").as_bytes()).unwrap();
    rest(stream)
}

/// All that comes until the connection ends.
#[track_caller]
pub(crate) fn rest(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // The other end need not be polite to somebody whom it hangs up on.
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof
            ) =>
        {
            panic!("the connection does not end: {error}")
        },
        _ => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// Reads until `text` has come.
#[track_caller]
pub(crate) fn read_until(stream: &mut impl Read, text: &str) -> String {
    let (mut all, mut buffer) = (String::new(), [0; 4096]);
    while !all.contains(text) {
        let length = stream.read(&mut buffer).unwrap_or_else(|error| panic!("{error} after {all}"));
        assert!(length > 0, "the stream ends after {all}");
        all.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    all
}
