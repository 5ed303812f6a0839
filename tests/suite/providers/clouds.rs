//! What the two real clouds have in common for whoever delivers: a server behind a [`FaultProxy`], and what
//! is there afterwards.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::servers::{FaultProxy, Glance, Registry};
use crate::support::{Ran, Running, Workshop};

/// Where to deliver to, as arguments of `imageforge provider-image`.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) target: &'static str,
    pub(super) provider: String,
    pub(super) credentials: String,
}

impl Delivery {
    /// The target image of a base image; it is made the first time.
    #[track_caller]
    fn target_image(&self, workshop: &Workshop, base: &str) -> Value {
        let mut made = workshop.images_of("target");
        made.retain(|image| image["target"] == self.target && image["base_image_id"] == base);
        made.pop().unwrap_or_else(|| {
            let made = workshop.json(&["target-image", self.target, "--id", base]);
            made["images"].as_array().unwrap().last().unwrap().clone()
        })
    }

    /// How many bytes there are to deliver, or a few more.
    #[track_caller]
    pub(super) fn bytes(&self, workshop: &Workshop, base: &str) -> u64 {
        self.target_image(workshop, base)["size_bytes"].as_u64().unwrap()
    }

    /// The command line that delivers a base image.
    #[track_caller]
    fn arguments(&self, workshop: &Workshop, base: &str) -> Vec<String> {
        let made = self.target_image(workshop, base);
        let id = made["id"].as_str().unwrap();
        let words = ["provider-image", self.target, &self.provider, &self.credentials, "--id", id];
        words.map(str::to_owned).to_vec()
    }

    /// The same as a command.
    #[track_caller]
    pub(super) fn command(&self, workshop: &Workshop, base: &str) -> Command {
        workshop.command(&words(&self.arguments(workshop, base)))
    }

    /// Delivers an image.
    #[track_caller]
    pub(super) fn run(&self, workshop: &Workshop, base: &str) -> Ran {
        self.command(workshop, base).output().unwrap().into()
    }

    /// Begins to.
    #[track_caller]
    pub(super) fn spawn(&self, workshop: &Workshop, base: &str) -> Running {
        Running::start(self.command(workshop, base))
    }

    /// Delivers and answers the record of the image at the provider.
    #[track_caller]
    pub(super) fn done(&self, workshop: &Workshop, base: &str) -> Value {
        self.told(workshop, base).0
    }

    /// The same, with all that the command said.
    #[track_caller]
    pub(super) fn told(&self, workshop: &Workshop, base: &str) -> (Value, Ran) {
        let mut command = self.command(workshop, base);
        let ran = Ran::from(command.args(["--format", "json", "-v"]).output().unwrap()).done();
        let made = ran.document();
        let images = made["images"].as_array().unwrap();
        let record = images.iter().find(|image| image["tier"] == "provider").unwrap();
        assert_eq!(record["status"], "COMPLETE", "{record:#}");
        (record.clone(), ran)
    }

    /// Deletes an image, at the provider first.
    #[track_caller]
    pub(super) fn delete(&self, workshop: &Workshop, record: &Value) -> Ran {
        let id = record["id"].as_str().unwrap();
        workshop.run(&["images", "delete", id, "--credentials", &self.credentials])
    }
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// A kind of cloud.
pub(super) trait Cloud {
    /// The plugin for it.
    const PLUGIN: &'static str;
    /// Method and part of the path of the request that carries most of an image.
    const UPLOAD: (&'static str, &'static str);
    /// Whether the server keeps what a connection was cut off in, and lets nobody go on with it or delete it.
    const KEEPS_WHAT_WAS_CUT: bool;

    /// Starts a server that everybody may use, and a proxy before it.
    fn start() -> Self;
    /// The same, on a disk of so many MiB.
    fn on_small_disk(mebibytes: u32) -> Self;
    /// What stands before the server.
    fn proxy(&self) -> &FaultProxy;
    /// `HOST:PORT` of the server.
    fn address(&self) -> String;
    /// To the server, or whoever stands before it, at `address`.
    fn delivery_to(&self, address: &str) -> Delivery;
    /// What clients find there.
    fn found(&self) -> Vec<String>;
    /// What is half there: uploads that were begun, images without a file.
    fn half_there(&self) -> Vec<String>;

