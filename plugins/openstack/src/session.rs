//! Signing in at keystone (version 3), and asking services as whoever signed in.

use std::sync::{Mutex, MutexGuard, PoisonError};

use plugin_api::{Builder, DelegateError, DelegateErrorKind};
use plugin_kit::transfer::{
    Answer, Client, Options, Request, Secret, TransferError, Upload, is_loopback,
};
use serde_json::{Map, Value, json};

use crate::credentials::{Access, Domain, SignIn, User};

/// The header that shows a token.
const TOKEN: &str = "x-auth-token";
/// The header with the token that is asked for, or about.
const SUBJECT: &str = "x-subject-token";

/// What was learned by signing in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signed {
    token: Option<Secret>,
    catalogue: Value,
    /// The account that pays for what is delivered.
    pub(crate) account: Option<String>,
    /// Whether the token is for no project and for nothing else.
    is_unscoped: bool,
}

/// Somebody who is signed in.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    client: Client<'a>,
    access: Access,
    signed: Mutex<Signed>,
}

impl<'a> Session<'a> {
    /// Signs in.
    ///
    /// # Errors
    /// When the server is not there, refuses the credentials, or is no keystone.
    pub(crate) fn open(
        builder: &'a Builder,
        access: Access,
        options: Options,
    ) -> Result<Self, DelegateError> {
        warn_of_listeners(&access);
        let session = Self::resume(builder, access, options, Signed::default())?;
        let signed = session.sign_in().map_err(|error| not_signed_in(error, &session.access))?;
        if signed.is_unscoped {
            // Glance would take an image, as nobody's, and let nobody delete it.
            return Err(DelegateError::credentials("keystone lets in, but for no project")
                .hint("name the project in the credentials"));
        }
        *session.signed() = signed;
        Ok(session)
    }

    /// Goes on with what was learned before.
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub(crate) fn resume(
        builder: &'a Builder,
        access: Access,
        mut options: Options,
        signed: Signed,
    ) -> Result<Self, TransferError> {
        options.authorities.clone_from(&access.cacert);
        options.insecure = access.insecure;
        options.secrets = access.secrets();
        options.secrets.extend(signed.token.clone());
        Ok(Self { client: Client::new(builder, options)?, access, signed: Mutex::new(signed) })
    }

    /// The same for removing what was half there, see [`Client::for_clean_up`].
    ///
    /// # Errors
    /// When the authorities cannot be read.
    pub(crate) fn for_clean_up(&self) -> Result<Self, TransferError> {
        Ok(Self {
            client: self.client.for_clean_up()?,
            access: self.access.clone(),
            signed: Mutex::new(self.known()),
        })
    }

    /// `error` with what helps when a token has run out that nobody can replace.
    pub(crate) fn explained(&self, error: DelegateError) -> DelegateError {
        match &self.access.sign_in {
            SignIn::Token(_) if error.kind() == DelegateErrorKind::Credentials => error.hint(
                "the token may have run out: with a password or an application credential it is replaced",
            ),
            _ => error,
        }
    }

    /// What sends requests.
    pub(crate) fn client(&self) -> &Client<'a> {
        &self.client
    }

    /// What was learned by signing in.
    pub(crate) fn known(&self) -> Signed {
        self.signed().clone()
    }

    /// How it was signed in.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    fn signed(&self) -> MutexGuard<'_, Signed> {
        self.signed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a service. A token that is no longer good is replaced once.
    pub(crate) fn send(&self, request: &Request) -> Result<Answer, TransferError> {
        self.ask(|token| self.client.send(&with(request, token)))
    }

    /// Sends a file to a service, see [`send`](Self::send).
    pub(crate) fn upload(
        &self,
        request: &Request,
        upload: &mut Upload,
    ) -> Result<Answer, TransferError> {
        self.ask(|token| self.client.upload(&with(request, token), upload))
    }

    fn ask(
        &self,
        mut ask: impl FnMut(Option<&Secret>) -> Result<Answer, TransferError>,
    ) -> Result<Answer, TransferError> {
        let token = self.signed().token.clone();
        match ask(token.as_ref()) {
            Err(error) if error.status() == Some(401) && self.access.auth_url.is_some() => {
                tracing::info!("the token is no longer good; signing in again");
                let token = self.sign_in()?.token;
                self.signed().token.clone_from(&token);
                ask(token.as_ref())
            },
            other => other,
        }
    }

    fn sign_in(&self) -> Result<Signed, TransferError> {
        let token = match &self.access.sign_in {
            SignIn::Token(token) => Some(token.clone()),
            _ => None,
        };
        let Some(auth_url) = &self.access.auth_url else {
            return Ok(Signed { token, ..Signed::default() });
        };
        let url = format!("{}/v3/auth/tokens", without_version(auth_url));
        let request = match &self.access.sign_in {
            // A token stays what it is for: one that is made of it without a scope is for nothing.
            SignIn::Token(token) if self.access.scope.is_empty() => {
                Request::get(url).secret_header(TOKEN, token).secret_header(SUBJECT, token)
            },
            _ => {
                let document = json!({ "auth": document(&self.access) });
                Request::post(url).json(&document).repeatable(true)
            },
        };
        let answer = self.client.send(&request)?;
        let mut document: Value = answer.json()?;
        let Some(token) = answer.header(SUBJECT) else {
            return Err(answer.no_sense());
        };
        let token = Secret::new(token);
        self.client.keep_secret(&token);
        let mut document = document["token"].take();
        let name = |path: &str| document.pointer(path)?.as_str().map(str::to_owned);
        let account = name("/project/name").or_else(|| name("/user/name"));
        let is_for = |scope: &str| document.get(scope).is_some();
        let is_unscoped = !["project", "domain", "system"].into_iter().any(is_for);
        let catalogue = document["catalog"].take();
        Ok(Signed { token: Some(token), catalogue, account, is_unscoped })
    }

    /// Base URL of a service, from the provider, the credentials or the catalogue.
    ///
    /// # Errors
    /// `NotFound` when the catalogue has none, `InvalidInput` when it has several.
    pub(crate) fn endpoint(&self, kind: &str) -> Result<String, DelegateError> {
        let given = match kind {
            "image" => &self.access.image_endpoint,
            _ => &self.access.compute_endpoint,
        };
        match given {
            Some(url) => Ok(url.clone()),
            None => in_catalogue(&self.signed().catalogue, kind, &self.access),
        }
    }
}

