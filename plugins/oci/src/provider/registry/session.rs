//! Requests to one registry, with what it wants to be shown.
//!
//! A registry that wants something says so by 401 and a challenge: a password (RFC 7617), or a token that
//! its token service gives for it (the distribution project's token and OAuth 2 specifications). A token
//! that has run out is answered like none, and another one is asked for.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use plugin_api::{Builder, DelegateError};
use plugin_kit::transfer::{
    Answer, Client, Options, Request, Secret, TransferError, Upload, is_loopback,
};
use serde::Deserialize;

use super::address::Address;
use super::challenge::Challenge;
use super::credentials::Credentials;

/// Who asks, as token services want to know.
const CLIENT_ID: &str = "imageforge";
/// Of a token that does not say how long it lives, and of every other one at least (the token specification).
const LEAST_LIFE: Duration = Duration::from_mins(1);
/// A token that is about to run out is not used for a long upload.
const SPARE: Duration = Duration::from_secs(10);

/// A registry, for one build.
pub(super) struct Session<'a> {
    pub(super) client: Client<'a>,
    pub(super) address: Address,
    pub(super) repository: String,
    pub(super) credentials: Credentials,
    /// What is asked of the token service.
    scopes: Vec<String>,
    proof: RefCell<Proof>,
}

/// What the registry wants to see.
#[derive(Clone, Debug, Default)]
enum Proof {
    #[default]
    Nothing,
    Basic(Secret),
    Bearer {
        token: Secret,
        until: Option<Instant>,
    },
}

impl<'a> Session<'a> {
    /// A session for doing `actions` (`pull,push`) in `repository`, with the builder's credentials.
    pub(super) fn new(
        builder: &'a Builder,
        address: &Address,
        repository: &str,
        actions: &str,
        options: Options,
    ) -> Result<Self, DelegateError> {
        let credentials = Credentials::of(builder, &address.host, repository)?;
        Self::with(credentials, builder, address, repository, actions, options)
    }

    /// The same with these credentials.
    pub(super) fn with(
        credentials: Credentials,
        builder: &'a Builder,
        address: &Address,
        repository: &str,
        actions: &str,
        options: Options,
    ) -> Result<Self, DelegateError> {
        let configured = builder.configuration().string("ca")?;
        let options = Options {
            authorities: address.authorities.clone().or(configured),
            insecure: address.insecure,
            secrets: credentials.secrets(),
            ..options
        };
        if address.plain_http && !is_loopback(&address.host) && credentials != Credentials::None {
            tracing::warn!(
                "`{}` is spoken to without TLS: the credentials can be read on the way",
                address.host
            );
        }
        let mut scopes = vec![format!("repository:{repository}:{actions}")];
        scopes.extend(address.mount_from.iter().map(|from| format!("repository:{from}:pull")));
        let proof = match &credentials {
            Credentials::Token(token) => Proof::Bearer { token: token.clone(), until: None },
            _ => Proof::Nothing,
        };
        Ok(Self {
            client: Client::new(builder, options)?,
            address: address.clone(),
            repository: repository.to_owned(),
            credentials,
            scopes,
            proof: RefCell::new(proof),
        })
    }

    /// The same over new connections, which a cancel does not end.
    pub(super) fn for_clean_up(&self) -> Result<Self, TransferError> {
        Ok(Self {
            client: self.client.for_clean_up()?,
            address: self.address.clone(),
            repository: self.repository.clone(),
            credentials: self.credentials.clone(),
            scopes: self.scopes.clone(),
            proof: RefCell::new(self.proof.borrow().clone()),
        })
    }

    /// The account that is used.
    pub(super) fn account(&self) -> Option<&str> {
        self.credentials.account()
    }

