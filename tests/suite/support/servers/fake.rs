//! What the fakes have in common: HTTP that is just enough.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// A request.
pub(super) struct Asked {
    pub(super) method: String,
    /// Without what follows `?`.
    pub(super) path: String,
    /// What follows `?`.
    pub(super) query: String,
    headers: Vec<String>,
    pub(super) body: Vec<u8>,
}

impl Asked {
    /// A header; empty when there is none.
    pub(super) fn header(&self, name: &str) -> &str {
        let mut pairs = self.headers.iter().filter_map(|line| line.split_once(':'));
        let found = pairs.find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.trim())
    }
}

/// A status, further header lines, and a document.
pub(super) type Reply = (u16, String, Value);

/// A fake server. It goes on until the test ends.
#[derive(Debug)]
pub(super) struct Fake {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Starts one that answers as `answer` says.
    pub(super) fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, answer) = (Arc::clone(&asked), Arc::new(answer));
        drop(std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (noted, answer) = (Arc::clone(&noted), Arc::clone(&answer));
                drop(std::thread::spawn(move || serve(stream, &noted, &*answer)));
            }
        }));
        Self { port, asked }
    }

    /// `http://127.0.0.1:PORT`
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All that it was asked: `POST /v2.1/…`
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Reads one request and answers it. A client may break off.
fn serve(
    stream: TcpStream,
    noted: &Mutex<Vec<String>>,
    answer: &dyn Fn(&Asked) -> Reply,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut lines = reader.by_ref().lines().map_while(Result::ok);
    let request = lines.next()?;
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let mut words = request.split(' ');
    let (method, place) = (words.next()?.to_owned(), words.next()?);
    noted.lock().unwrap().push(format!("{method} {place}"));
    let (path, query) = place.split_once('?').unwrap_or((place, ""));
    let (path, query) = (path.to_owned(), query.to_owned());
    let mut asked = Asked { method, path, query, headers, body: Vec::new() };
    asked.body.resize(asked.header("content-length").parse().unwrap_or(0), 0);
    reader.read_exact(&mut asked.body).ok()?;
    let (status, headers, document) = answer(&asked);
    let document = document.to_string();
    let text = format!(
        "HTTP/1.1 {status} Fake\r\n{headers}content-type: application/json\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{document}",
        document.len()
    );
    reader.get_mut().write_all(text.as_bytes()).ok()
}
