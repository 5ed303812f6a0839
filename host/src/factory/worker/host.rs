//! The builder's other side: what delegates ask, answered in the worker.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::host::{BuilderHost, HostCall, LogLevel, LogRecord};
use plugin_api::{
    Artifact, Content, DelegateError, DelegateErrorKind, ProviderIdentity, ResultExt, Tier,
};
use plugin_kit::sparse::{self, Zeros};
use serde::Serialize;
use serde_json::Value;

use super::channel::Channel;
use super::command::Runner;
use super::control::Control;
use crate::factory::bounds::{DOCUMENT, ENTRIES, PHRASE, check_identity, cut, is_in, length};
use crate::factory::protocol::{Message, Request};
use crate::factory::secrets::Secrets;
use crate::named_lock::NamedLock;
use crate::template;

/// Time between two looks at a lock that somebody else holds.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// No percentage was told yet.
const UNKNOWN: u8 = u8::MAX;

/// Answers the delegates of one worker.
#[derive(Debug)]
pub(super) struct WorkerHost {
    channel: Arc<Channel>,
    control: Arc<Control>,
    secrets: Secrets,
    tier: Tier,
    work_dir: Utf8PathBuf,
    image_path: Utf8PathBuf,
    changed_disk: Utf8PathBuf,
    locks_dir: Utf8PathBuf,
    cache_dir: Utf8PathBuf,
    percent: AtomicU8,
    next_token: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    activity: String,
    content: Content,
    /// In the order in which they were recorded.
    artifacts: Vec<Artifact>,
    /// Those that tell about the disk.
    disk_artifacts: Vec<Artifact>,
    properties: HashSet<String>,
    locks: HashMap<u64, NamedLock>,
}

impl WorkerHost {
    pub(super) fn new(request: &Request, channel: Arc<Channel>, control: Arc<Control>) -> Self {
        Self {
            channel,
            control,
            secrets: Secrets::new(request.secrets.iter().cloned()),
            tier: request.context.tier,
            work_dir: request.context.work_dir.clone(),
            image_path: request.context.image_path.clone(),
            changed_disk: request.context.changed_disk_path(),
            locks_dir: request.locks_dir.clone(),
            cache_dir: request.cache_dir.clone(),
            percent: AtomicU8::new(UNKNOWN),
            next_token: AtomicU64::new(1),
            state: Mutex::new(State {
                disk_artifacts: request.disk_artifacts.clone(),
                ..State::default()
            }),
        }
    }

    /// How many artifacts were recorded so far.
    pub(super) fn artifacts(&self) -> usize {
        self.state().artifacts.len()
    }

    /// The disk of a target image is ready for its cloud: answers whether it is that of the base image. About
    /// one that was changed tell the artifacts that were recorded after the first `before`, and no others.
    pub(super) fn disk_is_ready(&self, before: usize) -> bool {
        let is_changed = fs_err::symlink_metadata(&self.changed_disk).is_ok();
        let mut state = self.state();
        if is_changed {
            state.disk_artifacts = state.artifacts.iter().skip(before).cloned().collect();
        }
        !is_changed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A folder or lock that a delegate names must stay where such things are.
    fn named(name: &str, what: &str) -> Result<(), DelegateError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain)
        {
            return Err(DelegateError::bug_in_plugin(format!(
                "`{name}` cannot name {what}: use letters, digits, `-`, `_` and `.`"
            )));
        }
        Ok(())
    }

    fn lock(&self, name: &str) -> Result<u64, DelegateError> {
        Self::named(name, "a lock")?;
        let path = self.locks_dir.join(format!("{name}.lock"));
        let lock = NamedLock::take(&path, LOCK_POLL, || self.control.cancelled())?;
        let lock = lock.ok_or_else(|| {
            DelegateError::cancelled(format!(
                "the build was cancelled while waiting for lock `{name}`"
            ))
        })?;
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        self.state().locks.insert(token, lock);
        Ok(token)
    }

    fn cache_dir(&self, name: &str) -> Result<Utf8PathBuf, DelegateError> {
        Self::named(name, "a cache")?;
        let path = self.cache_dir.join(name);
        fs_err::create_dir_all(&path)?;
        Ok(path)
    }

    fn add_artifact(&self, name: String, path: &Utf8Path, media_type: String) -> Answer {
        Self::named(&name, "an artifact")?;
        let is_file = fs_err::symlink_metadata(path).is_ok_and(|found| found.is_file());
        if !is_file {
            return Err(DelegateError::not_found(format!(
                "artifact `{name}`: `{path}` is no regular file"
            )));
        }
        // The host moves it with its own rights, which reach further than those of a worker.
        let own = self.image_path.parent().unwrap_or(&self.work_dir);
        if !is_in(path, own) || path == self.image_path {
            return Err(DelegateError::bug_in_plugin(format!(
                "artifact `{name}`: `{path}` is not a file of this build besides its image"
            ))
            .hint("copy it into the work folder first"));
        }
        let mut state = self.state();
        if state.artifacts.len() >= ENTRIES {
            return Err(DelegateError::bug_in_plugin("the image has 1000 artifacts already"));
        }
        if state.artifacts.iter().any(|known| known.name == name) {
            return Err(DelegateError::invalid_input(format!(
                "there is an artifact `{name}` already"
            )));
        }
        let path = path.to_owned();
        state.artifacts.push(Artifact {
            name: name.clone(),
            path: path.clone(),
            media_type: media_type.clone(),
        });
        drop(state);
        self.channel.send(Message::Artifact { name, path, media_type });
        answer(())
    }

    fn set_property(&self, key: String, value: Value) -> Answer {
        let mut state = self.state();
        let too_many =
            state.properties.len() >= ENTRIES && !state.properties.contains(key.as_str());
        let wrong = match () {
            () if key.is_empty() || key.len() > PHRASE => "its key is empty or longer than 4 KiB",
            () if key.chars().any(char::is_control) => "its key holds control characters",
            () if length(&value) > DOCUMENT => "its value is longer than 256 KiB",
            () if too_many => "the image has 1000 properties already",
            () => {
                state.properties.insert(key.clone());
                drop(state);
                self.channel.send(Message::Property { key, value });
                return answer(());
            },
        };
        let key: String = key.chars().take(40).collect();
        Err(DelegateError::bug_in_plugin(format!("property {key:?} cannot be kept: {wrong}")))
    }

    fn left_behind(&self, identity: ProviderIdentity) -> Answer {
        if self.tier != Tier::Provider {
            return Err(DelegateError::bug_in_plugin(format!(
                "something is left at a provider in the {} tier, which has none",
                self.tier
            )));
        }
        check_identity(&identity)?;
        self.channel.send(Message::Delivered(identity));
        answer(())
    }

    fn add_content(&self, content: Content) -> Answer {
        if self.tier != Tier::Target {
            return Err(DelegateError::bug_in_plugin(format!(
                "content was added in the {} tier; only a target image takes content",
                self.tier
            )));
        }
        if let Err(problems) = template::validate_content(&content) {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return Err(DelegateError::bug_in_plugin(format!(
                "the content for target images is not valid: {}",
                problems.join("; ")
            )));
        }
        self.state().content.extend(content);
        answer(())
    }
}

