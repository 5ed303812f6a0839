//! A receiver of callbacks, on a port of its own, that behaves as a test wants.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::wait_for;

/// What a receiver answers.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// A status.
    Status(u16),
    /// 307, to an address.
    Redirect(String),
    /// Nothing, for a long time.
    Silence,
}

/// What a receiver was told.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) request: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
    /// The status that it was answered.
    pub(crate) answered: u16,
}

/// Chooses an answer by the number of the request, from 0.
type Behaviour = Box<dyn Fn(usize) -> Reply + Send>;

#[derive(Default)]
struct Heard {
    behaviour: Option<Behaviour>,
    told: Vec<Told>,
}

/// A receiver.
pub(crate) struct Receiver {
    port: u16,
    heard: Arc<Mutex<Heard>>,
}

impl Receiver {
    pub(crate) fn new(behaviour: impl Fn(usize) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let receiver = Self { port, heard: Arc::clone(&heard) };
        receiver.behave(behaviour);
        drop(std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = Arc::clone(&heard);
                drop(std::thread::spawn(move || answer(stream, &heard)));
            }
        }));
        receiver
    }

    /// One that acknowledges everything.
    pub(crate) fn friendly() -> Self {
        Self::new(|_| Reply::Status(200))
    }

    /// From now on; requests are counted on.
    pub(crate) fn behave(&self, behaviour: impl Fn(usize) -> Reply + Send + 'static) {
        self.heard.lock().unwrap().behaviour = Some(Box::new(behaviour));
    }

    /// An address, with what comes between `//` and the host, and a path.
    pub(crate) fn url(&self, user: &str, path: &str) -> String {
        format!("http://{user}127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.heard.lock().unwrap().told.clone()
    }

    /// What it was told and acknowledged, once that is so many.
    #[track_caller]
    pub(crate) fn acknowledged(&self, count: usize) -> Vec<Told> {
        wait_for("a receiver to be told", || {
            let mut told = self.told();
            told.retain(|told| (200..300).contains(&told.answered));
            (told.len() >= count).then_some(told)
        })
    }
}

impl Told {
    /// The document of the image.
    pub(crate) fn image(&self) -> Value {
        let document: Value = serde_json::from_str(&self.text).unwrap();
        let images = document.as_object().unwrap();
        assert_eq!(images.len(), 1, "{document:#}");
        images.values().next().unwrap().clone()
    }
}

/// Reads one request and answers it. A daemon that is killed may break off.
fn answer(stream: TcpStream, heard: &Mutex<Heard>) {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    let headers: BTreeMap<String, String> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned())))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let text = String::from_utf8(body).unwrap();
    let reply = {
        let mut heard = heard.lock().unwrap();
        let reply = heard.behaviour.as_ref().unwrap()(heard.told.len());
        let answered = match reply {
            Reply::Status(status) => status,
            Reply::Redirect(_) => 307,
            Reply::Silence => 0,
        };
        heard.told.push(Told { request, headers, text, answered });
        reply
    };
    let answer = match reply {
        Reply::Status(status) => format!("HTTP/1.1 {status} Some\r\ncontent-length: 0\r\n\r\n"),
        Reply::Redirect(to) => {
            format!("HTTP/1.1 307 Away\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
        },
        Reply::Silence => return std::thread::sleep(Duration::from_mins(10)),
    };
    drop(reader.get_mut().write_all(answer.as_bytes()));
}
