//! The host of a harness: does what is asked and writes it down.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use camino::{Utf8Path, Utf8PathBuf};
use serde::Serialize;
use serde_json::{Map, Value};

use super::process;
use crate::content::Content;
use crate::error::DelegateError;
use crate::host::{BuilderHost, HostCall, LogLevel, LogRecord};
use crate::image::{Artifact, ProviderIdentity, Tier};

#[derive(Debug)]
pub(super) struct RecordingHost {
    root: Utf8PathBuf,
    tier: Tier,
    log_level: LogLevel,
    pub(super) disk_artifacts: Vec<Artifact>,
    cancelled: AtomicBool,
    recorded: Mutex<Recorded>,
}

#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) activities: Vec<String>,
    pub(super) progress: Vec<u8>,
    pub(super) logs: Vec<LogRecord>,
    pub(super) artifacts: Vec<Artifact>,
    pub(super) properties: Map<String, Value>,
    pub(super) left_behind: Vec<ProviderIdentity>,
    pub(super) content: Content,
    pub(super) commands: Vec<Vec<String>>,
    pub(super) locks: BTreeMap<u64, String>,
    last_token: u64,
}

impl RecordingHost {
    pub(super) fn new(root: &Utf8Path, tier: Tier, content: Content, log_level: LogLevel) -> Self {
        Self {
            root: root.to_owned(),
            tier,
            log_level,
            disk_artifacts: Vec::new(),
            cancelled: AtomicBool::new(false),
            recorded: Mutex::new(Recorded { content, ..Recorded::default() }),
        }
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    pub(super) fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self, name: String) -> Result<Value, DelegateError> {
        let mut recorded = self.recorded();
        // A host would wait for ever here: nobody else can give the lock back.
        if recorded.locks.values().any(|held| *held == name) {
            return Err(DelegateError::bug_in_plugin(format!(
                "lock `{name}` is taken a second time"
            )));
        }
        recorded.last_token += 1;
        let token = recorded.last_token;
        recorded.locks.insert(token, name);
        json(token)
    }

    fn add_artifact(&self, artifact: Artifact) -> Result<Value, DelegateError> {
        let Artifact { name, path, .. } = &artifact;
        if !path.is_file() {
            return Err(DelegateError::not_found(format!("there is no file `{path}`")));
        }
        if name.is_empty() || name.starts_with('.') || name.contains('/') {
            return Err(DelegateError::invalid_input(format!("`{name}` is no file name")));
        }
        let mut recorded = self.recorded();
        if recorded.artifacts.iter().any(|known| known.name == *name) {
            return Err(DelegateError::invalid_input(format!(
                "there is an artifact `{name}` already"
            )));
        }
        recorded.artifacts.push(artifact);
        Ok(Value::Null)
    }

    fn add_content(&self, content: Content) -> Result<Value, DelegateError> {
        if self.tier != Tier::Target {
            return Err(DelegateError::bug_in_plugin(format!(
                "content can be added in the target tier, not in the {} tier",
                self.tier
            )));
        }
        self.recorded().content.extend(content);
        Ok(Value::Null)
    }
}

impl BuilderHost for RecordingHost {
    fn progress(&self, percent: u8) {
        self.recorded().progress.push(percent);
    }

    fn activity(&self, text: &str) {
        self.recorded().activities.push(text.to_owned());
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    fn log_enabled(&self, level: LogLevel) -> bool {
        level <= self.log_level
    }

    fn log(&self, record: LogRecord) {
        self.recorded().logs.push(record);
    }

    fn call(&self, call: HostCall) -> Result<Value, DelegateError> {
        match call {
            HostCall::Run { command } => {
                self.recorded().commands.push(command.argv().to_vec());
                let work_dir = self.root.join("work");
                json(process::run(&command, &work_dir, &|| self.cancelled())?)
            },
            HostCall::Lock { name } => self.lock(name),
            HostCall::Unlock { token } => {
                self.recorded().locks.remove(&token);
                Ok(Value::Null)
            },
            HostCall::CacheDir { name } => {
                let folder = self.root.join("cache").join(name);
                fs_err::create_dir_all(&folder)?;
                json(folder)
            },
            HostCall::AddArtifact { name, path, media_type } => {
                self.add_artifact(Artifact { name, path, media_type })
            },
            HostCall::DiskArtifacts => json(&self.disk_artifacts),
            HostCall::SetProperty { key, value } => {
                self.recorded().properties.insert(key, value);
                Ok(Value::Null)
            },
            HostCall::LeftBehind { identity } => {
                self.recorded().left_behind.push(identity);
                Ok(Value::Null)
            },
            HostCall::AddContent { content } => self.add_content(content),
            HostCall::Content => json(&self.recorded().content),
            HostCall::CopyFile { from, to } => {
                fs_err::copy(from, to)?;
                Ok(Value::Null)
            },
        }
    }
}

fn json(value: impl Serialize) -> Result<Value, DelegateError> {
    serde_json::to_value(value)
        .map_err(|error| DelegateError::failed("the answer is no JSON").caused_by(error))
}
