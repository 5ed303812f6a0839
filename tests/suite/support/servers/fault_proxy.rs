//! What may go wrong between a client and a server, in front of a real server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::wait_for;

/// How much of a body goes on at once when that is to be slow, in bytes.
const SLOW_BYTES: u64 = 64 << 10;
/// How long it then waits: 3 MiB/s.
const SLOW: Duration = Duration::from_millis(20);

/// What happens to a request.
#[derive(Clone, Debug)]
enum Spoil {
    /// It is answered with a status and header lines, and the server never hears of it.
    Answer(u16, String),
    /// The connection is cut when so many bytes of the body have gone to the server.
    Cut(u64),
    /// What comes after so many bytes of the body goes to the server slowly.
    Slow(u64),
}

/// Something that goes wrong with some requests.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    spoil: Spoil,
    method: &'static str,
    path: String,
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

    /// The connection is cut when so many bytes of a body have gone to the server.
    pub(crate) fn cut(bytes: u64) -> Self {
        Self::new(Spoil::Cut(bytes))
    }

    /// What comes after so many bytes of a body goes to the server slowly, at 3 MiB/s.
    pub(crate) fn slow_after(bytes: u64) -> Self {
        Self::new(Spoil::Slow(bytes))
    }

    fn new(spoil: Spoil) -> Self {
        Self { spoil, method: "", path: String::new(), left: usize::MAX }
    }

    /// Only to requests of this method, whose path contains `path`.
    pub(crate) fn on(mut self, method: &'static str, path: &str) -> Self {
        self.method = method;
        path.clone_into(&mut self.path);
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
    /// Requests whose rest is going to the server slowly.
    slow: usize,
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
        // What a client has sent is soon at the server, or not yet out of its hands.
        rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 64 << 10).unwrap();
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

    /// Waits until a request has become slow.
    #[track_caller]
    pub(crate) fn wait_until_slow(&self) {
        wait_for("a slow request", || (self.state.lock().unwrap().slow > 0).then_some(()));
    }
}

impl State {
    /// Notes a request; answers its number and what goes wrong with it.
    fn note(&mut self, request: &str) -> (usize, Option<Spoil>) {
        let (method, path) = request.split_once(' ').unwrap_or_default();
        let fault = self.faults.iter_mut().find(|fault| {
            fault.left > 0 && method.starts_with(fault.method) && path.contains(&fault.path)
        });
        let spoil = fault.map(|fault| {
            fault.left = fault.left.saturating_sub(1);
            fault.spoil.clone()
        });
        self.seen.push(Seen { request: request.to_owned(), sent: 0, spoilt: spoil.is_some() });
        (self.seen.len() - 1, spoil)
    }
}

/// The head of a request.
struct Head {
    request: String,
    /// As it goes to the server: the connection ends with the answer.
    text: String,
}

impl Head {
    fn read(client: &mut impl BufRead) -> io::Result<Self> {
        let mut request = String::new();
        client.read_line(&mut request)?;
        let mut text = format!("{}\r\nConnection: close\r\n", request.trim_end());
        loop {
            let mut line = String::new();
            if client.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (name, _value) = line.split_once(':').unwrap_or_default();
            if !name.eq_ignore_ascii_case("connection") {
                text.push_str(&line);
            }
            if line.trim().is_empty() {
                return Ok(Self { request, text });
            }
        }
    }
}

/// One request, and its answer.
fn pass(client: TcpStream, address: &str, state: &Mutex<State>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let head = Head::read(&mut client)?;
    let (number, spoil) = state.lock().unwrap().note(&head.request);
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
    let sent = &|bytes| state.lock().unwrap().seen[number].sent += bytes;
    let gone = through(&mut client, &mut server, spoil.as_ref(), state, sent);
    if !matches!(gone, Ok(true)) {
        // However it ended, the server must not wait for more.
        drop(server.shutdown(Shutdown::Both));
        drop(client.get_ref().shutdown(Shutdown::Both));
    }
    drop(back.join());
    gone.map(drop)
}

/// Gives the body to the server, as far as it is to come there; answers whether all of it did.
fn through(
    client: &mut BufReader<TcpStream>,
    server: &mut TcpStream,
    spoil: Option<&Spoil>,
    state: &Mutex<State>,
    sent: &impl Fn(u64),
) -> io::Result<bool> {
    let limit = match spoil {
        Some(Spoil::Cut(bytes) | Spoil::Slow(bytes)) => *bytes,
        _ => u64::MAX,
    };
    if forward(&mut client.by_ref().take(limit), server, sent)? == limit {
        if !matches!(spoil, Some(Spoil::Slow(_))) {
            return Ok(false);
        }
        state.lock().unwrap().slow += 1;
        while forward(&mut client.by_ref().take(SLOW_BYTES), server, sent)? == SLOW_BYTES {
            std::thread::sleep(SLOW);
        }
    }
    // A client that hangs up says so to the server as well.
    server.shutdown(Shutdown::Write).map(|()| true)
}

/// Copies until the end of `from`, tells how much as it goes, and answers how much it was.
fn forward(from: &mut impl Read, to: &mut impl Write, sent: impl Fn(u64)) -> io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut all = 0;
    loop {
        let length = from.read(&mut buffer)? as u64;
        if length == 0 {
            return Ok(all);
        }
        to.write_all(&buffer[..usize::try_from(length).expect("no longer than the buffer")])?;
        all += length;
        sent(length);
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
