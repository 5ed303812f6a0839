//! The `debian` plugin: Debian 11, 12, 13 and Ubuntu as disks that boot on BIOS and UEFI.
//!
//! A build has two phases, always the same ones, whatever is cached:
//! 1. [`base`]: mmdebstrap makes the base system of a suite from a snapshot of the archive, kept as a
//!    tar archive under a digest of all that it depends on.
//! 2. [`image`]: the base system is unpacked in memory, gets the packages, files and commands of the
//!    template, and is written into a sparse disk ([`disk`]).
//!
//! Both run in the worker's own mount namespace, as root or as root of a user namespace.

pub mod archive;
pub mod base;
pub mod check;
pub mod cleanup;
pub mod customise;
pub mod disk;
pub mod distribution;
pub mod failure;
pub mod grow;
pub mod image;
pub mod inside;
pub mod install;
pub mod manifest;
pub mod package_cache;
pub mod release_file;
pub mod repository;
pub mod root;
pub mod run;
pub mod settings;

use plugin_api::{Builder, DelegateError, OsDelegate, Template, Tier};

use crate::archive::Archive;
use crate::settings::Settings;

/// Builds Debian and Ubuntu.
#[derive(Debug, Default)]
pub struct Debian;

impl OsDelegate for Debian {
    fn check(&self, builder: &Builder) -> Vec<DelegateError> {
        check::check(builder)
    }

    fn cache_key(&self, builder: &Builder) -> Result<String, DelegateError> {
        let settings = read_settings(builder)?;
        let archive = Archive::open(builder, &settings)?;
        let snapshot = archive.look()?;
        let epoch = image::epoch(builder, &snapshot);
        Ok(format!("{} {epoch} {}", snapshot.digest, disk::boot_loader_version()))
    }

    fn create_base_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        image::create(builder, builder.image_path())
    }

    fn create_target_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        if builder.content()?.is_empty() {
            return Ok(());
        }
        image::create(builder, &builder.changed_disk_path())
    }
}

/// The settings, or the first thing that is wrong with them; `check` names them all.
pub(crate) fn read_settings(builder: &Builder) -> Result<Settings, DelegateError> {
    Settings::read(&whole_template(builder)?, builder.parameters()).map_err(|mut problems| {
        if problems.is_empty() {
            DelegateError::invalid_input("the template cannot be built")
        } else {
            problems.remove(0)
        }
    })
}

/// The template with what the image for a target gets besides.
pub(crate) fn whole_template(builder: &Builder) -> Result<Template, DelegateError> {
    let mut template = builder.template().clone();
    if builder.tier() == Tier::Target {
        let content = builder.content()?;
        template.packages.extend(content.packages);
        template.repositories.extend(content.repositories);
        template.files.extend(content.files);
        template.commands.extend(content.commands);
    }
    Ok(template)
}

plugin_api::export_plugin!(os => Debian);

#[cfg(test)]
mod tests {
    use plugin_api::Content;
    use plugin_api::template::{Package, Repository};
    use plugin_api::testing::DelegateHarness;

    use super::*;

    fn problems(content: Content) -> String {
        let harness = DelegateHarness::os(Debian).operating_system("Debian", "12", "x86_64");
        let delegate = harness.tier(Tier::Target).base_image("").content(content).open().unwrap();
        // What this machine lacks is of no interest here.
        delegate.check().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_added_for_a_target_is_checked_like_the_template() {
        let mut content = Content::default();
        let mut agent = Package::new("agent");
        agent.repository = Some("agents".to_owned());
        content.packages.push(agent);
        assert!(problems(content.clone()).contains("there is no repository `agents`"));
        let mut agents = Repository::default();
        agents.name = "agents".to_owned();
        agents.url = "deb http://agents.example/ stable main".to_owned();
        content.repositories.push(agents);
        assert!(!problems(content.clone()).contains("agents"));
        content.packages.push(Package::new("No Package"));
        assert!(problems(content).contains("`No Package`"));
    }
}
