//! The calls of each tier, in order.

use std::sync::Arc;

use plugin_api::abi::DelegateSession;
use plugin_api::host::{BuilderHost, HostCall, LogLevel, LogRecord};
use plugin_api::{Content, Decision, DelegateError, DelegateKind, ProviderIdentity, Tier};

use super::channel::Channel;
use super::control::Control;
use super::delegate::Delegate;
use super::host::WorkerHost;
use crate::factory::bounds::{CONTENT, DOCUMENT, check_identity, length};
use crate::factory::protocol::{Message, Objection, Outcome, PluginRef, Request, Work};

/// Why a tier ends before its end.
enum Stop {
    Skip(String),
    Fail(Box<Fault>),
}

/// What failed where.
struct Fault {
    plugin: String,
    method: String,
    error: DelegateError,
}

impl Stop {
    fn fail(plugin: &str, method: &str, error: DelegateError) -> Self {
        Self::Fail(Box::new(Fault { plugin: plugin.to_owned(), method: method.to_owned(), error }))
    }
}

type Step<T = ()> = Result<T, Stop>;

/// Does what `request` asks for.
pub(super) fn work(request: &Request, channel: &Arc<Channel>, control: &Arc<Control>) -> Outcome {
    let host = WorkerHost::new(request, Arc::clone(channel), Arc::clone(control));
    let tier = TierWork { request, channel, control, host: Arc::new(host) };
    let result = match request.work {
        Work::Check => return tier.check(),
        Work::Base => tier.base().map(|()| false),
        Work::Target => tier.target(),
        Work::Push | Work::Snapshot => tier.provider().map(|()| false),
        Work::Delete => tier.delete().map(|()| false),
    };
    match result {
        Ok(is_same_disk) => Outcome::Complete { is_same_disk },
        Err(Stop::Skip(reason)) => Outcome::Skipped(reason),
        Err(Stop::Fail(fault)) => {
            let Fault { plugin, method, error } = *fault;
            Outcome::Failed { plugin, method, error }
        },
    }
}

struct TierWork<'a> {
    request: &'a Request,
    channel: &'a Channel,
    control: &'a Control,
    host: Arc<WorkerHost>,
}

