//! A daemon that serves one workshop, and a client for it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{Ran, Workshop, executable, kill, wait_for};

/// A running `imageforge serve`. Killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Daemon<'w> {
    workshop: &'w Workshop,
    child: Child,
    address: String,
    token: String,
    said: Arc<Mutex<Vec<String>>>,
}

/// An answer: status, headers and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl<'w> Daemon<'w> {
    /// Starts the daemon on a free port, with `settings` below `[serve]`, which may begin with another
    /// `listen`. Requests carry a token that
    /// allows everything.
    #[track_caller]
    pub(crate) fn start(workshop: &'w Workshop, settings: &str) -> Self {
        Self::start_with(workshop, settings, &[])
    }

    /// The same, with more in its environment.
    #[track_caller]
    pub(crate) fn start_with(
        workshop: &'w Workshop,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::start_as(&executable(), workshop, settings, environment)
    }

    /// The same of another executable.
    #[track_caller]
    pub(crate) fn start_as(
        program: &Path,
        workshop: &'w Workshop,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let token = token(workshop);
        let listen =
            if settings.starts_with("listen =") { "" } else { "listen = \"127.0.0.1:0\"\n" };
        let settings = format!("[serve]\n{listen}{settings}");
        let path = workshop.write("serve.toml", settings);
        let path = path.to_str().unwrap();
        let mut child = workshop
            .environment(program)
            .args(["--config", path, "serve"])
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("the daemon ended: {said:#?}"));
            let line = line.unwrap();
            if let Some(address) = line.strip_prefix("listening at ") {
                break address.to_owned();
            }
            said.push(line);
        };
        let said = Arc::new(Mutex::new(said));
        let all = Arc::clone(&said);
        let lines = lines.map_while(Result::ok);
        drop(std::thread::spawn(move || lines.for_each(|line| all.lock().unwrap().push(line))));
        Self { workshop, child, address, token, said }
    }

    /// Waits for a line on standard error with `text` in it, and answers the first.
    #[track_caller]
    pub(crate) fn says(&self, text: &str) -> String {
        wait_for(text, || {
            self.said.lock().unwrap().iter().find(|line| line.contains(text)).cloned()
        })
    }

    /// Answers, once it has ended, all that it said on standard error.
    pub(crate) fn said(&self) -> impl FnOnce() -> String + use<> {
        let said = Arc::clone(&self.said);
        // Whoever listens lets go of it at the end.
        move || {
            wait_for("the last line", || (Arc::strong_count(&said) == 1).then_some(()));
            said.lock().unwrap().join("\n")
        }
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where it listens: `http://HOST:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A token that allows everything.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// `imageforge` with these arguments, sent here.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.workshop.command(arguments);
        command.env("IMAGEFORGE_SERVER", &self.address).env("IMAGEFORGE_TOKEN", &self.token);
        command
    }

    /// Runs such a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.command(arguments).output().unwrap().into()
    }

    /// Sends a request.
    #[track_caller]
    pub(crate) fn send(request: ureq::http::Request<Vec<u8>>) -> Answer {
        let agent: ureq::Agent =
            ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.run(request).unwrap();
        let body = response.body_mut().with_config().limit(64 << 20).read_to_vec().unwrap();
        Answer { status: response.status().as_u16(), headers: response.headers().clone(), body }
    }

    /// A request for a path, to be sent with the token.
    pub(crate) fn request(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        self.request_of(&self.token, method, path)
    }

    /// A request with another token.
    pub(crate) fn request_of(
        &self,
        token: &str,
        method: &str,
        path: &str,
    ) -> ureq::http::request::Builder {
        self.anonymous(method, path).header("authorization", format!("Bearer {token}"))
    }

    /// A request of somebody whom nobody knows.
    pub(crate) fn anonymous(&self, method: &str, path: &str) -> ureq::http::request::Builder {
        ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.address))
    }

    /// `GET`
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Answer {
        Self::send(self.request("GET", path).body(Vec::new()).unwrap())
    }

    /// `POST` of a document.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, document: &Value) -> Answer {
        let request = self.request("POST", path).header("content-type", "application/json");
        Self::send(request.body(document.to_string().into_bytes()).unwrap())
    }

    /// Asks for a build of `mock.tdl` for `targets` and answers its images.
    #[track_caller]
    pub(crate) fn build(&self, targets: &[&str], parameters: &Value) -> Vec<Value> {
        let template = fs_err::read_to_string(self.workshop.path("mock.tdl")).unwrap();
        let request = json!({ "template": template, "targets": targets, "parameters": parameters });
        let answer = self.post("/v1/builds", &request);
        assert_eq!(answer.status, 202, "{answer:?}");
        answer.json()["images"].as_array().unwrap().clone()
    }

    /// The record of an image once it has reached its end.
    #[track_caller]
    pub(crate) fn ended(&self, image: &Value) -> Value {
        let path = format!("/v1/images/{}", image["id"].as_str().unwrap());
        wait_for("the image to reach its end", || {
            let record = self.get(&path).json();
            let status = record["status"].as_str().unwrap_or("gone");
            (!matches!(status, "NEW" | "PENDING" | "BUILDING")).then_some(record)
        })
    }

    /// Ends it with a signal and answers its exit code.
    pub(crate) fn stop(mut self, signal: Signal) -> Option<i32> {
        kill(self.child.id(), signal);
        self.child.wait().unwrap().code()
    }
}

/// A token that allows everything, the same one for every daemon of a workshop.
fn token(workshop: &Workshop) -> String {
    let kept = workshop.path("token.txt");
    fs_err::read_to_string(&kept).unwrap_or_else(|_| {
        let create = ["tokens", "create", "suite", "--scope", "admin"];
        let token = workshop.run(&create).done().stdout.trim().to_owned();
        fs_err::write(&kept, &token).unwrap();
        token
    })
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Answer {
    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