/// Says that what is sent to sign in can be read on the way.
fn warn_of_listeners(access: &Access) {
    let Some(url) = &access.auth_url else { return };
    let Some(rest) = url.strip_prefix("http://") else { return };
    let host = rest.split('/').next().unwrap_or_default();
    if !is_loopback(host) {
        tracing::warn!("`{host}` is spoken to without TLS: the credentials can be read on the way");
    }
}

/// What helps whoever cannot sign in.
fn not_signed_in(error: TransferError, access: &Access) -> DelegateError {
    let hint = match (error.status(), &access.sign_in) {
        (Some(401 | 404), SignIn::Token(_)) => {
            "look whether the token is still good, and whether `auth_url` is that of its keystone"
        },
        (Some(401), _) => {
            "keystone does not tell what is wrong: look at the user, the project, and the domains of both"
        },
        (Some(404 | 405 | 410), _) => {
            "look at `auth_url`: is it that of keystone, with version 3 of its API?"
        },
        _ => return error.into(),
    };
    DelegateError::from(error).hint(hint)
}

fn with(request: &Request, token: Option<&Secret>) -> Request {
    match token {
        Some(token) => request.clone().secret_header(TOKEN, token),
        None => request.clone(),
    }
}

/// A URL without the version of an API at its end.
pub(crate) fn without_version(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    match url.rsplit_once('/') {
        Some((base, last)) if is_version(last) => base.trim_end_matches('/'),
        _ => url,
    }
}

/// Whether the version of an API is a part of a URL.
pub(crate) fn has_version(url: &str) -> bool {
    url.split('/').any(is_version)
}

/// `v2`, `v2.1`, …
fn is_version(word: &str) -> bool {
    word.strip_prefix('v').is_some_and(|digits| {
        digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.chars().all(|c| c.is_ascii_digit() || c == '.')
    })
}

/// What is sent to sign in.
fn document(access: &Access) -> Value {
    let (method, identity) = match &access.sign_in {
        SignIn::None => return Value::Null,
        SignIn::Token(token) => ("token", json!({ "id": token.expose() })),
        SignIn::Password { user, password } => {
            let mut user = named(user);
            user.insert("password".to_owned(), password.expose().into());
            ("password", json!({ "user": user }))
        },
        SignIn::Application { id: Some(id), secret, .. } => {
            ("application_credential", json!({ "id": id, "secret": secret.expose() }))
        },
        SignIn::Application { name, user, secret, .. } => (
            "application_credential",
            json!({ "name": name, "user": named(user), "secret": secret.expose() }),
        ),
    };
    let mut document = json!({ "identity": { "methods": [method], method: identity } });
    let scope = &access.scope;
    // An application credential has its own scope.
    if method != "application_credential" {
        let scope = if let Some(id) = &scope.project_id {
            json!({ "project": { "id": id } })
        } else if let Some(name) = &scope.project_name {
            json!({ "project": { "name": name, "domain": domain(&scope.project_domain) } })
        } else if scope.domain.id.is_some() || scope.domain.name.is_some() {
            json!({ "domain": domain(&scope.domain) })
        } else {
            return document;
        };
        document["scope"] = scope;
    }
    document
}

fn named(user: &User) -> Map<String, Value> {
    let mut named = Map::new();
    match (&user.id, &user.name) {
        (Some(id), _) => drop(named.insert("id".to_owned(), id.as_str().into())),
        (None, name) => {
            named.insert("name".to_owned(), json!(name));
            named.insert("domain".to_owned(), domain(&user.domain));
        },
    }
    named
}