type Answer = Result<Value, DelegateError>;

fn answer(value: impl Serialize) -> Answer {
    serde_json::to_value(value)
        .or_delegate_error(DelegateErrorKind::Failed, "the host's answer cannot be written as JSON")
}

impl BuilderHost for WorkerHost {
    fn progress(&self, percent: u8) {
        if self.percent.swap(percent, Ordering::Relaxed) != percent {
            self.channel.send(Message::Progress(percent));
        }
    }

    fn activity(&self, text: &str) {
        let mut text = self.secrets.mask(text);
        cut(&mut text, PHRASE);
        let mut state = self.state();
        if state.activity != text {
            state.activity.clone_from(&text);
            drop(state);
            self.channel.send(Message::Activity(text));
        }
    }

    fn cancelled(&self) -> bool {
        self.control.cancelled()
    }

    fn log_enabled(&self, level: LogLevel) -> bool {
        level <= LogLevel::Debug
    }

    fn log(&self, mut record: LogRecord) {
        record.message = self.secrets.mask(&record.message);
        for value in record.fields.values_mut() {
            if let Value::String(text) = value {
                *text = self.secrets.mask(text);
            }
        }
        self.channel.send(Message::Log(record));
    }

    fn call(&self, call: HostCall) -> Answer {
        match call {
            HostCall::Run { command } => {
                let runner = Runner {
                    channel: &self.channel,
                    control: &self.control,
                    secrets: &self.secrets,
                    work_dir: &self.work_dir,
                };
                answer(runner.run(&command)?)
            },
            HostCall::Lock { name } => answer(self.lock(&name)?),
            HostCall::Unlock { token } => {
                self.state().locks.remove(&token);
                answer(())
            },
            HostCall::CacheDir { name } => answer(self.cache_dir(&name)?),
            HostCall::AddArtifact { name, path, media_type } => {
                self.add_artifact(name, &path, media_type)
            },
            HostCall::DiskArtifacts => answer(&self.state().disk_artifacts),
            HostCall::SetProperty { key, value } => self.set_property(key, value),
            HostCall::LeftBehind { identity } => self.left_behind(identity),
            HostCall::AddContent { content } => self.add_content(content),
            HostCall::Content => answer(&self.state().content),
            HostCall::CopyFile { from, to } => {
                let cancelled = || self.cancelled();
                let control = sparse::Control::new(&|_, _| {}, &cancelled);
                sparse::clone_file(&from, &to, Zeros::Keep, &control).or_delegate_error(
                    DelegateErrorKind::Failed,
                    format!("cannot copy `{from}` to `{to}`"),
                )?;
                answer(())
            },
            _ => Err(DelegateError::unsupported("this host does not know what it was asked for")
                .hint("upgrade imageforge, or use an older version of the plugin")),
        }
    }
}
