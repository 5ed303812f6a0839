//! `serve`: the daemon in the foreground, for an init system or a terminal.

use std::time::Duration;

use camino::Utf8Path;
use serde_json::json;

use super::error::{Exit, Failure, Failures};
use super::local::{Local, settings_failure};
use super::logs;
use super::output::Output;
use crate::daemon::{self, ServeError, ServeOptions, SiteOptions, Systemd, TlsError};

/// Runs the daemon until it is told to stop.
pub(super) fn run(local: &Local, verbose: u8) -> Result<Exit, Failures> {
    let serve = &local.settings.serve;
    let variable = std::env::var("IMAGEFORGE_LOG").ok();
    let filter = variable.as_deref().or(serve.log_filter.as_deref());
    logs::begin(serve.log_format, filter, verbose)?;
    let mut settings = local.settings.clone();
    settings.load_target_content().map_err(|error| settings_failure(&error))?;
    let options = ServeOptions {
        data_dir: local.data_dir().to_owned(),
        site: SiteOptions {
            registry: local.registry_options(),
            settings,
            settings_file: local.settings_file().to_owned(),
            target_content: local.target_content().map(Utf8Path::to_owned),
        },
        systemd: systemd()?,
    };
    let served = daemon::serve(options, |listening| {
        let scheme = match &listening.certificate {
            Some(certificate) => {
                Output::error(format!("certificate {}", certificate.fingerprint));
                "https"
            },
            None => "http",
        };
        // The last line, for which scripts wait.
        Output::error(format!("listening at {scheme}://{}", listening.address));
    });
    served.map(|()| Exit::Done).map_err(|error| failure(&error).into())
}

/// Prints what clients know the daemon by.
pub(super) fn print_fingerprint(local: &Local) -> Result<Exit, Failures> {
    let certificate = daemon::certificate(&local.settings.serve, local.data_dir())
        .map_err(|error| tls_failure(&error))?;
    let fingerprint = certificate.fingerprint.to_string();
    local.output.text(&fingerprint);
    local.output.json(&json!({
        "fingerprint": fingerprint,
        "begins": certificate.begins,
        "ends": certificate.ends,
    }));
    Ok(Exit::Done)
}

/// What systemd put into the environment: `sd_notify(3)`, `sd_watchdog_enabled(3)`.
fn systemd() -> Result<Systemd, Failure> {
    let variable = |name| std::env::var(name).ok();
    let Some(address) = variable("NOTIFY_SOCKET") else {
        return Ok(Systemd::default());
    };
    let is_ours = variable("WATCHDOG_PID").is_none_or(|id| id == std::process::id().to_string());
    let watchdog = variable("WATCHDOG_USEC").filter(|_| is_ours).and_then(|text| text.parse().ok());
    Systemd::at(&address, watchdog.map(Duration::from_micros)).map_err(|error| {
        Failure::from_error(Exit::Usage, &error)
            .hint(format!("`NOTIFY_SOCKET` is `{address}`, which is no address of a socket"))
    })
}

fn failure(error: &ServeError) -> Failure {
    match error {
        ServeError::Store(error) => error.into(),
        ServeError::Plugins(error) => Failure::from_error(Exit::NoPlugin, error).hint(error.hint()),
        ServeError::Taken { .. } => Failure::from_error(Exit::Conflict, error)
            .hint("stop it, or name another directory with `--data-dir`"),
        ServeError::Listen { .. } => Failure::from_error(Exit::Conflict, error)
            .hint("name another address as `listen` below `[serve]` in the settings file"),
        ServeError::Exposed { .. } => Failure::from_error(Exit::InvalidInput, error)
            .hint("set `self_signed = true`, or `certificate` and `key`, below `[serve.tls]`")
            .hint("or listen at 127.0.0.1, with a proxy that speaks TLS before it"),
        ServeError::NoCallers { .. } => Failure::from_error(Exit::InvalidInput, error)
            .hint("make one: `imageforge tokens create NAME --scope SCOPE`"),
        ServeError::Tls(error) => tls_failure(error),
        ServeError::Consumer(error) => {
            Failure::from_error(Exit::InvalidInput, error).hint(error.hint())
        },
        ServeError::Tokens(error) => super::tokens::failure(error),
        error => Failure::from_error(Exit::Internal, error),
    }
}

fn tls_failure(error: &TlsError) -> Failure {
    let exit = match error {
        TlsError::NotYet { .. } => Exit::NotFound,
        TlsError::Make(_) | TlsError::Folder { .. } | TlsError::Write(_) => Exit::Internal,
        _ => Exit::InvalidInput,
    };
    Failure::from_error(exit, error).hints(error.hint())
}
