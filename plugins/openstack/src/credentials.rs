//! Who signs in, and where: credentials as a user writes them.
//!
//! They are a `clouds.yaml`, the `OS_*` variables of a shell script, a JSON object, or upstream's XML.
//! All become [`Fields`] of one set of names, those of `clouds.yaml`; what the provider says goes before
//! them. Without credentials the environment of the process is read, and then the provider may not name
//! the server: a password of this machine must not be sent to whoever asks for it. No message repeats a
//! value.

mod clouds;
mod environment;

use plugin_api::DelegateError;
use plugin_kit::transfer::Secret;
use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::provider::{Provider, url};
use crate::xml;

/// Interfaces of services, in their words of today and of before.
const INTERFACES: [&str; 6] =
    ["public", "internal", "admin", "publicURL", "internalURL", "adminURL"];

/// Everything that is needed to sign in and to find services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// How to sign in.
    pub(crate) sign_in: SignIn,
    /// The identity service; missing when nobody signs in.
    pub(crate) auth_url: Option<String>,
    /// What the token is for.
    pub(crate) scope: Scope,
    /// The region of services.
    pub(crate) region: Option<String>,
    /// The interface of services: `public`, `internal` or `admin`.
    pub(crate) interface: String,
    /// Base URL of the image API, in place of the catalogue's.
    pub(crate) image_endpoint: Option<String>,
    /// Base URL of the compute API, in place of the catalogue's.
    pub(crate) compute_endpoint: Option<String>,
    /// Certificates of authorities, or the path of a file of them.
    pub(crate) cacert: Option<String>,
    /// Whether certificates are believed without a look.
    pub(crate) insecure: bool,
}

/// How to sign in.
#[derive(Clone, Debug, Default)]
pub(crate) enum SignIn {
    /// Not at all.
    #[default]
    None,
    /// With the password of a user.
    Password { user: User, password: Secret },
    /// With a token that exists.
    Token(Secret),
    /// With an application credential: by its identifier, or its name and its user.
    Application { id: Option<String>, name: Option<String>, user: User, secret: Secret },
}

/// A user, by identifier, or by name within a domain.
#[derive(Clone, Debug, Default)]
pub(crate) struct User {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) domain: Domain,
}

/// A domain, by identifier or name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Domain {
    pub(crate) id: Option<String>,
    pub(crate) name: Option<String>,
}

/// What a token is for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) project_id: Option<String>,
    pub(crate) project_name: Option<String>,
    /// The domain of the project, where it is known by name.
    pub(crate) project_domain: Domain,
    /// The domain itself.
    pub(crate) domain: Domain,
}

impl Access {
    /// Reads credentials for `provider`, and says everything that is wrong with them.
    pub(crate) fn read(
        text: &str,
        provider: &Provider,
        variables: impl Iterator<Item = (String, String)>,
        problems: &mut Vec<DelegateError>,
    ) -> Self {
        let text = text.trim();
        let is_anonymous = provider.auth_type.is_some();
        let found = if text.is_empty() && is_anonymous {
            Ok((String::from("credentials"), Map::new()))
        } else if text.is_empty() {
            environment::of_process(provider, variables)
        } else {
            values(text, provider.cloud.as_deref())
        };
        match found {
            Ok((place, values)) => {
                let fields = Fields::new(place, values, problems).of_secrets();
                Self::from_fields(fields, provider)
            },
            Err(problem) => {
                problems.push(problem);
                Self::default()
            },
        }
    }

    fn from_fields(mut fields: Fields<'_>, provider: &Provider) -> Self {
        let default_domain = Domain {
            id: fields.text(&["default_domain_id", "default_domain"]),
            name: fields.text(&["default_domain_name"]),
        };
        let auth_url = url(&mut fields, &["auth_url"]);
        let scope = Scope::take(&mut fields, &default_domain);
        let given = fields
            .value(&["auth_type", "strategy"])
            .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_lowercase()));
        let image_endpoint =
            url(&mut fields, &["image_endpoint_override", "image_endpoint", "endpoint"]);
        let compute_endpoint = url(&mut fields, &["compute_endpoint_override", "compute_endpoint"]);
        let interface = fields.choice(&["interface", "endpoint_type"], &INTERFACES);
        let region = fields.text(&["region_name", "region"]);
        let cacert = fields.text(&["cacert"]);
        let verify = fields.truth(&["verify"]);
        let insecure = fields.truth(&["insecure"]);
        let sign_in = SignIn::take(&mut fields, given, &default_domain, provider);
        let is_anonymous = matches!(sign_in, SignIn::None);
        let mut access = Self {
            region: provider.region.clone().or(region),
            interface: provider
                .interface
                .clone()
                .unwrap_or_else(|| interface.unwrap_or("public").replace("URL", "")),
            image_endpoint: provider.image_endpoint.clone().or(image_endpoint),
            compute_endpoint: provider.compute_endpoint.clone().or(compute_endpoint),
            cacert: provider.cacert.clone().or(cacert),
            insecure: provider
                .insecure
                .or(insecure)
                .or_else(|| verify.map(|verify| !verify))
                .unwrap_or(false),
            sign_in,
            auth_url,
            scope,
        };
        let is_without_catalogue =
            matches!(access.sign_in, SignIn::Token(_)) && access.image_endpoint.is_some();
        match (&access.auth_url, is_anonymous) {
            (None, false) if !is_without_catalogue => fields.problem("auth_url", "is missing"),
            (_, true) => access.auth_url = None,
            _ => {},
        }
        if is_anonymous && access.image_endpoint.is_none() {
            fields.problem(
                "image_endpoint",
                "is missing, and without an account there is no catalogue that tells it",
            );
        }
        fields.finish();
        access
    }

    /// Everything that must be shown nowhere.
    pub(crate) fn secrets(&self) -> Vec<Secret> {
        match &self.sign_in {
            SignIn::None => Vec::new(),
            SignIn::Password { password: secret, .. }
            | SignIn::Token(secret)
            | SignIn::Application { secret, .. } => vec![secret.clone()],
        }
    }
}

