//! What may go wrong between a client and a server, in front of a real server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::wait_for;

/// What happens to a request.
#[derive(Clone, Debug)]
enum Spoil {
    /// It is answered with a status and header lines, and the server never hears of it.
    Answer(u16, String),
    /// The connection is cut when this share of the body has gone to the server.
    Cut(f64),
    /// No more than this share of the body goes to the server, until the client hangs up.
    Hold(f64),
}

/// Something that goes wrong with some requests.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    spoil: Spoil,
    method: &'static str,
    path: String,
    /// Least length of a body, in bytes.
    body_from: u64,
    /// Requests that it still happens to.
    left: usize,
}

impl Fault {
    /// Every request is answered with a status.
    pub(crate) fn answer(status: u16) -> Self {
        Self::new(Spoil::Answer(status, String::new()))
    }

    /// The same, with a header.
    pub(crate) fn answer_with(status: u16, name: &str, value: &str) -> Self {
        Self::new(Spoil::Answer(status, format!("{name}: {value}\r\n")))
    }

    /// The connection is cut when this share of a body has gone to the server.
    pub(crate) fn cut(share: f64) -> Self {
        Self::new(Spoil::Cut(share))
    }

    /// The server hears of this share of a body, and no more comes until the client hangs up.
    pub(crate) fn hold(share: f64) -> Self {
        Self::new(Spoil::Hold(share))
    }

    fn new(spoil: Spoil) -> Self {
        Self { spoil, method: "", path: String::new(), body_from: 0, left: usize::MAX }
    }

    /// Only to requests of this method, whose path contains `path`.
    pub(crate) fn on(mut self, method: &'static str, path: &str) -> Self {
        self.method = method;
        path.clone_into(&mut self.path);
        self
    }

    /// Only to requests whose body is so many bytes long or longer.
    pub(crate) fn of_bodies_from(mut self, bytes: u64) -> Self {
        self.body_from = bytes;
        self
    }

    /// Only to so many requests.
    pub(crate) fn times(mut self, count: usize) -> Self {
        self.left = count;
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// `PUT /v2/images/…`
    pub(crate) request: String,
    /// Bytes of the body that went to the server.
    pub(crate) sent: u64,
    /// Whether something went wrong with it, as was wanted.
    pub(crate) spoilt: bool,
}

#[derive(Debug, Default)]
struct State {
    faults: Vec<Fault>,
    seen: Vec<Seen>,
    /// Requests of which no more goes to the server.
    held: usize,
}

/// A proxy before a server. Every connection carries one request.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl FaultProxy {
    /// One before the server at `address`, `HOST:PORT`, which spoils nothing yet.
    pub(crate) fn before(address: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let proxy = Self { port, state: Arc::clone(&state) };
        let address = address.to_owned();
        drop(std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (state, address) = (Arc::clone(&state), address.clone());
                // A client or a server that hangs up ends it, and nothing else.
                drop(std::thread::spawn(move || pass(client, &address, &state).ok()));
            }
        }));
        proxy
    }

    /// From now on this goes wrong; of several that could happen, the first does.
    pub(crate) fn spoil(&self, fault: Fault) -> &Self {
        self.state.lock().unwrap().faults.push(fault);
        self
    }

    /// From now on nothing goes wrong.
    pub(crate) fn behave(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// `127.0.0.1:PORT`
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `http://127.0.0.1:PORT`
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// How often it spoilt something.
    pub(crate) fn spoilt(&self) -> usize {
        self.seen().iter().filter(|seen| seen.spoilt).count()
    }

    /// Waits until it holds a request.
    #[track_caller]
    pub(crate) fn wait_until_held(&self) {
        wait_for("a request to be held", || (self.state.lock().unwrap().held > 0).then_some(()));
    }
}

