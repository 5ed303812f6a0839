//! `serve`: the daemon in the foreground, for an init system or a terminal.

use super::context::Context;
use super::error::{Exit, Failure, Failures};
use super::logs;
use super::output::Output;
use crate::daemon::{self, ServeError, ServeOptions, SiteOptions};

/// Runs the daemon until it is told to stop.
pub(super) fn run(context: &Context) -> Result<Exit, Failures> {
    let serve = &context.settings.serve;
    let variable = std::env::var("IMAGEFORGE_LOG").ok();
    let filter = variable.as_deref().or(serve.log_filter.as_deref());
    logs::begin(serve.log_format, filter, context.verbose)?;
    let options = ServeOptions {
        data_dir: context.data_dir().to_owned(),
        site: SiteOptions {
            registry: context.registry_options(),
            settings: context.settings.clone(),
            settings_file: context.settings_file().to_owned(),
        },
    };
    let served = daemon::serve(options, |listening| {
        Output::error(format!("listening at http://{}", listening.address));
    });
    served.map(|()| Exit::Done).map_err(|error| failure(&error).into())
}

fn failure(error: &ServeError) -> Failure {
    match error {
        ServeError::Store(error) => error.into(),
        ServeError::Plugins(error) => Failure::from_error(Exit::NoPlugin, error).hint(error.hint()),
        ServeError::Taken { .. } => Failure::from_error(Exit::Conflict, error)
            .hint("stop it, or name another directory with `--data-dir`"),
        ServeError::Listen { .. } => Failure::from_error(Exit::Conflict, error)
            .hint("name another address as `listen` below `[serve]` in the settings file"),
        ServeError::Tokens(error) => super::tokens::failure(error),
        error => Failure::from_error(Exit::Internal, error),
    }
}
