//! Provider, credentials, parameters and settings of the plugin, read together.

use plugin_api::{Builder, DelegateError};
use plugin_kit::transfer::{Client, Options};
use serde_json::{Map, Value};

use crate::credentials::Access;
use crate::fields::Fields;
use crate::provider::{ImageOptions, Provider};

/// What parameters about images begin with.
const PREFIX: &str = "openstack_";
/// Setting: whether `check_provider` tries what a push does first.
const TRY_RIGHTS: &str = "try_rights";
/// What Glance sets, and names that mean something to it.
const RESERVED: [&str; 28] = [
    "checksum",
    "container_format",
    "created_at",
    "deleted",
    "deleted_at",
    "direct_url",
    "disk_format",
    "file",
    "id",
    "location",
    "locations",
    "min_disk",
    "min_ram",
    "name",
    "os_hash_algo",
    "os_hash_value",
    "os_hidden",
    "owner",
    "protected",
    "schema",
    "self",
    "size",
    "status",
    "stores",
    "tags",
    "updated_at",
    "virtual_size",
    "visibility",
];
/// What the names of everything else that Glance keeps to itself begin with.
const RESERVED_PREFIX: &str = "os_glance";

/// Everything that is known about a delivery before it begins.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) provider: Provider,
    pub(crate) access: Access,
}

impl Settings {
    /// Reads everything.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub(crate) fn read(builder: &Builder) -> Result<Self, Vec<DelegateError>> {
        let mut problems = Vec::new();
        let mut provider = Provider::read(builder.provider(), &mut problems);
        // Of a provider that says nothing, neither its cloud nor its endpoints are known.
        let access = if provider == Provider::default() && !problems.is_empty() {
            Access::default()
        } else {
            Access::read(builder.credentials(), &provider, variables(), &mut problems)
        };
        if let Err(problem) = Options::check_authorities(builder, access.cacert.as_deref()) {
            problems.push(problem);
        }
        let cacert = builder.configuration().string("cacert").unwrap_or_default();
        let access = Access { cacert: access.cacert.or(cacert), ..access };
        let given = std::mem::take(&mut provider.image);
        provider.image = parameters(builder, &mut problems).or(given);
        for name in provider.image.properties.keys() {
            if RESERVED.contains(&name.as_str()) || name.starts_with(RESERVED_PREFIX) {
                problems.push(
                    DelegateError::invalid_input(format!(
                        "`properties.{name}` is no property of its own: Glance keeps that name to itself"
                    ))
                    .hint("leave it out; `imageforge targets openstack` tells what else can be set"),
                );
            }
        }
        if problems.is_empty() { Ok(Self { provider, access }) } else { Err(problems) }
    }

    /// Reads everything; the first mistake is the error, the others are its causes.
    pub(crate) fn of(builder: &Builder) -> Result<Self, DelegateError> {
        Self::read(builder).map_err(|problems| {
            let mut problems = problems.into_iter();
            let first = problems.next().unwrap_or_else(|| {
                DelegateError::bug_in_plugin("settings were refused without a reason")
            });
            problems.fold(first, |first, problem| first.because(problem.message()))
        })
    }

    /// What can be tried without a network.
    pub(crate) fn check(&self, builder: &Builder) -> Result<(), DelegateError> {
        let options =
            Options { authorities: self.access.cacert.clone(), ..Options::configured(builder)? };
        Client::new(builder, options)?;
        Ok(())
    }

    /// Whether `check_provider` tries to register an image.
    pub(crate) fn tries_rights(builder: &Builder) -> Result<bool, DelegateError> {
        Ok(builder.configuration().bool(TRY_RIGHTS)?.unwrap_or(true))
    }
}

/// The environment, without what is no text.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// What parameters say about the image.
fn parameters(builder: &Builder, problems: &mut Vec<DelegateError>) -> ImageOptions {
    const NAMES: [&str; 8] = [
        "name",
        "visibility",
        "container_format",
        "min_disk",
        "min_ram",
        "protected",
        "tags",
        "properties",
    ];
    let values: Map<String, Value> = NAMES
        .iter()
        .filter_map(|name| {
            let value = builder.parameters().value(&format!("{PREFIX}{name}"))?;
            Some(((*name).to_owned(), value.clone()))
        })
        .collect();
    ImageOptions::take(&mut Fields::new("parameters `openstack_…`", values, problems))
}
