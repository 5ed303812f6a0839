//! A worker: one short-lived process that does the work of one tier.
//!
//! Only a worker loads plugins. It reads one request from standard input, calls delegates in the
//! order of its `tiers`, and tells what happens on what was its standard output; plugins get
//! standard error for both of their output streams.

mod channel;
mod command;
mod control;
mod delegate;
mod host;
mod tiers;

use std::io::{BufRead, BufReader, PipeReader};
use std::process::ExitCode;
use std::sync::Arc;

use plugin_api::DelegateError;
use plugin_api::host::{LogLevel, LogRecord};

use channel::Channel;

use super::cgroup;
use super::limits::Limits;
use super::protocol::{Message, Outcome, Request};
use crate::process::give_way;

/// Does the work that standard input asks for.
pub fn run() -> ExitCode {
    let channel = match Channel::take_over_stdout() {
        Ok(channel) => Arc::new(channel),
        Err(error) => {
            tracing::error!(%error, "cannot open the event channel");
            return ExitCode::FAILURE;
        },
    };
    match read_request() {
        Ok((request, supervisor)) => {
            Limits::of_request(&request).bind();
            go_into_group(&request, &channel);
            if request.context.is_remote {
                // The daemon that asked serves others meanwhile. Before there are other threads, which
                // take the priority over as programs do.
                give_way("worker");
            }
            let control = control::Control::start(Arc::clone(&channel), supervisor);
            let outcome = tiers::work(&request, &channel, &control);
            channel.send(Message::Done(outcome));
            // What goes wrong from here on harms nothing any more.
            control.drop_delegates();
        },
        Err(error) => {
            let (plugin, method) = (String::new(), String::new());
            channel.send(Message::Done(Outcome::Failed { plugin, method, error }));
        },
    }
    ExitCode::SUCCESS
}

/// Before a plugin is loaded. Without its group, a worker is still bound by everything else.
fn go_into_group(request: &Request, channel: &Channel) {
    if let Some(group) = &request.cgroup
        && let Err(error) = cgroup::join(group)
    {
        let message = format!("the worker runs outside of its control group: {error}");
        channel.send(Message::Log(LogRecord::new(LogLevel::Warn, "imageforge", message)));
    }
}

fn read_request() -> Result<(Request, BufReader<PipeReader>), DelegateError> {
    let mut supervisor = Channel::take_over_stdin()?;
    let mut line = String::new();
    supervisor.read_line(&mut line)?;
    let request = serde_json::from_str(&line).map_err(|error| {
        DelegateError::failed("a worker was started without a request it can read")
            .caused_by(error)
            .hint("workers are started by `imageforge build`, not by hand")
    })?;
    Ok((request, supervisor))
}
