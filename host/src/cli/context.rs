//! What every command needs: how it prints, and where images are.

use camino::Utf8Path;

use super::args::Global;
use super::backend::Backend;
use super::error::{Exit, Failure, Failures};
use super::local::Local;
use super::output::Output;
use super::remote::Remote;
use crate::client::{Address, ClientError, Server, ServerOptions, Trust};

/// The word that stands for the daemon of this machine's data directory.
const LOCAL: &str = "local";
/// The socket of a daemon in its data directory.
const SOCKET: &str = "serve.sock";

/// How a command prints, and where it works.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) output: Output,
    pub(super) verbose: u8,
    site: Site,
}

/// Where images are and are built.
#[derive(Debug)]
pub(super) enum Site {
    /// In the data directory, by this process.
    Local(Box<Local>),
    /// At a daemon.
    Remote(Box<Remote>),
}

impl Context {
    pub(super) fn new(global: &Global, output: Output) -> Result<Self, Failures> {
        let site = match global.server.as_deref() {
            None => Site::Local(Box::new(Local::new(global, output)?)),
            Some(LOCAL) => {
                let local = Local::new(global, output)?;
                let socket = local.data_dir().join(SOCKET);
                Site::Remote(Box::new(remote(Address::Socket(socket), global, output)?))
            },
            Some(text) => {
                let address = Address::parse(text).map_err(Failures::from)?;
                Site::Remote(Box::new(remote(address, global, output)?))
            },
        };
        Ok(Self { output, verbose: global.verbose, site })
    }

    /// Where images are.
    pub(super) fn site(&self) -> &Site {
        &self.site
    }

    /// Whoever keeps and makes images.
    pub(super) fn backend(&self) -> &dyn Backend {
        match &self.site {
            Site::Local(local) => &**local,
            Site::Remote(remote) => &**remote,
        }
    }

    /// This machine's data directory, for `what` works on it alone.
    ///
    /// # Errors
    /// The command was sent to a server.
    pub(super) fn local(&self, what: &str) -> Result<&Local, Failure> {
        match &self.site {
            Site::Local(local) => Ok(local),
            Site::Remote(remote) => {
                let message = format!("{what} does not work over `--server`");
                Err(Failure::new(Exit::Usage, message).hint(format!(
                    "run it where `{}` runs, without `--server` and `IMAGEFORGE_SERVER`",
                    remote.address()
                )))
            },
        }
    }
}

fn remote(address: Address, global: &Global, output: Output) -> Result<Remote, Failures> {
    let token = match &global.token_file {
        Some(path) => Some(token(path)?),
        None => std::env::var("IMAGEFORGE_TOKEN").ok().map(|text| text.trim().to_owned()),
    };
    let fingerprint = global.server_fingerprint.as_deref().map(str::parse);
    let fingerprint = fingerprint.transpose().map_err(ClientError::Fingerprint)?;
    let options = ServerOptions {
        address,
        trust: Trust { authorities: global.server_ca.clone(), fingerprint },
        token: token.filter(|token| !token.is_empty()),
        on_trouble: Box::new(move |text| output.note(text)),
    };
    Ok(Remote::new(Server::connect(options)?))
}

/// The token in a file.
fn token(path: &Utf8Path) -> Result<String, Failure> {
    let text = super::inputs::read(path)?;
    match text.trim() {
        "" => Err(Failure::new(Exit::InvalidInput, format!("`{path}` holds no token"))
            .hint("`imageforge tokens create` prints one on the server")),
        token => Ok(token.to_owned()),
    }
}
