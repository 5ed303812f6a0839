//! A cloud that is harmless except at one moment: see `moments`.
//!
//! A hook is called in two tiers, so `when` may name the tier as well: `provider
//! builder_should_create_image`. What is to happen at a deletion is told by the credentials.

use std::thread;
use std::time::Duration;

use moments::faults::commit;
use plugin_api::{Builder, CloudDelegate, Decision, DelegateError, ProviderIdentity};

plugin_api::export_plugin!(cloud => Cloud);

#[derive(Debug)]
struct Cloud;

fn at(moment: &str, builder: &Builder) -> Result<(), DelegateError> {
    let parameters = builder.parameters();
    let when = parameters.string("when")?.unwrap_or_default();
    let how = parameters.string("how")?.unwrap_or_default();
    if when != moment && when != format!("{} {moment}", builder.tier()) {
        return Ok(());
    }
    builder.activity("about to misbehave");
    tracing::info!("this is {moment}");
    if how == "wait for a cancel" {
        while !builder.cancelled() {
            thread::sleep(Duration::from_millis(5));
        }
    } else {
        commit(&how);
    }
    Ok(())
}

fn identity(builder: &Builder) -> Result<ProviderIdentity, DelegateError> {
    let how = builder.parameters().string("identifier")?;
    Ok(ProviderIdentity::new(how.unwrap_or_else(|| "kept".to_owned())))
}

impl CloudDelegate for Cloud {
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        at("check", builder).err().into_iter().collect()
    }

    fn check_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        at("check_provider", builder)
    }

    fn builder_should_create_image(&self, builder: &Builder) -> Result<Decision, DelegateError> {
        at("builder_should_create_image", builder).map(|()| Decision::Proceed)
    }

    fn builder_will_create_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        at("builder_will_create_image", builder)
    }

    fn finish_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        at("finish_target_image", builder)?;
        builder.copy_file(builder.disk()?, builder.image_path())
    }

    fn push_image_to_provider(&self, builder: &Builder) -> Result<ProviderIdentity, DelegateError> {
        at("push_image_to_provider", builder)?;
        identity(builder)
    }

    fn makes_snapshots(&self) -> bool {
        true
    }

    fn snapshot_image_on_provider(
        &self,
        builder: &Builder,
    ) -> Result<ProviderIdentity, DelegateError> {
        at("snapshot_image_on_provider", builder)?;
        identity(builder)
    }

    fn delete_from_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        commit(builder.credentials().trim_start_matches("do: "));
        Ok(())
    }

    fn builder_did_create_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        at("builder_did_create_image", builder)
    }
}
