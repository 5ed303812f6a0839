//! Teaching plugin: a cloud that is a directory.
//!
//! Read it from top to bottom to learn what a cloud plugin does. It takes part in two tiers: it
//! turns the disk of a base image into what its cloud boots, and it delivers that to a provider, an
//! account somewhere. Here the provider is a directory, so that everything can be looked at.

mod provider;

use std::thread;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use plugin_api::template::{Command, File, Package, Source};
use plugin_api::{
    Builder, CloudDelegate, Content, Decision, DelegateError, ProviderIdentity, Tier,
};
use provider::{Credentials, Provider};
use serde_json::Map;

// The one line that makes a crate a plugin. The delegate is named after the crate; the expression
// is evaluated for each image, so a delegate never sees two builds.
plugin_api::export_plugin!(cloud => MockCloud);

/// Time between two looks at whether the build was cancelled.
const STEP: Duration = Duration::from_millis(20);

/// The delegate. It needs no state: everything that it may know comes from the builder.
#[derive(Debug)]
struct MockCloud;

impl CloudDelegate for MockCloud {
    /// Called before the build is accepted: the place to refuse what cannot work, with every
    /// reason at once. Whether the provider answers is asked by `check_provider`.
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        if builder.tier() != Tier::Provider {
            return Vec::new();
        }
        Provider::parse(builder.provider()).err().into_iter().collect()
    }

    /// A wrong password must cost seconds and not an hour: it is tried before anything is built.
    fn check_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        sign_in(builder).map(|_| ())
    }

    /// Where a cloud asks for what its images need, such as an agent and its configuration: each
    /// operating system names its packages in its own way. The answer is shown in the plan, and the
    /// OS plugin adds it. What has no agent is refused here, before anything is built.
    fn target_content(&self, builder: &Builder) -> Result<Content, DelegateError> {
        let mut content = Content::default();
        if !builder.parameters().bool("agent")?.unwrap_or(false) {
            return Ok(content);
        }
        let os = &builder.template().os;
        let package = match os.name.as_str() {
            "MockOS_A" => {
                return Err(DelegateError::unsupported("there is no agent for `MockOS_A`")
                    .hint("leave out the parameter `agent`"));
            },
            "MockOS_B" => "mock-agent-b",
            _ => "mock-agent",
        };
        content.packages.push(Package::new(package));
        let configuration = format!("system={} {}\n", os.name, os.version);
        content.files.push(File::new("/etc/mock-agent", Source::Raw(configuration)));
        content.commands.push(Command::new("enable", Source::Raw("mock-agent --enable".into())));
        Ok(content)
    }

    /// The first hook of both tiers; `builder.tier()` says which is meant.
    fn builder_should_create_image(&self, builder: &Builder) -> Result<Decision, DelegateError> {
        let parameter = match builder.tier() {
            Tier::Provider => "skip_provider",
            _ => "skip_target",
        };
        Ok(match builder.parameters().string(parameter)? {
            Some(reason) => Decision::Skip(reason),
            None => Decision::Proceed,
        })
    }

    /// Where a cloud asks for what it only knows now. No plan shows that, so what can be known
    /// before belongs into `target_content`.
    fn builder_will_create_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        if builder.tier() != Tier::Target {
            return Ok(());
        }
        let Some(text) = builder.parameters().string("add_file")? else {
            return Ok(());
        };
        let mut content = Content::default();
        content.files.push(File::new("/etc/mock-cloud", Source::Raw(text)));
        builder.add_content(content)
    }

    /// Where a disk becomes a QCOW2, a VMDK, …: here it stays what it is. `disk()` is the one that
    /// the OS plugin changed, or the base image. (The default of this method does the same.)
    fn finish_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        builder.activity("copying the disk");
        builder.copy_file(builder.disk()?, builder.image_path())?;
        tell(builder)?;
        builder.set_property("mock-cloud", builder.target())
    }

    /// Uploads: copies the body into the directory, under a name that is only seen when complete.
    fn push_image_to_provider(&self, builder: &Builder) -> Result<ProviderIdentity, DelegateError> {
        let image = builder.target_image().ok_or_else(|| {
            DelegateError::bug_in_plugin("asked to push before there is a target image")
        })?;
        let (provider, credentials) = sign_in(builder)?;
        builder.activity(format!("pushing to `{}`", provider.directory));
        wait(builder, provider.delay_ms)?;
        provider.take_in(image.size_bytes)?;
        let name = format!("{}.body", builder.id());
        let partial = partial_upload(builder, &provider);
        // What fails half-way must leave nothing behind.
        let uploaded = builder
            .copy_file(&image.path, &partial)
            .and_then(|()| builder.check_cancelled())
            .and_then(|()| Ok(fs_err::rename(&partial, provider.directory.join(&name))?));
        if let Err(error) = uploaded {
            remove(&partial)?;
            return Err(error);
        }
        tell(builder)?;
        builder.progress(100);
        Ok(identity(name, &credentials))
    }

    /// Without this, nobody asks for one.
    fn makes_snapshots(&self) -> bool {
        true
    }

    /// Makes an image out of one that the provider has. A directory cannot start anything, so the
    /// snapshot is a note about the template.
    fn snapshot_image_on_provider(
        &self,
        builder: &Builder,
    ) -> Result<ProviderIdentity, DelegateError> {
        let (provider, credentials) = sign_in(builder)?;
        let name = format!("{}.snapshot", builder.id());
        let text = format!("snapshot of {}\n", builder.template().name);
        fs_err::write(provider.directory.join(&name), text)?;
        Ok(identity(name, &credentials))
    }

    /// An image that is gone already counts as deleted: what was wanted is so.
    fn delete_from_provider(&self, builder: &Builder) -> Result<(), DelegateError> {
        let (provider, _) = sign_in(builder)?;
        let name = builder.identifier_on_provider();
        // The name comes from a record, and a record can be edited: it must stay in the directory.
        if name.is_empty() || name.contains('/') {
            return Err(DelegateError::invalid_input(format!(
                "`{name}` is no image of this provider"
            )));
        }
        remove(&provider.directory.join(name))
    }

    /// Runs on another thread while a push is under way, and has five seconds: takes back what is
    /// outside the build's own folder.
    fn abort(&self, builder: &Builder) {
        let Ok(provider) = Provider::parse(builder.provider()) else {
            return;
        };
        if let Err(error) = remove(&partial_upload(builder, &provider)) {
            tracing::warn!(%error, "a half-made upload stays behind");
        }
    }
}