impl TierWork<'_> {
    /// Asks every delegate, and when nothing is wrong, the OS delegate for its cache key and the
    /// cloud delegate for its content. The cloud's comes first: the system is asked about that content.
    fn check(&self) -> Outcome {
        let mut problems = Vec::new();
        let mut cache_key = None;
        let mut content = self.request.content.clone();
        if let Some(cloud) = &self.request.cloud {
            self.check_one(cloud, DelegateKind::Cloud, &mut problems, |delegate| {
                match self.request.context.tier {
                    Tier::Target if content.is_none() => {
                        let asked = self.target_content(delegate);
                        content = Some(asked.map_err(|error| ("target_content", error))?);
                        Ok(())
                    },
                    Tier::Provider => {
                        self.announce(delegate, "check_provider");
                        let answer = delegate.session().check_provider();
                        answer.map_err(|error| ("check_provider", error))
                    },
                    Tier::Base | Tier::Target => Ok(()),
                }
            });
        }
        if let (Some(content), Some(cloud)) = (&content, &self.request.cloud)
            && let Err(error) = self.add(content)
        {
            let (plugin, method) = (cloud.name.clone(), "target_content".to_owned());
            problems.push(Objection { plugin, method, error });
        }
        if let Some(os) = &self.request.os {
            self.check_one(os, DelegateKind::Os, &mut problems, |delegate| {
                if self.request.context.tier == Tier::Base {
                    self.announce(delegate, "cache_key");
                    match delegate.session().cache_key() {
                        Ok(key) if key.len() > DOCUMENT => {
                            let long = "its cache key is longer than 256 KiB";
                            self.host.log(unknown_key(&DelegateError::bug_in_plugin(long)));
                        },
                        Ok(key) => cache_key = Some(key),
                        Err(error) => self.host.log(unknown_key(&error)),
                    }
                }
                Ok(())
            });
        }
        Outcome::Checked { problems, cache_key, content }
    }

    /// What the cloud delegate wants in the image.
    fn target_content(&self, delegate: &Delegate) -> Result<Content, DelegateError> {
        self.announce(delegate, "target_content");
        let content = delegate.session().target_content()?;
        if serde_json::to_value(&content).is_ok_and(|content| length(&content) > CONTENT) {
            let long = "the content for target images is longer than 1 MiB";
            return Err(DelegateError::bug_in_plugin(long)
                .hint("add what is longer in `builder_will_create_image`, or name its address"));
        }
        Ok(content)
    }

    /// From now on `builder.content()` holds it.
    fn add(&self, content: &Content) -> Result<(), DelegateError> {
        self.host.call(HostCall::AddContent { content: content.clone() }).map(drop)
    }

    fn check_one(
        &self,
        plugin: &PluginRef,
        kind: DelegateKind,
        problems: &mut Vec<Objection>,
        then: impl FnOnce(&Delegate) -> Result<(), (&'static str, DelegateError)>,
    ) {
        let mut object = |method: &str, error| {
            let (plugin, method) = (plugin.name.clone(), method.to_owned());
            problems.push(Objection { plugin, method, error });
        };
        match self.open(plugin, kind) {
            Ok(delegate) => {
                self.announce(&delegate, "check");
                let found = delegate.session().check();
                if found.is_empty()
                    && let Err((method, error)) = then(&delegate)
                {
                    object(method, error);
                }
                for error in found {
                    object("check", error);
                }
                delegate.close(self.channel);
            },
            Err(error) => object("open", error),
        }
    }

    fn base(&self) -> Step {
        let os = self.delegate(self.request.os.as_ref(), DelegateKind::Os)?;
        self.should(&os)?;
        self.step(&os, "builder_will_create_image", DelegateSession::will_create_image)?;
        self.step(&os, "create_base_image", DelegateSession::create_base_image)?;
        self.body_exists(&os, "create_base_image")?;
        self.step(&os, "builder_did_create_image", DelegateSession::did_create_image)
    }

    /// Answers whether the image is made from the disk of its base image, as it is.
    fn target(&self) -> Step<bool> {
        let cloud = self.delegate(self.request.cloud.as_ref(), DelegateKind::Cloud)?;
        self.should(&cloud)?;
        if let Some(content) = &self.request.content {
            self.add(content)
                .map_err(|error| Stop::fail(cloud.plugin(), "target_content", error))?;
        }
        self.step(&cloud, "builder_will_create_image", DelegateSession::will_create_image)?;
        let os = self.delegate(self.request.os.as_ref(), DelegateKind::Os)?;
        let before = self.host.artifacts();
        self.step(&os, "create_target_image", DelegateSession::create_target_image)?;
        let is_same_disk = self.host.disk_is_ready(before);
        self.step(&cloud, "finish_target_image", DelegateSession::finish_target_image)?;
        self.body_exists(&cloud, "finish_target_image")?;
        self.step(&cloud, "builder_did_create_image", DelegateSession::did_create_image)?;
        Ok(is_same_disk)
    }

    fn provider(&self) -> Step {
        let cloud = self.delegate(self.request.cloud.as_ref(), DelegateKind::Cloud)?;
        self.should(&cloud)?;
        self.step(&cloud, "builder_will_create_image", DelegateSession::will_create_image)?;
        let identity = if self.request.work == Work::Snapshot {
            self.call(&cloud, "snapshot_image_on_provider", |session| {
                session.snapshot_image_on_provider().and_then(checked)
            })?
        } else {
            self.call(&cloud, "push_image_to_provider", |session| {
                session.push_image_to_provider().and_then(checked)
            })?
        };
        self.channel.send(Message::Delivered(identity));
        // It is there: a cancel that came meanwhile is too late.
        self.call(&cloud, "builder_did_create_image", DelegateSession::did_create_image)
    }

    fn delete(&self) -> Step {
        let cloud = self.delegate(self.request.cloud.as_ref(), DelegateKind::Cloud)?;
        self.call(&cloud, "delete_from_provider", DelegateSession::delete_from_provider)
    }

    fn delegate(&self, plugin: Option<&PluginRef>, kind: DelegateKind) -> Step<Delegate> {
        let missing = || {
            let error = DelegateError::failed("the request names no plugin for this work");
            Stop::fail("", "", error)
        };
        let plugin = plugin.ok_or_else(missing)?;
        let delegate =
            self.open(plugin, kind).map_err(|error| Stop::fail(&plugin.name, "open", error))?;
        self.control.add_delegate(delegate.clone());
        Ok(delegate)
    }

    fn open(&self, plugin: &PluginRef, kind: DelegateKind) -> Result<Delegate, DelegateError> {
        self.channel
            .send(Message::Method { plugin: plugin.name.clone(), method: "open".to_owned() });
        let host: Arc<dyn BuilderHost> = self.host.clone();
        Delegate::open(plugin, kind, &self.request.context, host)
    }

    fn should(&self, delegate: &Delegate) -> Step {
        let method = "builder_should_create_image";
        match self.step(delegate, method, DelegateSession::should_create_image)? {
            Decision::Proceed => Ok(()),
            Decision::Skip(reason) => Err(Stop::Skip(reason)),
        }
    }

    /// Calls a method, unless the work was cancelled: a delegate that was opened since has heard no `abort`. A
    /// cancel that comes meanwhile ends the work too.
    fn step<T>(
        &self,
        delegate: &Delegate,
        method: &str,
        call: impl FnOnce(&DelegateSession) -> Result<T, DelegateError>,
    ) -> Step<T> {
        self.unless_cancelled(delegate, method)?;
        let done = self.call(delegate, method, call)?;
        self.unless_cancelled(delegate, method)?;
        Ok(done)
    }

    fn unless_cancelled(&self, delegate: &Delegate, method: &str) -> Step {
        if !self.control.cancelled() {
            return Ok(());
        }
        let error = DelegateError::cancelled("the build was cancelled");
        Err(Stop::fail(delegate.plugin(), method, error))
    }

    fn call<T>(
        &self,
        delegate: &Delegate,
        method: &str,
        call: impl FnOnce(&DelegateSession) -> Result<T, DelegateError>,
    ) -> Step<T> {
        self.announce(delegate, method);
        call(delegate.session()).map_err(|error| Stop::fail(delegate.plugin(), method, error))
    }

    /// A body must be a regular file, at the very place that was asked for.
    fn body_exists(&self, delegate: &Delegate, method: &str) -> Step {
        let path = &self.request.context.image_path;
        let found = fs_err::symlink_metadata(path);
        if found.as_ref().is_ok_and(std::fs::Metadata::is_file) {
            return Ok(());
        }
        let what = match found {
            Ok(_) => "something else than a regular file",
            Err(_) => "nothing",
        };
        let error = DelegateError::bug_in_plugin(format!(
            "`{method}` succeeded but left {what} where the image must be"
        ));
        Err(Stop::fail(delegate.plugin(), method, error))
    }

    fn announce(&self, delegate: &Delegate, method: &str) {
        self.channel.send(Message::Method {
            plugin: delegate.plugin().to_owned(),
            method: method.to_owned(),
        });
    }
}

fn checked(identity: ProviderIdentity) -> Result<ProviderIdentity, DelegateError> {
    check_identity(&identity).map(|()| identity)
}

fn unknown_key(error: &DelegateError) -> LogRecord {
    let message = format!("the base image cannot be reused: {error}");
    LogRecord::new(LogLevel::Info, "imageforge", message)
}
