//! Settings for tests of this crate.

use plugin_api::host::{BuildContext, BuilderHost, HostCall, LogLevel, LogRecord};
use plugin_api::{Builder, DelegateError, Template, Tier};
use serde_json::Value;

use super::Settings;

/// A host that can do nothing.
struct NoHost;

impl BuilderHost for NoHost {
    fn progress(&self, _: u8) {}
    fn activity(&self, _: &str) {}
    fn cancelled(&self) -> bool {
        false
    }
    fn log_enabled(&self, _: LogLevel) -> bool {
        false
    }
    fn log(&self, _: LogRecord) {}
    fn call(&self, _: HostCall) -> Result<Value, DelegateError> {
        Err(DelegateError::unsupported("there is no host"))
    }
}

/// A template of Debian 12.
pub(crate) fn template() -> Template {
    let mut template = Template::default();
    template.name = "My Web_Server".into();
    template.os.name = "Debian".into();
    template.os.version = "12".into();
    template.os.arch = "x86_64".into();
    template
}

/// What `template` and the object `parameters` give.
pub(crate) fn read(template: Template, parameters: &Value) -> Result<Settings, Vec<DelegateError>> {
    let mut context = BuildContext::new("id", Tier::Base, template, "/w", "/i");
    context.parameters = parameters.as_object().cloned().unwrap_or_default();
    let builder = Builder::new(context, std::sync::Arc::new(NoHost));
    Settings::read(builder.template(), builder.parameters())
}

/// Settings of a good request.
pub(crate) fn settings(parameters: &Value) -> Settings {
    read(template(), parameters).unwrap()
}