impl State {
    /// Notes a request; answers its number and what goes wrong with it.
    fn note(&mut self, Head { request, length, .. }: &Head) -> (usize, Option<Spoil>) {
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let fault = self.faults.iter_mut().find(|fault| {
            fault.left > 0
                && method.starts_with(fault.method)
                && path.contains(&fault.path)
                && length.unwrap_or_default() >= fault.body_from
        });
        let spoil = fault.map(|fault| {
            fault.left = fault.left.saturating_sub(1);
            fault.spoil.clone()
        });
        self.seen.push(Seen { request: request.clone(), sent: 0, spoilt: spoil.is_some() });
        (self.seen.len() - 1, spoil)
    }
}

/// The head of a request, and how long its body is when it says so.
struct Head {
    request: String,
    /// As it goes to the server: the connection ends with the answer.
    text: String,
    length: Option<u64>,
}

impl Head {
    fn read(client: &mut impl BufRead) -> io::Result<Self> {
        let mut request = String::new();
        client.read_line(&mut request)?;
        let mut text = format!("{}\r\nConnection: close\r\n", request.trim_end());
        let mut length = None;
        loop {
            let mut line = String::new();
            if client.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok();
            }
            if !name.eq_ignore_ascii_case("connection") {
                text.push_str(&line);
            }
            if line.trim().is_empty() {
                return Ok(Self { request, text, length });
            }
        }
    }
}

/// One request, and its answer.
fn pass(client: TcpStream, address: &str, state: &Mutex<State>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let head = Head::read(&mut client)?;
    let (number, spoil) = state.lock().unwrap().note(&head);
    if let Some(Spoil::Answer(status, headers)) = &spoil {
        return refuse(&mut client, *status, headers);
    }
    let mut server = TcpStream::connect(address)?;
    server.write_all(head.text.as_bytes())?;
    let back = {
        let (mut from, mut to) = (server.try_clone()?, client.get_ref().try_clone()?);
        std::thread::spawn(move || {
            drop(io::copy(&mut from, &mut to));
            // Whatever else the client has to say, nobody listens.
            drop(to.shutdown(Shutdown::Write));
        })
    };
    let sent = |bytes| state.lock().unwrap().seen[number].sent += bytes;
    let share = |share: f64| {
        let length = head.length.expect("a body whose length is told");
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "bodies are small"
        )]
        let bytes = (length as f64 * share) as u64;
        bytes
    };
    match spoil {
        Some(Spoil::Cut(part)) => {
            forward(&mut client.by_ref().take(share(part)), &mut server, sent)?;
            server.shutdown(Shutdown::Both)?;
            return client.get_ref().shutdown(Shutdown::Both);
        },
        Some(Spoil::Hold(part)) => {
            forward(&mut client.by_ref().take(share(part)), &mut server, sent)?;
            state.lock().unwrap().held += 1;
            until_hung_up(client.get_ref())?;
            return server.shutdown(Shutdown::Both);
        },
        // A client that hangs up says so to the server as well.
        _ => forward(&mut client, &mut server, sent).and(server.shutdown(Shutdown::Write))?,
    }
    drop(back.join());
    Ok(())
}

/// Copies until the end of `from`, and tells how much.
fn forward(from: &mut impl Read, to: &mut impl Write, sent: impl Fn(u64)) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..length])?;
        sent(length as u64);
    }
}

/// Answers instead of the server, and lets the client finish what it has to say.
fn refuse(client: &mut BufReader<TcpStream>, status: u16, headers: &str) -> io::Result<()> {
    let body = format!("the proxy answers {status}");
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} Spoilt\r\n{headers}content-type: text/plain\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    client.get_mut().write_all(answer.as_bytes())?;
    client.get_ref().shutdown(Shutdown::Write)?;
    client.get_ref().set_read_timeout(Some(Duration::from_secs(5)))?;
    io::copy(client, &mut io::sink()).map(drop)
}

/// Waits until the client has hung up, whatever it has sent before.
fn until_hung_up(client: &TcpStream) -> io::Result<()> {
    let a_while = Timespec { tv_sec: 600, tv_nsec: 0 };
    let mut watched = [PollFd::from_borrowed_fd(client.as_fd(), PollFlags::RDHUP)];
    poll(&mut watched, Some(&a_while))?;
    Ok(())
}