    /// An address below that of the repository.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}/v2/{}/{path}", self.address.base(), self.repository)
    }

    /// Sends a request.
    pub(super) fn send(&self, request: &Request, url: &str) -> Result<Answer, TransferError> {
        self.proven(request, url, |request| self.client.send(request))
    }

    /// Sends a request with a part of a file.
    pub(super) fn upload(
        &self,
        request: &Request,
        url: &str,
        upload: &mut Upload,
    ) -> Result<Answer, TransferError> {
        self.proven(request, url, |request| self.client.upload(request, upload))
    }

    /// Shows what is known to be wanted, and what a challenge asks for.
    fn proven(
        &self,
        request: &Request,
        url: &str,
        mut send: impl FnMut(&Request) -> Result<Answer, TransferError>,
    ) -> Result<Answer, TransferError> {
        if !is_same_server(url, &self.address.base()) {
            // An upload may go to another server, which has an address that is proof enough.
            return send(request);
        }
        let refused = match send(&self.with_proof(request.clone())) {
            Err(error) if error.status() == Some(401) => error,
            other => return other,
        };
        let Some(challenge) = refused.headers("www-authenticate").find_map(Challenge::parse) else {
            return Err(refused);
        };
        let Some(proof) = self.proof_for(&challenge)? else { return Err(refused) };
        self.proof.replace(proof);
        send(&self.with_proof(request.clone()))
    }

    fn with_proof(&self, request: Request) -> Request {
        match &*self.proof.borrow() {
            Proof::Nothing => request,
            Proof::Basic(pair) => {
                request.header("authorization", format!("Basic {}", pair.expose()))
            },
            Proof::Bearer { until: Some(until), .. } if *until < Instant::now() + SPARE => request,
            Proof::Bearer { token, .. } => request.bearer(token),
        }
    }

    /// What answers the challenge; `None` when there is nothing to show, or it was shown already.
    fn proof_for(&self, challenge: &Challenge) -> Result<Option<Proof>, TransferError> {
        match challenge {
            Challenge::Basic => {
                let shown = matches!(*self.proof.borrow(), Proof::Basic(_));
                Ok(self.credentials.basic().filter(|_| !shown).map(Proof::Basic))
            },
            Challenge::Bearer { .. } if matches!(self.credentials, Credentials::Token(_)) => {
                Ok(None)
            },
            Challenge::Bearer { realm, service, scope } => {
                self.token(realm, service.as_deref(), scope.as_deref()).map(Some)
            },
        }
    }

    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: Option<&str>,
    ) -> Result<Proof, TransferError> {
        let mut scopes = self.scopes.clone();
        let asked = scope.into_iter().flat_map(|scope| scope.split(' '));
        scopes.extend(asked.filter(|scope| !self.covers(scope)).map(str::to_owned));
        let request = match &self.credentials {
            Credentials::Identity(token) if self.may_show(realm) => {
                let mut form = vec![
                    ("grant_type", "refresh_token".to_owned()),
                    ("refresh_token", token.expose().to_owned()),
                    ("client_id", CLIENT_ID.to_owned()),
                    ("scope", scopes.join(" ")),
                ];
                form.extend(service.map(|service| ("service", service.to_owned())));
                Request::post(realm)
                    .body("application/x-www-form-urlencoded", encoded(&form))
                    .repeatable(true)
            },
            credentials => {
                let mut query: Vec<_> =
                    service.map(|service| ("service", service.to_owned())).into_iter().collect();
                query.extend(scopes.into_iter().map(|scope| ("scope", scope)));
                query.extend(credentials.account().map(|account| ("account", account.to_owned())));
                let mark = if realm.contains('?') { '&' } else { '?' };
                let request = Request::get(format!("{realm}{mark}{}", encoded(&query)));
                match credentials.basic().filter(|_| self.may_show(realm)) {
                    Some(pair) => {
                        request.header("authorization", format!("Basic {}", pair.expose()))
                    },
                    None => request,
                }
            },
        };
        let answer = self.client.send(&request)?;
        let given: Given = answer.json()?;
        let tokens = [given.token, given.access_token];
        let Some(token) = tokens.into_iter().flatten().find(|token| !token.is_empty()) else {
            return Err(answer.no_sense());
        };
        self.client.keep_secret(&token);
        let life = given.expires_in.map_or(LEAST_LIFE, Duration::from_secs).max(LEAST_LIFE);
        Ok(Proof::Bearer { token, until: Instant::now().checked_add(life) })
    }

    /// Whether the scopes that are always asked for hold `scope`, written in another order perhaps.
    fn covers(&self, scope: &str) -> bool {
        let parts = |scope: &'_ str| -> Option<(String, Vec<String>)> {
            let (name, actions) = scope.rsplit_once(':')?;
            Some((name.to_owned(), actions.split(',').map(str::to_owned).collect()))
        };
        let Some((name, actions)) = parts(scope) else { return false };
        self.scopes.iter().filter_map(|own| parts(own)).any(|(own_name, own_actions)| {
            own_name == name && actions.iter().all(|action| own_actions.contains(action))
        })
    }

    /// A secret that travels by TLS to the registry does not travel without it to its token service.
    fn may_show(&self, realm: &str) -> bool {
        let host = realm.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        let safe = host.is_none_or(|host| self.address.plain_http || is_loopback(host));
        if !safe {
            tracing::warn!("the token service has no TLS, so it is not shown the credentials");
        }
        safe
    }
}

#[derive(Deserialize)]
struct Given {
    token: Option<Secret>,
    access_token: Option<Secret>,
    expires_in: Option<u64>,
}

/// Whether both addresses are of one server, however it writes itself: names know no case, and the port of a scheme
/// need not be there.
fn is_same_server(url: &str, other: &str) -> bool {
    server_of(url).is_some_and(|server| Some(server) == server_of(other))
}

fn server_of(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (scheme, host) = (scheme.to_ascii_lowercase(), rest[..end].to_ascii_lowercase());
    let port = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(port).unwrap_or(&host).to_owned();
    Some((scheme, host))
}

/// Names and values as a query or a form has them.
fn encoded(pairs: &[(&str, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_registry_itself_is_shown_anything() {
        let base = "https://registry.example";
        for own in [
            "https://registry.example/v2/x",
            "https://registry.example:443/v2/x",
            "HTTPS://Registry.Example/v2/x?y",
        ] {
            assert!(is_same_server(own, base), "{own}");
        }
        for other in [
            "http://registry.example/v2/x",
            "https://registry.example:5000/v2/x",
            "https://registry.example.evil.example/x",
            "https://registry.example@evil.example/x",
            "https://evil.example/https://registry.example/",
            "https://evil.example?https://registry.example/",
            "/v2/x",
        ] {
            assert!(!is_same_server(other, base), "{other}");
        }
        assert!(is_same_server("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000"));
    }
}
