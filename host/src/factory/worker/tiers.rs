//! The calls of each tier, in order.

use std::sync::Arc;

use plugin_api::abi::DelegateSession;
use plugin_api::host::{BuilderHost, LogLevel, LogRecord};
use plugin_api::{Decision, DelegateError, DelegateKind, ProviderIdentity, Tier};

use super::channel::Channel;
use super::control::Control;
use super::delegate::Delegate;
use super::host::WorkerHost;
use crate::factory::bounds::{DOCUMENT, check_identity};
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
        Work::Base => tier.base().map(|()| None),
        Work::Target => tier.target().map(|()| None),
        Work::Push | Work::Snapshot => tier.provider().map(Some),
        Work::Delete => tier.delete().map(|()| None),
    };
    match result {
        Ok(identity) => Outcome::Complete { identity },
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
    host: Arc<dyn BuilderHost>,
}

impl TierWork<'_> {
    /// Asks every delegate, and the OS delegate for its cache key when nothing is wrong.
    fn check(&self) -> Outcome {
        let mut problems = Vec::new();
        let mut cache_key = None;
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
        if let Some(cloud) = &self.request.cloud {
            self.check_one(cloud, DelegateKind::Cloud, &mut problems, |delegate| {
                if self.request.context.tier != Tier::Provider {
                    return Ok(());
                }
                self.announce(delegate, "check_provider");
                delegate.session().check_provider()
            });
        }
        Outcome::Checked { problems, cache_key }
    }

    fn check_one(
        &self,
        plugin: &PluginRef,
        kind: DelegateKind,
        problems: &mut Vec<Objection>,
        then: impl FnOnce(&Delegate) -> Result<(), DelegateError>,
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
                    && let Err(error) = then(&delegate)
                {
                    object("check_provider", error);
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

    fn target(&self) -> Step {
        let cloud = self.delegate(self.request.cloud.as_ref(), DelegateKind::Cloud)?;
        self.should(&cloud)?;
        self.step(&cloud, "builder_will_create_image", DelegateSession::will_create_image)?;
        let os = self.delegate(self.request.os.as_ref(), DelegateKind::Os)?;
        self.step(&os, "create_target_image", DelegateSession::create_target_image)?;
        self.step(&cloud, "finish_target_image", DelegateSession::finish_target_image)?;
        self.body_exists(&cloud, "finish_target_image")?;
        self.step(&cloud, "builder_did_create_image", DelegateSession::did_create_image)
    }

    fn provider(&self) -> Step<ProviderIdentity> {
        let cloud = self.delegate(self.request.cloud.as_ref(), DelegateKind::Cloud)?;
        self.should(&cloud)?;
        self.step(&cloud, "builder_will_create_image", DelegateSession::will_create_image)?;
        let identity = if self.request.work == Work::Snapshot {
            self.step(&cloud, "snapshot_image_on_provider", |session| {
                session.snapshot_image_on_provider().and_then(checked)
            })?
        } else {
            self.step(&cloud, "push_image_to_provider", |session| {
                session.push_image_to_provider().and_then(checked)
            })?
        };
        self.step(&cloud, "builder_did_create_image", DelegateSession::did_create_image)?;
        Ok(identity)
    }

    fn delete(&self) -> Step {
        let cloud = self.delegate(self.request.cloud.as_ref(), DelegateKind::Cloud)?;
        self.step(&cloud, "delete_from_provider", DelegateSession::delete_from_provider)
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
        Delegate::open(plugin, kind, &self.request.context, Arc::clone(&self.host))
    }

    fn should(&self, delegate: &Delegate) -> Step {
        let method = "builder_should_create_image";
        match self.step(delegate, method, DelegateSession::should_create_image)? {
            Decision::Proceed => Ok(()),
            Decision::Skip(reason) => Err(Stop::Skip(reason)),
        }
    }

    fn step<T>(
        &self,
        delegate: &Delegate,
        method: &str,
        call: impl FnOnce(&DelegateSession) -> Result<T, DelegateError>,
    ) -> Step<T> {
        self.announce(delegate, method);
        let result = call(delegate.session());
        let result = match result {
            Ok(_) if self.control.cancelled() => {
                Err(DelegateError::cancelled("the build was cancelled"))
            },
            other => other,
        };
        result.map_err(|error| Stop::fail(delegate.plugin(), method, error))
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
