//! Making an image inside the cloud: from a server that is there, or from one that is started for it.
//!
//! A server that is there is left as it is. One that is started does what the template says by a script
//! that cloud-init runs, says so on its console, and stops; its disk becomes the image, and it is deleted.

use std::time::Duration;

use plugin_api::{Builder, DelegateError, ProviderIdentity};
use serde_json::{Value, json};

use crate::debris::Debris;
use crate::glance::Glance;
use crate::nova::{Nova, only};
use crate::provider::Provider;
use crate::push::{IMAGE_ID, wait_until_active};
use crate::script;
use crate::server;
use crate::session::Session;

/// Parameters, the first two with upstream's names.
const TIMEOUT: &str = "timeout";
const FLAVOR: &str = "flavor";
const SERVER: &str = "openstack_server";
const IMAGE: &str = "openstack_source_image";
const NETWORK: &str = "openstack_network";
/// Upstream's limit for a server, in seconds.
const DEFAULT_TIMEOUT: u64 = 1800;

/// What a snapshot is made from.
#[derive(Debug, PartialEq)]
enum Origin {
    /// A server that is there, by identifier or name.
    Server(String),
    /// An image, and what it is started with.
    Image { image: String, flavor: String, network: Option<String> },
}

/// What is wrong with the parameters for a snapshot: also that there are some, where none is wanted. `flavor` and
/// `timeout` may be meant for another cloud of the request.
pub(crate) fn check(builder: &Builder, provider: &Provider) -> Vec<DelegateError> {
    if !builder.is_snapshot() {
        let given = |name: &&str| builder.parameters().value(name).is_some();
        return [SERVER, IMAGE, NETWORK].into_iter().filter(given).map(of_no_use).collect();
    }
    let problem = match Origin::read(builder, provider) {
        Ok(Origin::Image { .. }) => script::of_template(builder.template()).err(),
        Ok(Origin::Server(_)) => None,
        Err(error) => Some(error),
    };
    problem.into_iter().collect()
}

fn of_no_use(name: &str) -> DelegateError {
    DelegateError::invalid_input(format!("parameter `{name}` is for snapshots, and this is none"))
        .hint("leave it out to push an image, or ask for a snapshot (`--snapshot`), in a request of its own")
}

impl Origin {
    fn read(builder: &Builder, provider: &Provider) -> Result<Self, DelegateError> {
        let parameters = builder.parameters();
        let flavor = parameters.string(FLAVOR)?.or_else(|| provider.flavor.clone());
        let network = parameters.string(NETWORK)?.or_else(|| provider.network.clone());
        match (parameters.string(SERVER)?, parameters.string(IMAGE)?, flavor) {
            (Some(_), Some(_), _) => Err(DelegateError::invalid_input(format!(
                "parameters `{SERVER}` and `{IMAGE}` exclude each other"
            ))
            .hint("leave one of them out")),
            (Some(server), None, _) => Ok(Self::Server(server)),
            (None, Some(image), Some(flavor)) => Ok(Self::Image { image, flavor, network }),
            (None, Some(_), None) => Err(DelegateError::invalid_input(format!(
                "parameter `{FLAVOR}` is missing: what is the server to be started with"
            ))
            .hint(
                "give the identifier or the name of a flavour, here or as `flavor` of the provider",
            )),
            (None, None, _) => Err(DelegateError::invalid_input(format!(
                "a snapshot needs parameter `{SERVER}`, or `{IMAGE}` and `{FLAVOR}`"
            ))
            .hint("name a server that is there, or an image and a flavour to start one with")),
        }
    }
}

/// Who makes an image of what.
#[derive(Debug)]
pub(crate) struct Snapshot<'s, 'a> {
    pub(crate) session: &'s Session<'a>,
    pub(crate) debris: &'s Debris,
    pub(crate) provider: &'s Provider,
}

impl Snapshot<'_, '_> {
    /// Whether there is what the parameters name.
    pub(crate) fn look(&self, builder: &Builder) -> Result<(), DelegateError> {
        let nova = Nova::new(self.session, Duration::ZERO)?;
        match Origin::read(builder, self.provider)? {
            Origin::Server(server) => nova.find("server", &server)?,
            Origin::Image { image, flavor, .. } => {
                found(&Glance::new(self.session)?, &image)?;
                nova.find("flavor", &flavor)?
            },
        };
        Ok(())
    }

    /// Makes the image of `builder`; nothing half-made is left.
    pub(crate) fn make(&self, builder: &Builder) -> Result<ProviderIdentity, DelegateError> {
        let origin = Origin::read(builder, self.provider)?;
        let timeout = builder.parameters().u64(TIMEOUT)?.unwrap_or(DEFAULT_TIMEOUT);
        let nova = Nova::new(self.session, Duration::from_secs(timeout))?;
        let name = match &origin {
            Origin::Server(_) => None,
            Origin::Image { image, .. } => Some(server::own_name(builder, &nova, image)?),
        };
        // Nobody of this data directory has a server of that name.
        let _alone = name.clone().map(|name| builder.lock(name)).transpose()?;
        let name = name.unwrap_or_default();
        let made = self.of(builder, &origin, &nova, &name);
        // The server that was started, in any case; the image, when it did not succeed.
        self.debris.remove_patiently(self.session);
        let id = made.map_err(|error| self.debris.told(builder, self.session.explained(error)))?;
        let mut identity = ProviderIdentity::new(id);
        identity.provider_account_identifier = self.session.known().account;
        Ok(identity)
    }

