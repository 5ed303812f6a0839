//! Programs that keep credentials for docker and what came after it: `docker-credential-NAME`.
//!
//! Their protocol is that of docker's own helpers: `get`, the server on standard input, an object with `Username` and
//! `Secret` on standard output; words for the user and exit code 1 where there is none.

use std::time::Duration;

use plugin_api::{Builder, Command, DelegateError, DelegateErrorKind};
use plugin_kit::transfer::Secret;
use serde::Deserialize;

use super::address;
use super::credentials::Credentials;

/// How long a helper may take; some ask a service on the network.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// What every helper says that has nothing for a server.
const NOT_FOUND: &str = "credentials not found";
/// The name of whoever has an identity token in the place of a password.
const TOKEN_USER: &str = "<token>";
/// Docker Hub, by the name that helpers know it by.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// Most characters of a helper's own words that are repeated.
const MAX_WORDS: usize = 200;
const INSTEAD: &str = "or write the credentials themselves: `username` and `password`, or a token";

/// A program that has the credentials for a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Helper {
    program: String,
    server: String,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: Secret,
}

impl Helper {
    /// The helper called `name`, for the registry `host`.
    ///
    /// # Errors
    /// `InvalidInput`: no program is called so.
    pub(super) fn new(name: &str, host: &str) -> Result<Self, DelegateError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_.-".contains(c);
        if name.is_empty() || !name.chars().all(plain) {
            return Err(DelegateError::invalid_input("a helper of the credentials has no name of one")
                .hint("use what stands behind `docker-credential-`: lower-case letters, digits, `_`, `.`, `-`"));
        }
        let is_hub = address::plain_host(host) == address::DOCKER_HUB;
        let server = if is_hub { DOCKER_HUB } else { host }.to_owned();
        Ok(Self { program: format!("docker-credential-{name}"), server })
    }

    /// Whether the builder's request may have it run.
    ///
    /// # Errors
    /// `InvalidInput`: it came from the network.
    pub(super) fn check(&self, builder: &Builder) -> Result<(), DelegateError> {
        if !builder.is_remote() {
            return Ok(());
        }
        Err(DelegateError::invalid_input(format!(
            "a request from the network may not have a program of this machine run, `{}`",
            self.program
        ))
        .hint("write the credentials themselves: `username` and `password`, or a token"))
    }

    /// Asks it.
    ///
    /// # Errors
    /// `MissingRequirement` without such a program; `Credentials` when it has none.
    pub(super) fn ask(&self, builder: &Builder) -> Result<Credentials, DelegateError> {
        self.check(builder)?;
        let Self { program, server } = self;
        builder.activity(format!("asking `{program}` for credentials"));
        let command = Command::new(program).arg("get").stdin(server).quiet().accept(1);
        let output =
            builder.run(command.time_limit(TIME_LIMIT)).map_err(|error| self.failed(&error))?;
        if output.code != 0 {
            return Err(self.refused(&output.stdout));
        }
        self.answered(&output.stdout)
    }

    fn answered(&self, text: &str) -> Result<Credentials, DelegateError> {
        match serde_json::from_str(text) {
            Ok(Answer { secret, .. }) if secret.is_empty() => Err(self.refused(NOT_FOUND)),
            Ok(Answer { username, secret }) if username == TOKEN_USER => {
                Ok(Credentials::Identity(secret))
            },
            Ok(Answer { username, secret }) => {
                Ok(Credentials::Password { username, password: secret })
            },
            // What serde quotes of the answer may be the secret.
            Err(_) => {
                let message = format!("the answer of `{}` makes no sense", self.program);
                Err(DelegateError::credentials(message).hint(self.try_it()))
            },
        }
    }

    /// It did not run to its end. The lines that it wrote until then are left out: they may be the answer.
    fn failed(&self, error: &DelegateError) -> DelegateError {
        let message = error.message();
        match error.kind() {
            DelegateErrorKind::Cancelled => DelegateError::cancelled(message),
            // It did not even start.
            DelegateErrorKind::MissingRequirement => {
                let hint = format!("install `{}` where PATH finds it, {INSTEAD}", self.program);
                let missing = DelegateError::missing_requirement(message).hint(hint);
                error.causes().iter().fold(missing, DelegateError::because)
            },
            _ => DelegateError::credentials(message).hint(self.try_it()),
        }
    }

    fn try_it(&self) -> String {
        let Self { program, server } = self;
        format!("try it: printf %s {server} | {program} get; {INSTEAD}")
    }

    /// It has no credentials.
    fn refused(&self, words: &str) -> DelegateError {
        let Self { program, server } = self;
        let refused =
            DelegateError::credentials(format!("`{program}` has no credentials for `{server}`"));
        let words: Vec<&str> = words.split(|c: char| c.is_whitespace() || c.is_control()).collect();
        let words: String = words.join(" ").trim().chars().take(MAX_WORDS).collect();
        let refused = if words.is_empty() || words.contains(NOT_FOUND) {
            refused
        } else {
            refused.because(format!("it says: {words}"))
        };
        refused.hint(format!("sign in there with `docker login {server}`, {INSTEAD}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_a_program_of_docker_s_and_asked_by_docker_s_names() {
        let helper = Helper::new("ecr-login", "registry.example:5000").unwrap();
        assert_eq!(helper.program, "docker-credential-ecr-login");
        assert_eq!(helper.server, "registry.example:5000");
        for hub in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            assert_eq!(Helper::new("x", hub).unwrap().server, DOCKER_HUB);
        }
        for bad in ["", "../sh", "a b", "a/b", "A", "a;b", "$x", "ä"] {
            Helper::new(bad, "h").unwrap_err();
        }
    }

    #[test]
    fn an_answer_is_a_password_or_a_token_and_never_repeated() {
        let helper = Helper::new("x", "h").unwrap();
        let answer = |user: &str, secret: &str| {
            helper.answered(&format!(
                r#"{{"ServerURL": "h", "Username": "{user}", "Secret": "{secret}"}}"#
            ))
        };
        let password = Secret::new("swordfish");
        let ada = Credentials::Password { username: "ada".to_owned(), password: password.clone() };
        assert_eq!(answer("ada", "swordfish"), Ok(ada));
        assert_eq!(answer("<token>", "swordfish"), Ok(Credentials::Identity(password)));
        assert!(answer("ada", "").unwrap_err().message().contains("no credentials"));
        for odd in ["swordfish", r#"{"Secret": "swordfish"}"#, r#"["swordfish"]"#, ""] {
            let error = helper.answered(odd).unwrap_err();
            assert!(!format!("{error:?}").contains("swordfish"), "{error:?}");
        }
        let failed = DelegateError::failed("it ended with 3").because("swordfish");
        assert!(!format!("{:?}", helper.failed(&failed)).contains("swordfish"));
    }

    #[test]
    fn what_a_helper_says_is_told_on_one_line() {
        let helper = Helper::new("x", "h").unwrap();
        let error = helper.refused("credentials not found in native keychain\n");
        assert_eq!(error.causes(), [""; 0]);
        let error = helper.refused("the store\nis locked\u{1b}[31m");
        assert_eq!(error.causes(), ["it says: the store is locked [31m"]);
    }
}
