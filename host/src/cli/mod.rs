//! The command line: reads arguments, calls the layers below, prints.
//!
//! `args` is the grammar, one module per group of commands does the work, `output` alone prints,
//! `error` turns typed errors into sentences, causes, hints and exit codes. Commands ask a `backend`:
//! this machine (`local`) or a daemon (`remote`).

pub mod args;
mod audit;
mod backend;
mod build;
mod catalog;
mod context;
mod copies;
mod delete;
mod deliveries;
mod detach;
mod doctor;
mod images;
mod inputs;
mod interrupt;
mod local;
mod log;
mod logs;
mod manual;
mod output;
mod plugins;
mod progress;
mod remote;
mod report;
mod serve;
mod tokens;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use args::{Cli, Command, Format};
use context::Context;
use error::{Exit, Failure, Failures};
use output::Output;

use crate::factory::worker;
use crate::failures as error;
use crate::plugins::probe;
use crate::process::{go_by_name, init};

/// Runs the command line `arguments`, the first of which is the program's name.
pub fn run(arguments: impl IntoIterator<Item = String>) -> ExitCode {
    let arguments = inputs::join_pairs(arguments);
    let parsed = Cli::command()
        .try_get_matches_from(&arguments)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error, &arguments).into(),
    };
    let output = Output { format: cli.global.format, quiet: cli.global.quiet };
    let code = match dispatch(&cli, output) {
        Ok(code) => code,
        Err(failures) => {
            output.failures(&failures);
            failures.exit().into()
        },
    };
    if output::data_lost() {
        Output::error("error: standard output does not take what was to be written there");
        return Exit::Internal.into();
    }
    code
}

/// Help, or what is wrong with the command line; the latter also as a document where one is wanted.
fn misunderstood(error: &clap::Error, arguments: &[String]) -> Exit {
    if error.kind() == clap::error::ErrorKind::MissingSubcommand {
        // clap's own words list commands that are hidden.
        let failure =
            Failure::new(Exit::Usage, "a command is missing").hint("`--help` lists the commands");
        let format = if wants_json(arguments) { Format::Json } else { Format::Text };
        Output { format, quiet: false }.failures(&failure.into());
        return Exit::Usage;
    }
    // Help is data and goes to standard output; a closed one is no error.
    drop(error.print());
    if !error.use_stderr() {
        return Exit::Done;
    }
    if wants_json(arguments) {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let failures = Failures::from(Failure::new(Exit::Usage, message));
        Output { format: Format::Json, quiet: true }
            .json(&serde_json::json!({ "errors": failures.to_json() }));
    }
    Exit::Usage
}

fn wants_json(arguments: &[String]) -> bool {
    arguments.iter().any(|argument| argument == "--format=json")
        || arguments.windows(2).any(|pair| pair == ["--format", "json"])
}

fn dispatch(cli: &Cli, output: Output) -> Result<ExitCode, Failures> {
    if matches!(cli.command, Command::Worker { .. } | Command::Probe { .. }) {
        go_by_name();
    }
    match &cli.command {
        Command::Worker { init: true, reach } => return Ok(init::run(&["worker"], reach)),
        Command::Worker { init: false, .. } => return Ok(worker::run()),
        Command::Probe { init: true, reach, library, nonce } => {
            return Ok(init::run(&["probe", library.as_str(), nonce], reach));
        },
        Command::Probe { init: false, library, nonce, .. } => {
            return Ok(probe::answer(library, nonce));
        },
        Command::Completions { shell } => {
            output::completions(*shell, &mut Cli::command());
            return Ok(ExitCode::SUCCESS);
        },
        Command::Manual { folder } => {
            return manual::write(&Cli::command(), folder)
                .map(|()| ExitCode::SUCCESS)
                .map_err(Failures::from);
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
        Command::Plugins(command) => plugins::run(&context, command),
        Command::Doctor => Ok(doctor::run(context.local("`doctor`")?)),
        Command::Serve { fingerprint: true } => serve::print_fingerprint(context.local("`serve`")?),
        Command::Serve { fingerprint: false } => {
            serve::run(context.local("`serve`")?, context.verbose)
        },
        Command::Tokens(command) => tokens::run(context.local("`tokens`")?, command),
        Command::Completions { .. }
        | Command::Manual { .. }
        | Command::Worker { .. }
        | Command::Probe { .. } => Ok(Exit::Done),
    }?;
    Ok(exit.into())
}
