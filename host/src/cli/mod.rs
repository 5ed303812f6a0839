//! The command line: reads arguments, calls the layers below, prints.
//!
//! `args` is the grammar, one module per group of commands does the work, `output` alone prints,
//! `error` turns typed errors into sentences, causes, hints and exit codes.

pub mod args;
mod build;
mod catalog;
mod context;
mod delete;
pub mod error;
mod images;
mod inputs;
mod log;
mod output;
mod progress;
mod report;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command};
use context::Context;
use error::{Exit, Failures};
use output::Output;

use crate::factory::worker;
use crate::plugins::probe;

/// Runs the command line `arguments`, the first of which is the program's name.
pub fn run(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let arguments = inputs::join_pairs(arguments);
    let parsed = Cli::command()
        .try_get_matches_from(arguments)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help is data and goes to standard output; a closed one is no error.
            drop(error.print());
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return exit.into();
        },
    };
    let output = Output { format: cli.global.format, quiet: cli.global.quiet };
    match dispatch(&cli, output) {
        Ok(code) => code,
        Err(failures) => {
            output.failures(&failures);
            failures.exit().into()
        },
    }
}

fn dispatch(cli: &Cli, output: Output) -> Result<ExitCode, Failures> {
    match &cli.command {
        Command::Worker { init: true } => return Ok(worker::init::run()),
        Command::Worker { init: false } => return Ok(worker::run()),
        Command::Probe { library, nonce } => return Ok(probe::answer(library, nonce)),
        Command::Completions { shell } => {
            output::completions(*shell, &mut Cli::command());
            return Ok(ExitCode::SUCCESS);
        },
        _ => {},
    }
    let context = Context::new(&cli.global, output)?;
    let exit = match &cli.command {
        Command::Build(arguments) => build::build(&context, arguments),
        Command::BaseImage(arguments) => build::base_image(&context, arguments),
        Command::TargetImage(arguments) => build::target_image(&context, arguments),
        Command::ProviderImage(arguments) => build::provider_image(&context, arguments),
        Command::Images(command) => images::run(&context, command),
        Command::Targets { name } => catalog::targets(&context, name.as_deref()),
        Command::Templates(command) => catalog::templates(&context, command),
        Command::Plugins(command) => catalog::plugins(&context, command),
        Command::Completions { .. } | Command::Worker { .. } | Command::Probe { .. } => {
            Ok(Exit::Done)
        },
    }?;
    Ok(exit.into())
}