impl Scope {
    /// Whether nothing says what a token is for.
    pub(crate) fn is_empty(&self) -> bool {
        let names = [&self.project_id, &self.project_name, &self.domain.id, &self.domain.name];
        names.into_iter().all(Option::is_none)
    }

    fn take(fields: &mut Fields<'_>, default_domain: &Domain) -> Self {
        Self {
            project_id: fields.text(&["project_id", "tenant_id"]),
            project_name: fields.text(&["project_name", "tenant_name", "tenant", "project"]),
            project_domain: Domain {
                id: fields.text(&["project_domain_id"]),
                name: fields.text(&["project_domain_name"]),
            }
            .or(default_domain),
            domain: Domain { id: fields.text(&["domain_id"]), name: fields.text(&["domain_name"]) },
        }
    }
}

impl Domain {
    /// This domain, else `other`, else the one that every keystone begins with.
    fn or(self, other: &Self) -> Self {
        match (&self.id, &self.name, &other.id, &other.name) {
            (None, None, None, None) => Self { id: Some("default".to_owned()), name: None },
            (None, None, ..) => other.clone(),
            _ => self,
        }
    }
}

impl SignIn {
    /// By the type that is given, or by what is there.
    fn take(
        fields: &mut Fields<'_>,
        given: Option<(&'static str, String)>,
        default_domain: &Domain,
        provider: &Provider,
    ) -> Self {
        let user = User {
            id: fields.text(&["user_id"]),
            name: fields.text(&["username", "user_name", "user"]),
            domain: Domain {
                id: fields.text(&["user_domain_id"]),
                name: fields.text(&["user_domain_name"]),
            }
            .or(default_domain),
        };
        let password = fields.text(&["password"]);
        let token = fields.text(&["token", "auth_token"]);
        let id = fields.text(&["application_credential_id"]);
        let name = fields.text(&["application_credential_name"]);
        let secret = fields.text(&["application_credential_secret"]);
        let has_user = user.id.is_some() || user.name.is_some();
        let kind = match &given {
            _ if provider.auth_type.is_some() => "none",
            Some((_, word)) => match word.as_str() {
                "none" | "noauth" => "none",
                "keystone" if token.is_some() && !has_user => "token",
                "password" | "v3password" | "keystone" => "password",
                "token" | "v3token" => "token",
                "v3applicationcredential" => "application",
                _ => "",
            },
            None if id.is_some() || name.is_some() => "application",
            None if token.is_some() => "token",
            None if has_user || password.is_some() => "password",
            None => "none",
        };
        let mut needed = |name: &str, value: Option<String>| {
            if value.is_none() {
                fields.problem(name, "is missing");
            }
            Secret::new(value.unwrap_or_default())
        };
        match kind {
            "none" => Self::None,
            "token" => Self::Token(needed("token", token)),
            "password" => {
                if !has_user {
                    needed("username", None);
                }
                Self::Password { user, password: needed("password", password) }
            },
            "application" => {
                if id.is_none() && name.is_none() {
                    needed("application_credential_id", None);
                }
                if id.is_none() && name.is_some() && !has_user {
                    needed("username", None);
                }
                let secret = needed("application_credential_secret", secret);
                Self::Application { id, name, user, secret }
            },
            _ => {
                fields.problem(
                    given.map_or("auth_type", |(name, _)| name),
                    "is none of `password`, `token`, `v3applicationcredential`, `none`",
                );
                Self::None
            },
        }
    }
}

/// The values of credentials in any form, and where they are.
fn values(text: &str, cloud: Option<&str>) -> Result<(String, Map<String, Value>), DelegateError> {
    let place = || String::from("credentials");
    if text.starts_with('<') {
        return Ok((place(), xml::texts_in(text, "openstack_credentials")?));
    }
    if let Some(values) = environment::in_script(text)? {
        return Ok((place(), values));
    }
    // JSON is YAML; its own parser tells what is wrong in its own words.
    let document: Value = if text.starts_with('{') {
        serde_json::from_str(text).map_err(|error| unreadable("JSON", error.line()))?
    } else {
        clouds::parse(text)?
    };
    let Value::Object(mut document) = document else {
        return Err(DelegateError::invalid_input("the credentials cannot be read").hint(
            "give a `clouds.yaml`, `OS_*` variables, a JSON object, or XML with \
             `openstack_credentials`; or the path of a file that is there",
        ));
    };
    match document.shift_remove("clouds") {
        Some(clouds) => clouds::choose(clouds, cloud),
        None => Ok((place(), clouds::flat(document))),
    }
}

/// Credentials that are not well-formed. What a parser quotes of them may be a secret.
fn unreadable(form: &str, line: usize) -> DelegateError {
    DelegateError::invalid_input(format!("the credentials are no {form}, see their line {line}"))
}

#[cfg(test)]
mod tests;
