//! Who may use a cloud: OpenStack's keystone, with a database of SQLite and Fernet tokens.

use serde_json::{Value, json};

use crate::support::{Answer, Daemon};

use super::Place;
use super::openstack::{copy_database, gunicorn, run};
use super::server::Server;

/// The password of `admin`.
const ADMIN: &str = "the-key-of-the-cloud";

/// The region in whose catalog everything is.
pub(crate) const REGION: &str = "RegionOne";

/// A key of 32 bytes in Base64, which nobody uses but here.
const FERNET_KEY: &str = "aW1hZ2Vmb3JnZSB0cmllcyBrZXlzdG9uZSBsaWtlICE=";

/// A running keystone: project `forge` of the domain `Default`, and in it the user `ada`.
#[derive(Debug)]
pub(crate) struct Keystone {
    server: Server,
    token: String,
    /// The id of `ada`.
    user: String,
    /// The id of `forge`.
    project: String,
}

impl Keystone {
    /// The password of `ada`.
    pub(crate) const PASSWORD: &'static str = "ada-delivers-with-this";

    #[track_caller]
    pub(crate) fn start() -> Self {
        let server = Server::start(Place::Folder, |folder, port| {
            copy_database("keystone", folder, |folder| {
                configure(folder);
                let of_this = ["--config-file", "keystone.conf"];
                run(folder, "keystone-manage", &[&of_this[..], &["db_sync"]].concat());
                let create = ["bootstrap", "--bootstrap-password", ADMIN];
                let create = [&of_this[..], &create, &["--bootstrap-region-id", REGION]].concat();
                run(folder, "keystone-manage", &create);
            });
            configure(folder);
            let mut command = gunicorn(folder, "keystone.wsgi.api", port, None);
            command
                .env("OS_KEYSTONE_CONFIG_DIR", folder)
                .env("OS_KEYSTONE_CONFIG_FILES", "keystone.conf");
            command
        });
        let mut keystone =
            Self { server, token: String::new(), user: String::new(), project: String::new() };
        keystone.token = keystone.sign_in("admin", ADMIN, "admin");
        let user = json!({ "name": "ada", "password": Self::PASSWORD, "domain_id": "default" });
        keystone.user = id(&keystone.create("/users", &json!({ "user": user }))["user"]);
        keystone.project = keystone.add_project("forge");
        keystone.publish("identity", &keystone.url());
        keystone
    }

    /// `http://127.0.0.1:PORT/v3`
    pub(crate) fn url(&self) -> String {
        format!("http://{}/v3", self.server.address())
    }

    /// The token of `admin`.
    pub(super) fn token(&self) -> String {
        self.token.clone()
    }

    /// A token of `ada` for `forge`.
    #[track_caller]
    pub(crate) fn token_of_ada(&self) -> String {
        self.sign_in("ada", Self::PASSWORD, "forge")
    }

    /// The id of `forge`.
    pub(crate) fn project(&self) -> &str {
        &self.project
    }

    /// Makes a project that `ada` is a member of, and answers its id.
    #[track_caller]
    pub(crate) fn add_project(&self, name: &str) -> String {
        let wanted = json!({ "project": { "name": name, "domain_id": "default" } });
        let project = id(&self.create("/projects", &wanted)["project"]);
        let roles = self.ask("GET", "/roles?name=member", &Value::Null).json();
        let role = id(&roles["roles"][0]);
        let path = format!("/projects/{project}/users/{}/roles/{role}", self.user);
        assert_eq!(self.ask("PUT", &path, &Value::Null).status, 204);
        project
    }

    /// Makes an application credential of `ada` and answers its id and secret.
    #[track_caller]
    pub(crate) fn application_credential(&self) -> (String, String) {
        let path = format!("/users/{}/application_credentials", self.user);
        let wanted = json!({ "application_credential": { "name": "suite" } });
        let answer = self.ask_as(&self.token_of_ada(), "POST", &path, &wanted);
        assert_eq!(answer.status, 201, "{}", answer.text());
        let made = &answer.json()["application_credential"];
        (id(made), made["secret"].as_str().unwrap().to_owned())
    }

    /// Puts a service into the catalog.
    #[track_caller]
    pub(crate) fn publish(&self, kind: &str, url: &str) {
        let service = self.create("/services", &json!({ "service": { "type": kind } }));
        let endpoint = json!({
            "service_id": id(&service["service"]),
            "interface": "public",
            "region_id": REGION,
            "url": url,
        });
        self.create("/endpoints", &json!({ "endpoint": endpoint }));
    }

    /// What a service needs in its settings to ask whose a token is.
    pub(super) fn middleware(&self) -> String {
        format!(
            "[keystone_authtoken]\nauth_type = password\nauth_url = {0}\nwww_authenticate_uri = {0}\n\
             username = admin\npassword = {ADMIN}\nproject_name = admin\n\
             user_domain_id = default\nproject_domain_id = default\ninterface = public\n",
            self.url()
        )
    }

    #[track_caller]
    fn sign_in(&self, name: &str, password: &str, project: &str) -> String {
        let user = json!({ "name": name, "password": password, "domain": { "id": "default" } });
        let wanted = json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": user } },
            "scope": { "project": { "name": project, "domain": { "id": "default" } } },
        } });
        let answer = self.ask("POST", "/auth/tokens", &wanted);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.headers["x-subject-token"].to_str().unwrap().to_owned()
    }

    #[track_caller]
    fn create(&self, path: &str, document: &Value) -> Value {
        let answer = self.ask("POST", path, document);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, document: &Value) -> Answer {
        self.ask_as(&self.token, method, path, document)
    }

    #[track_caller]
    fn ask_as(&self, token: &str, method: &str, path: &str, document: &Value) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url()))
            .header("content-type", "application/json");
        if !token.is_empty() {
            request = request.header("x-auth-token", token);
        }
        let body = if document.is_null() { String::new() } else { document.to_string() };
        Daemon::send(request.body(body.into_bytes()).unwrap())
    }
}

fn id(document: &Value) -> String {
    document["id"].as_str().unwrap().to_owned()
}

/// Writes the configuration and the keys of a server that works in `folder`.
fn configure(folder: &std::path::Path) {
    let settings = format!(
        "[database]\nconnection = sqlite:///{0}/database?timeout=60\n\
         [token]\nprovider = fernet\n\
         [fernet_tokens]\nkey_repository = {0}/keys\n\
         [fernet_receipts]\nkey_repository = {0}/keys\n\
         [identity]\npassword_hash_rounds = 4\n\
         [oslo_policy]\nenforce_scope = False\npolicy_file = {0}/policy.yaml\n",
        folder.display()
    );
    fs_err::write(folder.join("keystone.conf"), settings).unwrap();
    fs_err::create_dir_all(folder.join("keys")).unwrap();
    for name in ["0", "1"] {
        fs_err::write(folder.join("keys").join(name), FERNET_KEY).unwrap();
    }
}
