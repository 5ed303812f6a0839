//! From a base system to a disk, as the template says.

use std::collections::BTreeMap;

use camino::Utf8Path;
use fs_err as fs;
use plugin_api::{Builder, Content, DelegateError, Template, Tier};

use crate::archive::{Archive, Snapshot};
use crate::base::{Ingredients, base};
use crate::disk::{self, Plan};
use crate::failure::explain;
use crate::manifest::{self, Installed};
use crate::release_file::sha256;
use crate::root::{Root, Scratch};
use crate::settings::Settings;
use crate::{cleanup, customise, install, read_settings};

/// Before this, no time is a plausible one for a file system.
const FIRST_EPOCH: i64 = 1;

/// The time that replaces the clock: what the user says, or when the suite was published, so that
/// the same archive gives the same bytes.
pub fn epoch(builder: &Builder, snapshot: &Snapshot) -> i64 {
    builder.source_date_epoch().or(snapshot.published).unwrap_or(FIRST_EPOCH).max(FIRST_EPOCH)
}

/// Builds the disk at `path`: the template and, for a target image, what the cloud plugin adds.
///
/// # Errors
/// Says which step failed and what its program wrote last.
pub fn create(builder: &Builder, path: &Utf8Path) -> Result<(), DelegateError> {
    let settings = &read_settings(builder)?;
    let template = builder.template();
    let content =
        if builder.tier() == Tier::Base { Content::default() } else { builder.content()? };
    let archive = Archive::open(builder, settings)?;
    let snapshot = archive.look()?;
    let epoch = epoch(builder, &snapshot);
    builder.progress(5);
    let scratch = Scratch::make(builder, settings.workspace)?;
    let ingredients = Ingredients { settings, archive: &archive, snapshot: &snapshot, epoch };
    let base = base(builder, ingredients, &scratch.dir)?;
    builder.progress(60);
    let plan = Plan::new(settings, &seed(builder, &base.key, &content)?)?;

    builder.activity("unpacking the base system");
    let mut root = Root::unpack(builder, &base.tar, scratch.dir.join("root"), epoch)?;
    customise::prepare(settings, &archive, &plan, &root)?;
    customise::commands(builder, &archive, &template.precommands, &root)?;
    install::install(builder, ingredients, template, &content.packages, &mut root)?;
    builder.progress(80);
    builder.activity("setting up the system");
    customise::configure(builder, settings, template, &root)?;
    customise::files(builder, &archive, &template.files, &root)?;
    customise::files(builder, &archive, &content.files, &root)?;
    customise::commands(builder, &archive, &template.commands, &root)?;
    customise::commands(builder, &archive, &content.commands, &root)?;
    manifests(builder, settings, template, &root, epoch)?;
    let dir = root.close();
    disk::make_bootable(settings, &plan, &dir, &base.busybox)?;
    cleanup::clean(&dir)?;
    builder.progress(90);
    builder.activity("writing the disk");
    disk::write(builder, &plan, &dir, path, epoch)?;
    builder.set_property("root_uuid", plan.root_uuid())?;
    builder.set_property("suite", settings.distribution.suite.as_str())?;
    builder.set_property("base_cached", base.cached)?;
    builder.progress(100);
    Ok(())
}

/// Parameters that say how a build works and not what comes out.
const WITHOUT_EFFECT: &[&str] = &["archive_max_age", "cache", "workspace"];

/// What decides the identifiers of the disk: everything that decides its content.
fn seed(builder: &Builder, base: &str, content: &Content) -> Result<String, DelegateError> {
    let mut parameters: Vec<_> = builder
        .parameters()
        .iter()
        .filter(|(name, _)| !WITHOUT_EFFECT.contains(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    parameters.sort_unstable();
    let json = |error| DelegateError::bug_in_plugin("the template is no JSON").caused_by(error);
    let template = serde_json::to_string(builder.template()).map_err(json)?;
    let content = serde_json::to_string(content).map_err(json)?;
    Ok(sha256(&[base, &template, &content, &parameters.join("\n")].join("\n")))
}

/// Records what is installed.
fn manifests(
    builder: &Builder,
    settings: &Settings,
    template: &Template,
    root: &Root,
    epoch: i64,
) -> Result<(), DelegateError> {
    let status = fs::read_to_string(root.dir.join("var/lib/dpkg/status"))?;
    let packages = manifest::installed(&status);
    let extra = match &template.os.icicle_extra_command {
        Some(command) => extra(builder, root, command, &packages)?,
        None => BTreeMap::new(),
    };
    let spdx = manifest::spdx(&template.name, settings.distribution.id(), &packages, epoch);
    let description = template.description.as_deref().unwrap_or(&template.name);
    let written = [
        ("packages.txt", "text/plain", manifest::list(&packages)),
        ("packages.spdx.json", "application/spdx+json", format!("{spdx:#}\n")),
        ("icicle.xml", "application/xml", manifest::icicle(description, &packages, &extra)),
    ];
    for (name, media_type, text) in written {
        let path = builder.work_dir().join(name);
        fs::write(&path, text)?;
        builder.add_artifact(name, path, media_type)?;
    }
    Ok(())
}

/// The answer of the template's `icicle/extra_command` for each package, all asked by one process.
fn extra(
    builder: &Builder,
    root: &Root,
    command: &str,
    packages: &[Installed],
) -> Result<BTreeMap<String, String>, DelegateError> {
    let names: String = packages.iter().flat_map(|package| [package.name.as_str(), "\n"]).collect();
    let script = format!(
        "while read -r name; do printf '\\001%s\\002' \"$name\"; {command} \"$name\" </dev/null || true; done"
    );
    let output = builder
        .run(root.script(&script, &names)?.quiet())
        .map_err(|error| explain(error, "the template's `icicle/extra_command` failed"))?;
    let answers = output.stdout.split('\u{1}').filter_map(|part| part.split_once('\u{2}'));
    Ok(answers.map(|(name, text)| (name.to_owned(), text.trim().to_owned())).collect())
}