    fn of(
        &self,
        builder: &Builder,
        origin: &Origin,
        nova: &Nova<'_, '_>,
        name: &str,
    ) -> Result<String, DelegateError> {
        let glance = Glance::new(self.session)?;
        let server = match origin {
            Origin::Server(given) => {
                if !script::is_empty(builder.template()) {
                    tracing::warn!("the server is taken as it is: nothing of the template is done");
                }
                nova.find("server", given)?
            },
            Origin::Image { image, flavor, network } => {
                let image = found(&glance, image)?;
                let wanted = server::document(builder, name, &image, network.as_deref())?;
                let flavor = nova.find("flavor", flavor)?;
                let id = self.start(builder, nova, name, &wanted, &flavor)?;
                server::customise(builder, nova, &id)?;
                id
            },
        };
        builder.activity("making an image of the server");
        let options = &self.provider.image;
        let name = options.name.as_ref().unwrap_or(&builder.template().name);
        let mut metadata = options.properties.clone();
        metadata.insert(IMAGE_ID.to_owned(), builder.id().into());
        let id = nova.make_image(&server, name, &Value::Object(metadata)).inspect_err(|_| {
            self.note_images_of(builder);
        })?;
        let url = glance.url(&id);
        self.debris.note(self.session, url.clone());
        builder.activity("waiting for the image to become active");
        let made = wait_until_active(self.session, &glance, &id)?;
        if made["block_device_mapping"].is_string() {
            tracing::warn!(
                "the server's disk is a volume: the image refers to a snapshot of it, which deleting \
                 the image leaves there"
            );
        }
        let changes = self.changes();
        if !changes.is_empty() {
            glance.change(&id, &Value::Array(changes))?;
        }
        self.debris.forget(&url);
        builder.progress(100);
        Ok(id)
    }

    /// Notes images that were made although the answer was lost.
    fn note_images_of(&self, builder: &Builder) {
        let Ok(session) = self.session.for_clean_up() else { return };
        let Ok(glance) = Glance::new(&session) else { return };
        for status in ["queued", "saving", "active"] {
            let images = glance.find(IMAGE_ID, builder.id(), status).unwrap_or_default();
            for image in images.iter().filter(|image| image[IMAGE_ID] == builder.id()) {
                let id = image["id"].as_str().unwrap_or_default();
                self.debris.note(self.session, glance.url(id));
            }
        }
    }

    /// What Nova cannot be told about an image.
    fn changes(&self) -> Vec<Value> {
        let options = &self.provider.image;
        let wanted = [
            ("visibility", json!(options.visibility)),
            ("min_disk", json!(options.min_disk)),
            ("min_ram", json!(options.min_ram)),
            ("tags", json!(options.tags)),
            ("protected", json!(options.protected.filter(|protected| *protected))),
        ];
        let wanted = wanted.into_iter().filter(|(_, value)| !value.is_null());
        wanted
            .map(|(name, value)| {
                json!({ "op": "replace", "path": format!("/{name}"), "value": value })
            })
            .collect()
    }

    fn start(
        &self,
        builder: &Builder,
        nova: &Nova<'_, '_>,
        name: &str,
        wanted: &Value,
        flavor: &str,
    ) -> Result<String, DelegateError> {
        for id in nova.named(name)? {
            tracing::info!(server = id, "removing what an interrupted snapshot left");
            self.debris.note(self.session, nova.url(&id));
        }
        self.debris.remove_patiently(self.session);
        builder.activity("starting a server");
        let mut wanted = wanted.clone();
        wanted["flavorRef"] = flavor.into();
        let started = nova.start(&json!({ "server": wanted }));
        let ids = match &started {
            Ok(id) => vec![id.clone()],
            // It may have been started all the same.
            Err(_) => self.servers_named(name).unwrap_or_default(),
        };
        for id in &ids {
            self.debris.note(self.session, nova.url(id));
        }
        Ok(started?)
    }

    /// Servers of this name, asked for after a cancel too.
    fn servers_named(&self, name: &str) -> Result<Vec<String>, DelegateError> {
        let session = self.session.for_clean_up()?;
        Ok(Nova::new(&session, Duration::ZERO)?.named(name)?)
    }
}

/// The identifier of the image that `given` is the identifier or the name of.
fn found(glance: &Glance<'_, '_>, given: &str) -> Result<String, DelegateError> {
    match glance.show(given)? {
        Some(_) => Ok(given.to_owned()),
        None => only("image", given, &json!(glance.find("name", given, "active")?)),
    }
}