    /// Whether the server is busy with what somebody sends, or has not noticed that nobody does any longer.
    fn is_busy(&self) -> bool {
        false
    }

    /// To the proxy.
    fn delivery(&self) -> Delivery {
        self.delivery_to(&self.proxy().address())
    }
}

/// A Glance without keystone.
pub(super) struct OpenStack {
    pub(super) glance: Glance,
    proxy: FaultProxy,
}

impl OpenStack {
    fn before(glance: Glance) -> Self {
        let proxy = FaultProxy::before(&glance.address());
        Self { glance, proxy }
    }
}

impl Cloud for OpenStack {
    const PLUGIN: &'static str = "openstack";
    const UPLOAD: (&'static str, &'static str) = ("PUT", "/file");
    const KEEPS_WHAT_WAS_CUT: bool = false;

    fn start() -> Self {
        Self::before(Glance::open())
    }

    fn on_small_disk(mebibytes: u32) -> Self {
        Self::before(Glance::on_small_disk(mebibytes))
    }

    fn proxy(&self) -> &FaultProxy {
        &self.proxy
    }

    fn address(&self) -> String {
        self.glance.address()
    }

    fn delivery_to(&self, address: &str) -> Delivery {
        let provider =
            json!({ "image_endpoint": format!("http://{address}"), "auth_type": "none" });
        let provider = format!("@{provider}");
        Delivery { target: "openstack", provider, credentials: "@".to_owned() }
    }

    fn found(&self) -> Vec<String> {
        let mut images = self.glance.images();
        images.retain(|image| image["status"] == "active");
        images.iter().map(|image| image["id"].as_str().unwrap().to_owned()).collect()
    }

    fn is_busy(&self) -> bool {
        self.glance.images().iter().any(|image| image["status"] == "saving")
    }

    fn half_there(&self) -> Vec<String> {
        let mut images = self.glance.images();
        images.retain(|image| image["status"] != "active");
        let mut left: Vec<String> = images.iter().map(Value::to_string).collect();
        let found = self.found();
        left.extend(self.glance.files().into_iter().filter(|file| !found.contains(file)));
        left
    }
}

/// A registry without users.
pub(super) struct Oci {
    pub(super) registry: Registry,
    proxy: FaultProxy,
}

impl Oci {
    /// Where the tests put images.
    pub(super) const REPOSITORY: &'static str = "forge/mock";

    fn before(registry: Registry) -> Self {
        let proxy = FaultProxy::before(&registry.address());
        Self { registry, proxy }
    }
}

impl Cloud for Oci {
    const PLUGIN: &'static str = "oci";
    const UPLOAD: (&'static str, &'static str) = ("PATCH", "/blobs/uploads/");
    // It answers 404 to whoever asks for it, because it has more of it than it told, and removes it after a
    // week.
    const KEEPS_WHAT_WAS_CUT: bool = true;

    fn start() -> Self {
        Self::before(Registry::open())
    }

    fn on_small_disk(mebibytes: u32) -> Self {
        Self::before(Registry::on_small_disk(mebibytes))
    }

    fn proxy(&self) -> &FaultProxy {
        &self.proxy
    }

    fn address(&self) -> String {
        self.registry.address()
    }

    fn delivery_to(&self, address: &str) -> Delivery {
        let provider = json!({ "registry": format!("http://{address}/{}", Self::REPOSITORY) });
        let provider = format!("@{provider}");
        Delivery { target: "oci", provider, credentials: "@".to_owned() }
    }

    fn found(&self) -> Vec<String> {
        self.registry.tags(Self::REPOSITORY)
    }

    fn half_there(&self) -> Vec<String> {
        let uploads = self.registry.uploads(Self::REPOSITORY);
        uploads.iter().map(|path| path.display().to_string()).collect()
    }
}
