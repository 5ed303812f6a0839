//! A cloud's images: OpenStack's Glance, with a database of SQLite and a folder for the images.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Answer, Certificate, Daemon};

use super::openstack::{copy_database, environment, gunicorn, run};
use super::server::Server;
use super::{Keystone, Place};

/// A running Glance.
#[derive(Debug)]
pub(crate) struct Glance {
    server: Server,
    token: Option<String>,
}

impl Glance {
    /// One that everybody may use.
    #[track_caller]
    pub(crate) fn open() -> Self {
        Self::start(None, Place::Folder, None)
    }

    /// One that speaks TLS, and the authority that vouches for it, PEM.
    #[track_caller]
    pub(crate) fn with_tls() -> (Self, String) {
        let (own, authority) = Certificate::of_loopback();
        (Self::start(None, Place::Folder, Some(&own)), authority)
    }

    /// One that runs out of space after so many MiB, which everybody may use.
    #[track_caller]
    pub(crate) fn on_small_disk(mebibytes: u32) -> Self {
        Self::start(None, Place::Disk(mebibytes), None)
    }

    /// One that asks for a token of `keystone`, in whose catalog it is.
    #[track_caller]
    pub(crate) fn behind(keystone: &Keystone) -> Self {
        let glance = Self::start(Some(keystone), Place::Folder, None);
        keystone.publish("image", &glance.url());
        glance
    }

    #[track_caller]
    fn start(keystone: Option<&Keystone>, place: Place, own: Option<&Certificate>) -> Self {
        let server = Server::start(place, |folder, port| {
            copy_database("glance", folder, |folder| {
                configure(folder, 0, None);
                run(folder, "glance-manage", &["--config-file", "glance-api.conf", "db_sync"]);
            });
            configure(folder, port, keystone);
            let mut command = gunicorn(folder, "glance.wsgi.api", port, own);
            command
                .env("OS_GLANCE_CONFIG_DIR", folder)
                .env("OS_GLANCE_CONFIG_FILES", "glance-api.conf");
            command
        });
        Self { server, token: keystone.map(Keystone::token) }
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> String {
        self.server.address()
    }

    /// Asks it directly, as an administrator.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str) -> Answer {
        let uri = format!("{}{path}", self.url());
        let mut request = ureq::http::Request::builder().method(method).uri(uri);
        if let Some(token) = &self.token {
            request = request.header("x-auth-token", token);
        }
        Daemon::send(request.body(Vec::new()).unwrap())
    }

    /// Its images, those that are half there as well.
    #[track_caller]
    pub(crate) fn images(&self) -> Vec<Value> {
        let answer = self.ask("GET", "/v2/images");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["images"].as_array().unwrap().clone()
    }

    /// The file of an image, as it keeps it.
    pub(crate) fn file(&self, image: &str) -> PathBuf {
        self.server.path("store/images").join(image)
    }

    /// The names of the files that it keeps, whole or in part.
    pub(crate) fn files(&self) -> Vec<String> {
        let Ok(entries) = fs_err::read_dir(self.server.path("store/images")) else {
            return Vec::new();
        };
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// What it has said.
    pub(crate) fn said(&self) -> String {
        self.server.said()
    }
}

/// Writes the configuration of a server at `port` that works in `folder`.
fn configure(folder: &Path, port: u16, keystone: Option<&Keystone>) {
    let paste = environment().join("etc/glance/glance-api-paste.ini");
    let flavor = keystone.map_or("", |_| "keystone");
    let access = keystone.map(Keystone::middleware).unwrap_or_default();
    let settings = format!(
        "[DEFAULT]\nenabled_backends = fs:file\nenabled_import_methods = [glance-direct]\n\
         worker_self_reference_url = http://127.0.0.1:{port}\n\
         [database]\nconnection = sqlite:///{0}/database?timeout=60\n\
         [glance_store]\ndefault_backend = fs\n\
         [fs]\nfilesystem_store_datadir = {0}/store/images\n\
         [os_glance_staging_store]\nfilesystem_store_datadir = {0}/store/stage\n\
         [os_glance_tasks_store]\nfilesystem_store_datadir = {0}/store/tasks\n\
         [paste_deploy]\nflavor = {flavor}\nconfig_file = {1}\n\
         [oslo_policy]\nenforce_scope = False\nenforce_new_defaults = False\n\
         policy_file = {0}/policy.yaml\n\
         {access}",
        folder.display(),
        paste.display(),
    );
    fs_err::write(folder.join("glance-api.conf"), settings).unwrap();
}
