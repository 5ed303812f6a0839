//! Tokens: who may call the daemon without being at its machine.
//!
//! A token is 256 random bits with a prefix that scanners for leaked secrets recognise. `DATA_DIR/tokens.db`
//! holds its SHA-256 and never the token, so whoever reads a copy of the file can call nobody. Any number of
//! processes use the file at once: what the command line creates or revokes is in force at the daemon's
//! next request.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, named_params};
use serde::Serialize;
use sha2::{Digest, Sha256};

pub use crate::scopes::{Scope, Scopes, UnknownScope};
use crate::seal::fill_random;

/// What every token begins with.
pub const PREFIX: &str = "imageforge_";
/// Random bytes of a token.
const TOKEN_BYTES: usize = 32;
/// Longest name, in bytes.
const MAX_NAME_BYTES: usize = 64;
/// How exactly the last use is known. Writing down every one would cost each request a write.
const USE_PRECISION: SignedDuration = SignedDuration::from_mins(10);
/// How long another process's change is waited for.
const BUSY: Duration = Duration::from_secs(20);

const TABLE: &str = "
CREATE TABLE IF NOT EXISTS tokens (
  digest BLOB PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  scopes TEXT NOT NULL,
  created TEXT NOT NULL,
  expires TEXT,
  used TEXT
) WITHOUT ROWID;
";
const COLUMNS: &str = "name, scopes, created, expires, used";

/// What is known of a token; not the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Token {
    /// Its name, which is that of its user.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends; `None` is never.
    pub expires: Option<Timestamp>,
    /// When it was last used, within ten minutes; `None` is never.
    pub last_used: Option<Timestamp>,
}

impl Token {
    /// Whether it has ended at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// Why tokens cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The file cannot be made.
    #[error("cannot use token file `{path}`")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The file is no database, or does not read or write.
    #[error("token file `{path}` cannot be read or written")]
    Database {
        /// The file.
        path: Utf8PathBuf,
        /// Cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The machine gives no random bytes.
    #[error("the machine gives no random bytes")]
    Random(#[source] io::Error),
    /// A name that cannot be used.
    #[error("`{name}` cannot be the name of a token")]
    Name {
        /// The name.
        name: String,
    },
    /// A name that is taken.
    #[error("there is a token `{name}` already")]
    Exists {
        /// The name.
        name: String,
    },
    /// No such token.
    #[error("there is no token `{name}`")]
    NotFound {
        /// The name.
        name: String,
    },
}

/// The tokens of one data directory.
#[derive(Debug)]
pub struct Tokens {
    path: Utf8PathBuf,
    connection: Mutex<Connection>,
}

impl Tokens {
    /// Opens the tokens in `data_dir`; directory and file are made when they are missing.
    ///
    /// # Errors
    /// [`TokenError::File`], [`TokenError::Database`].
    pub fn open(data_dir: &Utf8Path) -> Result<Self, TokenError> {
        let path = data_dir.join("tokens.db");
        let failed = |source| TokenError::File { path: path.clone(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(failed)?;
        // SQLite would make it readable for everybody.
        let mut options = fs_err::OpenOptions::new();
        options.append(true).create(true);
        options.options_mut().mode(0o600);
        drop(options.open(&path).map_err(failed)?);
        let open = || {
            let connection = Connection::open(&path)?;
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute_batch(TABLE)?;
            Ok(connection)
        };
        let connection =
            open().map_err(|source| TokenError::Database { path: path.clone(), source })?;
        Ok(Self { path, connection: Mutex::new(connection) })
    }

    /// Makes a token and answers it. Nobody can ever learn it again.
    ///
    /// # Errors
    /// [`TokenError::Name`], [`TokenError::Exists`], failures of the file or the machine.
    pub fn create(
        &self,
        name: &str,
        scopes: &Scopes,
        expires: Option<Timestamp>,
    ) -> Result<String, TokenError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(plain) {
            return Err(TokenError::Name { name: name.to_owned() });
        }
        let mut bytes = [0; TOKEN_BYTES];
        fill_random(&mut bytes).map_err(TokenError::Random)?;
        let token = format!("{PREFIX}{}", hex::encode(bytes));
        let inserted = self.connection().execute(
            "INSERT INTO tokens (digest, name, scopes, created, expires)
             VALUES (:digest, :name, :scopes, :created, :expires)",
            named_params! {
                ":digest": digest(&token),
                ":name": name,
                ":scopes": scopes.to_string(),
                ":created": Timestamp::now().to_string(),
                ":expires": expires.map(|expires| expires.to_string()),
            },
        );
        match inserted {
            Ok(_) => Ok(token),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                Err(TokenError::Exists { name: name.to_owned() })
            },
            Err(error) => Err(self.failed(error)),
        }
    }

    /// All tokens, by name, those that have ended among them.
    ///
    /// # Errors
    /// [`TokenError::Database`].
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let list = || {
            let connection = self.connection();
            let mut statement = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM tokens ORDER BY name"))?;
            let tokens = statement.query_map([], token)?;
            tokens.collect::<rusqlite::Result<_>>()
        };
        list().map_err(|error| self.failed(error))
    }

    /// Ends a token. Requests that it sends from now on are refused.
    ///
    /// # Errors
    /// [`TokenError::NotFound`], [`TokenError::Database`].
    pub fn revoke(&self, name: &str) -> Result<(), TokenError> {
        let revoked = self
            .connection()
            .execute("DELETE FROM tokens WHERE name = :name", named_params! { ":name": name })
            .map_err(|error| self.failed(error))?;
        if revoked == 0 { Err(TokenError::NotFound { name: name.to_owned() }) } else { Ok(()) }
    }

    /// What `presented` is, unless it is unknown, revoked or has ended; its use is noted.
    ///
    /// It is looked up by its digest: how long that takes tells nothing about any token.
    ///
    /// # Errors
    /// [`TokenError::Database`].
    pub fn verify(&self, presented: &str) -> Result<Option<Token>, TokenError> {
        let (digest, now) = (digest(presented), Timestamp::now());
        let verify = || {
            let connection = self.connection();
            let mut statement = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM tokens WHERE digest = :digest"))?;
            let found =
                statement.query_row(named_params! { ":digest": digest }, token).optional()?;
            let Some(found) = found.filter(|token| !token.is_expired(now)) else {
                return Ok(None);
            };
            let is_old = |used| now.duration_since(used).abs() >= USE_PRECISION;
            if found.last_used.is_none_or(is_old)
                && let Err(error) = connection.execute(
                    "UPDATE tokens SET used = :now WHERE digest = :digest",
                    named_params! { ":now": now.to_string(), ":digest": digest },
                )
            {
                // A full disk is no reason to refuse somebody.
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the use of a token is not noted");
            }
            Ok(Some(found))
        };
        verify().map_err(|error| self.failed(error))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere leaves no transaction open.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: rusqlite::Error) -> TokenError {
        TokenError::Database { path: self.path.clone(), source }
    }
}

fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    let scopes: String = row.get(1)?;
    Ok(Token {
        name: row.get(0)?,
        // A scope of a newer version allows nothing here.
        scopes: scopes.split(' ').filter_map(|scope| scope.parse::<Scope>().ok()).collect(),
        created: timestamp(row, 2)?.unwrap_or_default(),
        expires: timestamp(row, 3)?,
        last_used: timestamp(row, 4)?,
    })
}

fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    let Some(text) = row.get::<_, Option<String>>(column)? else {
        return Ok(None);
    };
    let kind = rusqlite::types::Type::Text;
    let parsed = text.parse::<Timestamp>();
    parsed
        .map(Some)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, kind, Box::new(error)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let folder = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(Utf8Path::from_path(folder.path()).unwrap()).unwrap();
        (folder, tokens)
    }

    fn readers() -> Scopes {
        [Scope::ImagesRead].into_iter().collect()
    }

    #[test]
    fn a_token_is_known_until_it_is_revoked_also_by_another_process() {
        let (folder, tokens) = tokens();
        let other = Tokens::open(Utf8Path::from_path(folder.path()).unwrap()).unwrap();
        let secret = tokens.create("ci", &readers(), None).unwrap();
        assert!(secret.starts_with(PREFIX) && secret.len() == PREFIX.len() + 64, "{secret}");
        let token = other.verify(&secret).unwrap().unwrap();
        assert_eq!((token.name.as_str(), &token.scopes), ("ci", &readers()));
        assert_eq!(tokens.verify(&secret[..secret.len() - 1]).unwrap(), None);
        tokens.revoke("ci").unwrap();
        assert_eq!(other.verify(&secret).unwrap(), None);
        assert!(matches!(tokens.revoke("ci"), Err(TokenError::NotFound { .. })));
    }

    #[test]
    fn a_token_ends_when_it_expires() {
        let (_folder, tokens) = tokens();
        let now = Timestamp::now();
        let past = tokens.create("past", &readers(), Some(now - SignedDuration::from_secs(1)));
        assert_eq!(tokens.verify(&past.unwrap()).unwrap(), None);
        let future = tokens.create("future", &readers(), Some(now + SignedDuration::from_mins(1)));
        assert!(tokens.verify(&future.unwrap()).unwrap().is_some());
    }

    #[test]
    fn the_file_holds_no_token_and_nobody_else_may_read_it() {
        let (folder, tokens) = tokens();
        let secret = tokens.create("ci", &readers(), None).unwrap();
        let path = folder.path().join("tokens.db");
        let bytes = fs_err::read(&path).unwrap();
        let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        assert!(holds("images:read"));
        assert!(!holds(&secret) && !holds(&secret[PREFIX.len()..]));
        assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_last_use_is_known() {
        let (_folder, tokens) = tokens();
        let secret = tokens.create("ci", &readers(), None).unwrap();
        assert_eq!(tokens.list().unwrap()[0].last_used, None);
        tokens.verify(&secret).unwrap().unwrap();
        assert!(tokens.list().unwrap()[0].last_used.is_some());
    }

    #[test]
    fn names_are_plain_and_taken_once() {
        let (_folder, tokens) = tokens();
        for wrong in ["", "local:root", "a b", "é", &"x".repeat(65)] {
            let created = tokens.create(wrong, &readers(), None);
            assert!(matches!(created, Err(TokenError::Name { .. })), "{wrong}");
        }
        tokens.create("ci", &readers(), None).unwrap();
        let again = tokens.create("ci", &readers(), None);
        assert!(matches!(again, Err(TokenError::Exists { .. })));
    }
}
