//! The plugin's end of a session: owns one delegate and its builder.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use abi_stable::erased_types::TD_Opaque;
use abi_stable::std_types::{RBox, ROption, RResult, RString};
use serde::Serialize;

use super::guard;
use super::plugin_end::encode;
use super::session::{Outcome, Session, Session_TO};
use crate::builder::Builder;
use crate::cloud_delegate::{CloudDelegate, no_snapshots};
use crate::error::DelegateError;
use crate::export::{Delegate, DelegateKind};
use crate::forwarder;
use crate::host::{BuildContext, BuilderHost, LogLevel, LogRecord};
use crate::image::Decision;
use crate::os_delegate::OsDelegate;

/// A session, as it is handed to the host.
pub(super) type SessionHandle = Session_TO<'static, RBox<()>>;

struct Body {
    id: u64,
    delegate: ManuallyDrop<Delegate>,
    builder: ManuallyDrop<Builder>,
    host: Arc<dyn BuilderHost>,
}

/// Makes the delegate and its builder. Runs inside the guard.
pub(super) fn open(
    make: impl FnOnce() -> Delegate,
    context: BuildContext,
    host: Arc<dyn BuilderHost>,
) -> Result<SessionHandle, DelegateError> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    forwarder::session_opened(id, &host);
    let delegate = guard::call(id, || Ok(make())).inspect_err(|_| forwarder::session_closed(id))?;
    let builder = Builder::new(context, Arc::clone(&host));
    let body = Body {
        id,
        delegate: ManuallyDrop::new(delegate),
        builder: ManuallyDrop::new(builder),
        host,
    };
    Ok(Session_TO::from_value(body, TD_Opaque))
}

impl Body {
    #[inline]
    fn both<T>(
        &self,
        os: impl FnOnce(&dyn OsDelegate, &Builder) -> Result<T, DelegateError>,
        cloud: impl FnOnce(&dyn CloudDelegate, &Builder) -> Result<T, DelegateError>,
    ) -> Result<T, DelegateError> {
        guard::call(self.id, || match &*self.delegate {
            Delegate::Os(delegate) => os(&**delegate, &self.builder),
            Delegate::Cloud(delegate) => cloud(&**delegate, &self.builder),
        })
    }

    fn os<T>(
        &self,
        method: &str,
        body: impl FnOnce(&dyn OsDelegate, &Builder) -> Result<T, DelegateError>,
    ) -> Result<T, DelegateError> {
        self.both(body, |_, _| Err(foreign(DelegateKind::Cloud, method)))
    }

    fn cloud<T>(
        &self,
        method: &str,
        body: impl FnOnce(&dyn CloudDelegate, &Builder) -> Result<T, DelegateError>,
    ) -> Result<T, DelegateError> {
        self.both(|_, _| Err(foreign(DelegateKind::Os, method)), body)
    }
}

/// A call that delegates of this kind do not have.
#[cold]
fn foreign(kind: DelegateKind, method: &str) -> DelegateError {
    DelegateError::unsupported(format!("delegates of type `{kind}` have no `{method}`"))
}

#[inline]
fn outcome<T>(result: Result<T, DelegateError>) -> Outcome<T> {
    match result {
        Ok(value) => RResult::ROk(value),
        Err(error) => RResult::RErr(encode(&error)),
    }
}

fn json_outcome<T: Serialize>(result: Result<T, DelegateError>) -> Outcome<RString> {
    outcome(result.and_then(|value| to_json(&value)))
}

fn to_json<T: Serialize>(value: &T) -> Result<RString, DelegateError> {
    serde_json::to_string(value).map(RString::from).map_err(|error| {
        DelegateError::bug_in_plugin("an answer cannot be written as JSON").caused_by(error)
    })
}

impl Session for Body {
    fn check(&self) -> RString {
        let checked = self.both(|os, b| Ok(os.check(b)), |cloud, b| Ok(cloud.check(b)));
        let problems = checked.unwrap_or_else(|bug| vec![bug]);
        if problems.is_empty() {
            return RString::new();
        }
        to_json(&problems).unwrap_or_else(|error| encode(&error))
    }

