//! A registry of container images: Debian's `docker-registry`, which is Distribution.

use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::{Answer, Certificate, Daemon, checkout};

use super::server::Server;
use super::tokens::{ISSUER, SERVICE};
use super::{FakeTokens, Place};

/// A user of a registry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Login {
    pub(crate) username: &'static str,
    pub(crate) password: &'static str,
    /// bcrypt of the password.
    hash: &'static str,
}

impl Login {
    /// The one that there is.
    pub(crate) const ADA: Self = Self {
        username: "ada",
        password: "a-registry-keeps-this",
        hash: "$2b$05$BdObVsBVS9lmGRi3SfG9he.SPtIuLwpdIrXaDJaOMSS9tibEb2HWC",
    };
}

/// Who may use a registry.
#[derive(Clone, Copy, Debug)]
enum Access<'a> {
    Everybody,
    Known(Login),
    WithToken(&'a FakeTokens),
}

/// A running registry.
#[derive(Debug)]
pub(crate) struct Registry {
    server: Server,
    login: Option<Login>,
    authority: Option<String>,
}

impl Registry {
    /// One that everybody may use.
    #[track_caller]
    pub(crate) fn open() -> Self {
        Self::start(Place::Folder, Access::Everybody, None)
    }

    /// One that asks for a user and a password.
    #[track_caller]
    pub(crate) fn with_login(login: Login) -> Self {
        Self::start(Place::Folder, Access::Known(login), None)
    }

    /// One that asks for a token of `tokens`.
    #[track_caller]
    pub(crate) fn with_tokens(tokens: &FakeTokens) -> Self {
        Self::start(Place::Folder, Access::WithToken(tokens), None)
    }

    /// One that runs out of space after so many MiB.
    #[track_caller]
    pub(crate) fn on_small_disk(mebibytes: u32) -> Self {
        Self::start(Place::Disk(mebibytes), Access::Everybody, None)
    }

    /// One that speaks TLS, with a certificate of an authority that nobody knows.
    #[track_caller]
    pub(crate) fn with_tls() -> Self {
        Self::start(Place::Folder, Access::Everybody, Some(Certificate::of_loopback()))
    }

    #[track_caller]
    fn start(place: Place, access: Access<'_>, tls: Option<(Certificate, String)>) -> Self {
        let own = tls.as_ref().map(|(own, _authority)| own);
        let server = Server::start(place, |folder, port| serve(folder, port, access, own));
        let login = if let Access::Known(login) = access { Some(login) } else { None };
        Self { server, login, authority: tls.map(|(_own, authority)| authority) }
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> String {
        self.server.address()
    }

    /// The authority that vouches for it, PEM.
    pub(crate) fn authority(&self) -> &str {
        self.authority.as_deref().expect("it speaks TLS")
    }

    /// Asks it directly.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        let mut request = ureq::http::Request::builder()
            .uri(format!("http://{}{path}", self.address()))
            .header("accept", "application/vnd.oci.image.index.v1+json")
            .header("accept", "application/vnd.oci.image.manifest.v1+json")
            .header("accept", "application/vnd.docker.distribution.manifest.v2+json");
        if let Some(Login { username, password, .. }) = self.login {
            let pair = STANDARD.encode(format!("{username}:{password}"));
            request = request.header("authorization", format!("Basic {pair}"));
        }
        Daemon::send(request.body(Vec::new()).unwrap())
    }

    /// The tags of a repository; none when there is no such repository.
    #[track_caller]
    pub(crate) fn tags(&self, repository: &str) -> Vec<String> {
        let answer = self.get(&format!("/v2/{repository}/tags/list"));
        if answer.status == 404 {
            return Vec::new();
        }
        let tags = answer.json()["tags"].as_array().cloned().unwrap_or_default();
        tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
    }

    /// The folders of uploads that were begun and neither finished nor given up. Of one that was given up, an
    /// empty folder stays.
    pub(crate) fn uploads(&self, repository: &str) -> Vec<PathBuf> {
        let folder = format!("store/docker/registry/v2/repositories/{repository}/_uploads");
        let Ok(entries) = fs_err::read_dir(self.server.path(&folder)) else { return Vec::new() };
        let mut uploads: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        uploads.retain(|upload| upload.join("startedat").exists());
        uploads
    }
}

/// The program with its configuration, which it writes into `folder`.
fn serve(folder: &Path, port: u16, access: Access<'_>, own: Option<&Certificate>) -> Command {
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        fs_err::write(&path, text).unwrap();
        path.display().to_string()
    };
    let access = match access {
        Access::Everybody => String::new(),
        Access::Known(Login { username, hash, .. }) => {
            let path = write("htpasswd", &format!("{username}:{hash}\n"));
            format!("auth: {{htpasswd: {{realm: suite, path: {path}}}}}\n")
        },
        Access::WithToken(tokens) => {
            let (realm, bundle) = (tokens.url(), write("tokens.pem", tokens.certificate()));
            format!(
                "auth: {{token: {{realm: '{realm}', service: {SERVICE}, issuer: {ISSUER}, \
                 rootcertbundle: {bundle}}}}}\n"
            )
        },
    };
    let tls = own.map_or(String::new(), |own| {
        let (certificate, key) = (write("own.pem", &own.pem), write("key.pem", &own.key));
        format!(", tls: {{certificate: {certificate}, key: {key}}}")
    });
    let configuration = format!(
        "version: 0.1\n\
         log: {{level: warn}}\n\
         storage: {{filesystem: {{rootdirectory: {}/store}}, delete: {{enabled: true}}}}\n\
         http: {{addr: '127.0.0.1:{port}'{tls}}}\n\
         {access}",
        folder.display()
    );
    let program = checkout().join("target/docker-registry/usr/bin/docker-registry");
    assert!(program.is_file(), "`make setup` brings `docker-registry`");
    let mut command = Command::new(program);
    command.arg("serve").arg(write("config.yml", &configuration));
    command
}
