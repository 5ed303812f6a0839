//! A small HTTP server inside a test (feature `testing`): it answers what a closure says, and does
//! what real servers do only on bad days: it hangs up in the midst of a body, answers before the end,
//! or says nothing at all.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

/// No test waits longer for a byte.
const SILENCE: Duration = Duration::from_secs(20);

/// One request, being answered.
#[derive(Debug)]
pub struct Exchange {
    /// `GET`, `PUT`, …
    pub method: String,
    /// Path and query.
    pub path: String,
    headers: Vec<(String, String)>,
    /// Bytes of the body, or of its current chunk.
    left: u64,
    /// Whether another chunk follows.
    is_chunked: bool,
    connection: Box<BufReader<TcpStream>>,
}

impl Exchange {
    fn read(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(SILENCE))?;
        // What waits to be sent when a connection is reset is lost.
        stream.set_nodelay(true)?;
        let mut connection = Box::new(BufReader::new(stream));
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            connection.read_line(&mut line)?;
            match line.trim_end() {
                "" => break,
                line => lines.push(line.to_owned()),
            }
        }
        let mut words = lines.first().map(String::as_str).unwrap_or_default().split(' ');
        let mut word = || words.next().unwrap_or_default().to_owned();
        let (method, path) = (word(), word());
        let header = |line: &String| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        let headers = lines.iter().skip(1).filter_map(header).collect();
        let mut exchange = Self { method, path, headers, left: 0, is_chunked: false, connection };
        exchange.left =
            exchange.header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        exchange.is_chunked = exchange.header("transfer-encoding") == Some("chunked");
        Ok(exchange)
    }

    /// A header of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads up to `length` bytes of the body; a client that waits for a word is told to go on.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn take(&mut self, length: u64) -> io::Result<Vec<u8>> {
        if (self.left > 0 || self.is_chunked) && self.header("expect").is_some() {
            self.headers.retain(|(name, _)| name != "expect");
            self.connection.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut bytes = Vec::new();
        loop {
            let missing = length - bytes.len() as u64;
            if self.left == 0 && self.is_chunked && missing > 0 {
                self.left = self.next_chunk()?;
            }
            let wanted = missing.min(self.left);
            let read = (&mut self.connection).take(wanted).read_to_end(&mut bytes)?;
            self.left -= read as u64;
            if !self.is_chunked || read == 0 {
                return Ok(bytes);
            }
            if self.left == 0 {
                self.connection.read_line(&mut String::new())?;
            }
        }
    }

    /// Length of the next chunk; 0 at the end.
    fn next_chunk(&mut self) -> io::Result<u64> {
        let mut line = String::new();
        self.connection.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
        if length == 0 {
            self.is_chunked = false;
            self.connection.read_line(&mut line)?;
        }
        Ok(length)
    }

    /// The rest of the body.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn body(&mut self) -> io::Result<Vec<u8>> {
        self.take(u64::MAX)
    }

    /// The body as a document; `null` when it is none.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn document(&mut self) -> io::Result<Value> {
        Ok(serde_json::from_slice(&self.body()?).unwrap_or_default())
    }

    /// Answers at once, whatever is left of the body.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn answer(mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        let mut head = format!(
            "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n",
            body.len()
        );
        for (name, value) in headers {
            head = format!("{head}{name}: {value}\r\n");
        }
        let stream = self.connection.get_mut();
        stream.write_all(format!("{head}\r\n").as_bytes())?;
        if self.method != "HEAD" {
            stream.write_all(body)?;
        }
        Ok(())
    }

    /// Reads the rest of the body, then answers with a document.
    ///
    /// # Errors
    /// When the client is gone.
    pub fn json(mut self, status: u16, document: &Value) -> io::Result<()> {
        self.body()?;
        let body = document.to_string();
        self.answer(status, &[("content-type", "application/json")], body.as_bytes())
    }

    /// Says nothing until the client is gone.
    ///
    /// # Errors
    /// When the client is gone in some other way.
    pub fn say_nothing(mut self) -> io::Result<()> {
        self.connection.read_to_end(&mut Vec::new()).map(drop)
    }
}

/// A server that lives as long as this value.
pub struct Server {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<String>>>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server on a free port of the loopback interface. `answer` is given each request; one
    /// that it drops is hung up on.
    ///
    /// # Errors
    /// When there is no port.
    pub fn start(
        answer: impl Fn(Exchange) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (over, asked, answer) = (Arc::clone(&is_over), Arc::clone(&seen), Arc::new(answer));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                if over.load(Ordering::Acquire) {
                    break;
                }
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                thread::spawn(move || {
                    let Ok(exchange) = Exchange::read(stream) else { return };
                    asked
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(format!("{} {}", exchange.method, exchange.path));
                    // A client that is gone is what some tests are about.
                    drop(answer(exchange));
                });
            }
        });
        Ok(Self { address, is_over, seen, accepting: Some(accepting) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Methods and paths of all requests so far.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.address).finish()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        if TcpStream::connect(self.address).is_ok()
            && let Some(accepting) = self.accepting.take()
        {
            // A panic in it was the test's own.
            drop(accepting.join());
        }
    }
}
