//! An OS delegate that is harmless except at one moment.
//!
//! The plugins beside this one are `Misbehaving::new(act)`. The build parameter `when` names the
//! delegate method, or `drop`, in which `act` runs with what the parameter `how` says; everything
//! else works, so that a test sees the one fault and nothing besides.

#![expect(
    clippy::disallowed_methods,
    clippy::exit,
    clippy::panic,
    reason = "breaks every rule on purpose"
)]

pub mod faults;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use plugin_api::{Builder, Decision, DelegateError, OsDelegate};

/// What a plugin does at its moment. There is no builder left in `drop`.
pub type Act = fn(how: &str, builder: Option<&Builder>) -> Result<(), DelegateError>;

/// The delegate.
#[derive(Debug)]
pub struct Misbehaving {
    act: Act,
    /// What to do in `drop`.
    last: Mutex<Option<String>>,
}

impl Misbehaving {
    /// A delegate that does `act`, once.
    pub fn new(act: Act) -> Self {
        Self { act, last: Mutex::new(None) }
    }

    fn at(&self, moment: &str, builder: &Builder) -> Result<(), DelegateError> {
        let parameters = builder.parameters();
        if parameters.string("when")?.as_deref() != Some(moment) {
            return Ok(());
        }
        tracing::info!("this is {moment}");
        (self.act)(&parameters.string("how")?.unwrap_or_default(), Some(builder))
    }
}

impl OsDelegate for Misbehaving {
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        self.at("check", builder).err().into_iter().collect()
    }

    fn cache_key(&self, builder: &Builder) -> Result<String, DelegateError> {
        self.at("cache_key", builder).map(|()| "moments 1".to_owned())
    }

    fn builder_should_create_image(&self, builder: &Builder) -> Result<Decision, DelegateError> {
        self.at("builder_should_create_image", builder).map(|()| Decision::Proceed)
    }

    fn builder_will_create_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        self.at("builder_will_create_image", builder)
    }

    fn create_base_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        builder.activity("about to misbehave");
        fs_err::write(builder.image_path(), "an image\n")?;
        let parameters = builder.parameters();
        if parameters.string("when")?.as_deref() == Some("drop") {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = parameters.string("how")?;
        }
        self.at("create_base_image", builder)?;
        while builder.parameters().string("when")?.as_deref() == Some("abort") {
            builder.check_cancelled()?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn builder_did_create_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        self.at("builder_did_create_image", builder)
    }

    fn abort(&self, builder: &Builder) {
        // It cannot answer anything.
        drop(self.at("abort", builder));
    }
}

impl Drop for Misbehaving {
    fn drop(&mut self) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(how) = last {
            drop((self.act)(&how, None));
        }
    }
}
