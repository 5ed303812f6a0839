//! `tokens …`: who may send requests to the daemon. Works on the data directory, also while it is served.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::args::Tokens as Arguments;
use super::audit::{self, Subjects};
use super::error::{Exit, Failure, Failures};
use super::local::Local;
use super::output::table;
use crate::tokens::{Scope, Scopes, TokenError, Tokens};

const HOURS_OF_DAY: i64 = 24;

/// `imageforge tokens …`
pub(super) fn run(local: &Local, arguments: &Arguments) -> Result<Exit, Failures> {
    match arguments {
        Arguments::Create { name, scopes, expires } => create(local, name, scopes, *expires),
        Arguments::List => list(local),
        Arguments::Revoke { names } => revoke(local, names),
    }
}

fn create(
    local: &Local,
    name: &str,
    scopes: &[String],
    expires_days: Option<u32>,
) -> Result<Exit, Failures> {
    let scopes = scopes
        .iter()
        .map(|scope| scope.parse::<Scope>())
        .collect::<Result<Scopes, _>>()
        .map_err(|error| Failure::from_error(Exit::Usage, &error).hint(error.hint()))?;
    let lifetime = |days| SignedDuration::from_hours(i64::from(days) * HOURS_OF_DAY);
    let expires = expires_days.map(|days| Timestamp::now() + lifetime(days));
    let token = open(local)?.create(name, &scopes, expires);
    let token = token.map_err(|error| Failures::from(failure(&error)));
    audit::note(local, "tokens create", Subjects::Tokens(vec![name.to_owned()]), &token);
    let token = token?;
    local.output.note(format!("token `{name}` is shown this once:"));
    local.output.text(&token);
    let document = json!({ "name": name, "token": token, "scopes": scopes, "expires": expires });
    local.output.json(&document);
    Ok(Exit::Done)
}

fn list(local: &Local) -> Result<Exit, Failures> {
    let tokens = open(local)?.list().map_err(|error| failure(&error))?;
    let now = Timestamp::now();
    let header = ["NAME", "SCOPES", "CREATED", "EXPIRES", "LAST USED"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    rows.extend(tokens.iter().map(|token| {
        let expires = match token.expires {
            Some(time) if token.is_expired(now) => format!("{} (expired)", date(time)),
            Some(time) => date(time),
            None => "never".to_owned(),
        };
        vec![
            token.name.clone(),
            token.scopes.to_string(),
            date(token.created),
            expires,
            token.last_used.map_or_else(|| "never".to_owned(), minute),
        ]
    }));
    local.output.text(table(&rows));
    local.output.json(&tokens);
    Ok(Exit::Done)
}

fn revoke(local: &Local, names: &[String]) -> Result<Exit, Failures> {
    let tokens = open(local)?;
    let failures = names.iter().filter_map(|name| match tokens.revoke(name) {
        Ok(()) => {
            local.output.note(format!("token `{name}` is revoked"));
            None
        },
        Err(error) => Some(failure(&error)),
    });
    let revoked = match Failures::collect(failures) {
        Some(failures) => Err(failures),
        None => Ok(Exit::Done),
    };
    audit::note(local, "tokens revoke", Subjects::Tokens(names.to_vec()), &revoked);
    revoked
}

fn open(local: &Local) -> Result<Tokens, Failure> {
    Tokens::open(local.data_dir()).map_err(|error| failure(&error))
}

/// A failure with its hint.
pub(super) fn failure(error: &TokenError) -> Failure {
    match error {
        TokenError::Name { .. } => Failure::from_error(Exit::Usage, error)
            .hint("a name is 1 to 64 letters, digits, `.`, `_` and `-`"),
        TokenError::Exists { .. } => Failure::from_error(Exit::Conflict, error)
            .hint("take another name, or end that one with `imageforge tokens revoke`"),
        TokenError::NotFound { .. } => Failure::from_error(Exit::NotFound, error)
            .hint("`imageforge tokens list` shows the names"),
        error => Failure::from_error(Exit::Internal, error),
    }
}

fn date(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%MZ").to_string()
}