    fn cache_key(&self) -> Outcome<RString> {
        outcome(self.os("cache_key", |os, b| os.cache_key(b)).map(RString::from))
    }

    fn check_provider(&self) -> Outcome<()> {
        outcome(self.cloud("check_provider", |cloud, b| {
            if b.is_snapshot() && !cloud.makes_snapshots() {
                return Err(no_snapshots(b));
            }
            cloud.check_provider(b)
        }))
    }

    #[inline]
    fn should(&self) -> Outcome<ROption<RString>> {
        let reason = guard::call(self.id, || {
            let decision = match &*self.delegate {
                Delegate::Os(delegate) => delegate.builder_should_create_image(&self.builder),
                Delegate::Cloud(delegate) => delegate.builder_should_create_image(&self.builder),
            };
            match decision {
                Ok(Decision::Proceed) => Ok(None),
                Ok(Decision::Skip(reason)) => Ok(Some(reason.into_boxed_str())),
                Err(error) => Err(error),
            }
        });
        match reason {
            Ok(None) => RResult::ROk(ROption::RNone),
            Ok(Some(reason)) => RResult::ROk(ROption::RSome(reason.as_ref().into())),
            Err(error) => RResult::RErr(encode(&error)),
        }
    }

    #[inline]
    fn will(&self) -> Outcome<()> {
        outcome(self.both(
            |os, b| os.builder_will_create_image(b),
            |cloud, b| cloud.builder_will_create_image(b),
        ))
    }

    fn create_base_image(&self) -> Outcome<()> {
        outcome(self.os("create_base_image", |os, b| os.create_base_image(b)))
    }

    fn create_target_image(&self) -> Outcome<()> {
        outcome(self.os("create_target_image", |os, b| os.create_target_image(b)))
    }

    fn finish_target_image(&self) -> Outcome<()> {
        outcome(self.cloud("finish_target_image", |cloud, b| cloud.finish_target_image(b)))
    }

    fn push(&self) -> Outcome<RString> {
        json_outcome(
            self.cloud("push_image_to_provider", |cloud, b| cloud.push_image_to_provider(b)),
        )
    }

    fn snapshot(&self) -> Outcome<RString> {
        json_outcome(
            self.cloud("snapshot_image_on_provider", |cloud, b| {
                cloud.snapshot_image_on_provider(b)
            }),
        )
    }

    fn delete_from_provider(&self) -> Outcome<()> {
        outcome(self.cloud("delete_from_provider", |cloud, b| cloud.delete_from_provider(b)))
    }

    #[inline]
    fn did(&self) -> Outcome<()> {
        outcome(self.both(
            |os, b| os.builder_did_create_image(b),
            |cloud, b| cloud.builder_did_create_image(b),
        ))
    }

    fn abort(&self) -> Outcome<()> {
        outcome(self.both(
            |os, b| {
                os.abort(b);
                Ok(())
            },
            |cloud, b| {
                cloud.abort(b);
                Ok(())
            },
        ))
    }

    fn target_content(&self) -> Outcome<RString> {
        json_outcome(self.cloud("target_content", |cloud, b| cloud.target_content(b)))
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let delegate = guard::catch(self.id, || {
            // SAFETY: nothing uses the delegate after `drop`.
            unsafe { ManuallyDrop::drop(&mut self.delegate) }
        });
        let builder = guard::catch(self.id, || {
            // SAFETY: nothing uses the builder after `drop`.
            unsafe { ManuallyDrop::drop(&mut self.builder) }
        });
        forwarder::session_closed(self.id);
        for panic in [delegate, builder].into_iter().filter_map(Result::err) {
            let message = format!("the plugin panicked while it was dropped, {panic}");
            self.host.log(LogRecord::new(LogLevel::Error, "plugin_api", message));
        }
    }
}
