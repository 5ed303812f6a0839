//! Who may do what in a registry: a FAKE of the token services that large registries have before them. The
//! registry behind it is real and believes only what is signed.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SigningKey};
use serde_json::{Value, json};

use super::Login;
use super::fake::{Asked, Fake, Reply};

/// What the registry calls itself in requests for tokens.
pub(super) const SERVICE: &str = "registry.suite";
/// Who signs tokens.
pub(super) const ISSUER: &str = "tokens.suite";

/// Bytes of each of the two numbers of a signature by P-256.
const NUMBER: usize = 32;

/// A fake token service, which grants [`Login::ADA`] whatever is asked for, and others nothing.
#[derive(Debug)]
pub(crate) struct FakeTokens {
    fake: Fake,
    certificate: String,
}

impl FakeTokens {
    pub(crate) fn start() -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, ISSUER);
        let key = KeyPair::generate().unwrap();
        let issuer = Arc::new(CertifiedIssuer::self_signed(parameters, key).unwrap());
        let certificate = issuer.pem();
        Self { fake: Fake::start(move |asked| answer(asked, &issuer)), certificate }
    }

    /// Where tokens are asked for.
    pub(crate) fn url(&self) -> String {
        format!("{}/token", self.fake.url())
    }

    /// What tokens are signed with, PEM.
    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// All that it was asked: `GET /token?…`
    pub(crate) fn asked(&self) -> Vec<String> {
        self.fake.asked()
    }
}

fn answer(asked: &Asked, issuer: &CertifiedIssuer<'static, KeyPair>) -> Reply {
    let Login { username, password, .. } = Login::ADA;
    let ada = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
    let access = match asked.header("authorization") {
        "" => Vec::new(),
        known if known == ada => wanted(&asked.query),
        _ => return (401, String::new(), json!({ "details": "incorrect username or password" })),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let head = json!({ "typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(issuer.der())] });
    let claims = json!({
        "iss": ISSUER, "sub": username, "aud": SERVICE, "jti": now.to_string(),
        "nbf": now - 10, "iat": now, "exp": now + 300, "access": access,
    });
    let part = |document: &Value| URL_SAFE_NO_PAD.encode(document.to_string());
    let signed = format!("{}.{}", part(&head), part(&claims));
    let signature = numbers(&issuer.key().sign(signed.as_bytes()).unwrap());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    (200, String::new(), json!({ "token": token, "expires_in": 300 }))
}

/// The rights that a query asks for: `scope=repository:NAME:pull,push`, once or several times.
fn wanted(query: &str) -> Vec<Value> {
    let scopes = query.split('&').filter_map(|pair| pair.strip_prefix("scope="));
    let plain = scopes.map(|scope| {
        let plain = scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
        plain.replace("%20", " ").replace('+', " ")
    });
    let mut access = Vec::new();
    for scopes in plain {
        for scope in scopes.split(' ') {
            let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else { continue };
            let actions: Vec<&str> = actions.split(',').collect();
            access.push(json!({ "type": kind, "name": name, "actions": actions }));
        }
    }
    access
}

/// A signature as tokens have it: both numbers, each in 32 bytes, instead of a sequence in DER.
fn numbers(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let (number, after) = rest[2..].split_at(usize::from(rest[1]));
        let number = &number[number.len().saturating_sub(NUMBER)..];
        numbers.resize(numbers.len() + NUMBER - number.len(), 0);
        numbers.extend_from_slice(number);
        rest = after;
    }
    numbers
}