fn domain(domain: &Domain) -> Value {
    match (&domain.id, &domain.name) {
        (Some(id), _) => json!({ "id": id }),
        (None, name) => json!({ "name": name }),
    }
}

/// The URL of a service in a catalogue.
fn in_catalogue(catalogue: &Value, kind: &str, access: &Access) -> Result<String, DelegateError> {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let endpoints: Vec<Value> = items(catalogue)
        .iter()
        .filter(|service| service["type"] == kind)
        .flat_map(|service| items(&service["endpoints"]))
        .filter(|endpoint| endpoint["interface"] == access.interface)
        .collect();
    let region = |endpoint: &Value| {
        let region = endpoint["region_id"].as_str().or_else(|| endpoint["region"].as_str());
        region.unwrap_or_default().to_owned()
    };
    let mut regions: Vec<String> = endpoints.iter().map(region).collect();
    regions.sort();
    regions.dedup();
    let regions = regions.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let interface = &access.interface;
    let mut fitting: Vec<&Value> = endpoints.iter().collect();
    // A service may be there under an old and a new name.
    fitting.dedup_by_key(|endpoint| (region(endpoint), &endpoint["url"]));
    if let Some(wanted) = &access.region {
        fitting.retain(|endpoint| region(endpoint) == *wanted);
        if fitting.is_empty() && !endpoints.is_empty() {
            let message = format!("there is no {kind} service in region `{wanted}`");
            return Err(DelegateError::not_found(message).because(format!("it has: {regions}")));
        }
    }
    match fitting.as_slice() {
        [] => Err(DelegateError::not_found(format!(
            "the service catalogue has no {kind} service with interface `{interface}`"
        ))
        .hint("look at `interface`, at the project, or give the service's URL in the provider")),
        [endpoint] => match endpoint["url"].as_str() {
            Some(url) => Ok(url.trim_end_matches('/').to_owned()),
            None => Err(DelegateError::unavailable(format!(
                "the {kind} service of the catalogue has no URL"
            ))),
        },
        _ if access.region.is_some() => Err(DelegateError::invalid_input(format!(
            "there are several {kind} services in that region"
        ))
        .hint(format!("give the URL of one in the provider, as `{kind}_endpoint`"))),
        _ => Err(DelegateError::invalid_input(format!(
            "there are several {kind} services, and none is named"
        ))
        .because(format!("regions are: {regions}"))
        .hint("name one as `region` in the provider or `region_name` in the credentials")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Value {
        let endpoint = |interface: &str, region: &str| {
            let url = format!("http://{region}.{interface}/v2/");
            json!({"interface": interface, "region_id": region, "region": region, "url": url})
        };
        json!([
            {"type": "compute", "endpoints": []},
            {"type": "image", "endpoints": [
                endpoint("public", "north"), endpoint("internal", "north"), endpoint("public", "south"),
            ]},
            {"type": "volume", "endpoints": [endpoint("public", "north")]},
            {"type": "volume", "endpoints": [endpoint("public", "north")]},
            {"type": "object", "endpoints": [
                {"interface": "public", "region_id": "north", "url": "http://a"},
                {"interface": "public", "region_id": "north", "url": "http://b"},
            ]},
        ])
    }

    fn found(kind: &str, interface: &str, region: Option<&str>) -> Result<String, DelegateError> {
        let access = Access {
            interface: interface.to_owned(),
            region: region.map(str::to_owned),
            ..Access::default()
        };
        in_catalogue(&catalogue(), kind, &access)
    }

    #[test]
    fn the_service_of_the_region_and_interface_is_found() {
        assert_eq!(found("image", "public", Some("south")).unwrap(), "http://south.public/v2");
        assert_eq!(found("image", "internal", None).unwrap(), "http://north.internal/v2");
        let error = found("image", "public", Some("west")).unwrap_err();
        assert_eq!(error.causes(), ["it has: `north`, `south`"]);
        assert!(found("image", "public", None).unwrap_err().message().contains("several"));
        assert_eq!(found("volume", "public", None).unwrap(), "http://north.public/v2");
        let error = found("object", "public", Some("north")).unwrap_err();
        assert!(error.message().contains("in that region"), "{error:?}");
        assert!(found("compute", "public", None).unwrap_err().message().contains("no compute"));
        assert!(found("image", "admin", None).unwrap_err().message().contains("`admin`"));
    }

    #[test]
    fn versions_are_cut_off_urls() {
        for (url, base) in [
            ("http://k:5000/v3", "http://k:5000"),
            ("http://k/identity/v2.0/", "http://k/identity"),
            ("http://k/identity", "http://k/identity"),
            ("http://k/vault", "http://k/vault"),
        ] {
            assert_eq!(without_version(url), base);
        }
    }
}