/// Reaches the provider and shows it the credentials.
fn sign_in(builder: &Builder) -> Result<(Provider, Credentials), DelegateError> {
    let provider = Provider::parse(builder.provider())?;
    let credentials = match builder.credentials().trim() {
        "" => Credentials::configured(builder.configuration())?,
        given => Credentials::parse(given)?,
    };
    provider.accept(&credentials)?;
    Ok((provider, credentials))
}

/// A cloud that keeps documents with its images gives them what tells about the disk, such as its bill of
/// material. This one only says what there is: names with lengths in bytes.
fn tell(builder: &Builder) -> Result<(), DelegateError> {
    let mut told = Map::new();
    for artifact in builder.disk_artifacts()? {
        told.insert(artifact.name, fs_err::metadata(artifact.path)?.len().into());
    }
    builder.set_property("told", told)
}

/// Takes as long as the provider says, and returns early from a cancelled build.
fn wait(builder: &Builder, delay_ms: u64) -> Result<(), DelegateError> {
    let end = Instant::now() + Duration::from_millis(delay_ms);
    while Instant::now() < end {
        builder.check_cancelled()?;
        thread::sleep(STEP);
    }
    Ok(())
}

fn identity(name: String, credentials: &Credentials) -> ProviderIdentity {
    let mut identity = ProviderIdentity::new(name);
    identity.provider_account_identifier.clone_from(&credentials.username);
    identity
}

fn partial_upload(builder: &Builder, provider: &Provider) -> Utf8PathBuf {
    provider.directory.join(format!(".{}.partial", builder.id()))
}

fn remove(path: &Utf8PathBuf) -> Result<(), DelegateError> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
