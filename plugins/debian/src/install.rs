//! Installing packages into the root file system.
//!
//! The build machine's apt decides and downloads, dpkg of the image installs. apt works from a
//! snapshot of the archive and a folder of cached packages, so that an unchanged archive needs no
//! network.

use camino::Utf8Path;
use fs_err as fs;
use plugin_api::template::Package;
use plugin_api::{Builder, Command, DelegateError, Template};

use crate::archive::Archive;
use crate::base::Ingredients;
use crate::failure::{explain, is_damaged_package};
use crate::package_cache::PackageLinks;
use crate::root::{Root, environment};
use crate::settings::Settings;

/// Where packages lie inside the root.
const PACKAGES_INSIDE: &str = "var/cache/apt/archives";

/// Packages that the settings need besides those that are named.
pub fn implied(settings: &Settings) -> Vec<&'static str> {
    let mut packages = Vec::new();
    if settings.users.iter().any(|user| user.sudo) {
        packages.push("sudo");
    }
    if !settings.root_keys.is_empty() || settings.users.iter().any(|user| !user.ssh_keys.is_empty())
    {
        packages.push("openssh-server");
    }
    if settings.cloud_init {
        packages.extend(["cloud-init", "cloud-guest-utils"]);
    }
    if !matches!(settings.locale.as_str(), "C" | "POSIX" | "C.UTF-8") {
        packages.push("locales");
    }
    if settings.timezone != "Etc/UTC" {
        packages.push("tzdata");
    }
    packages
}

/// One call of apt.
#[derive(Debug, Default, PartialEq, Eq)]
struct Step {
    recommends: bool,
    suggests: bool,
    packages: Vec<String>,
}

/// Groups packages that are installed with the same options, in the order of the template.
fn steps(settings: &Settings, packages: &[Package]) -> Vec<Step> {
    let step = |recommends, suggests| Step { recommends, suggests, packages: Vec::new() };
    let mut steps = vec![step(settings.recommends, false)];
    let first = &mut steps[0].packages;
    first.extend(implied(settings).into_iter().map(str::to_owned));
    first.extend(settings.packages.iter().cloned());
    for package in packages {
        let arguments = package.arguments.as_deref().unwrap_or_default();
        let recommends = if arguments.contains("--no-install-recommends") {
            false
        } else {
            settings.recommends || arguments.contains("--install-recommends")
        };
        let suggests = arguments.contains("--install-suggests");
        let name = package.file.clone().unwrap_or_else(|| package.name.clone());
        match steps
            .iter_mut()
            .find(|step| step.recommends == recommends && step.suggests == suggests)
        {
            Some(step) => step.packages.push(name),
            None => steps.push(Step { packages: vec![name], ..step(recommends, suggests) }),
        }
    }
    steps.retain(|step| !step.packages.is_empty());
    steps
}

/// Pins packages to the repository that the template says they come from.
fn preferences(settings: &Settings, packages: &[Package]) -> String {
    let mut text = String::new();
    for package in packages {
        let wanted = package.repository.as_deref().unwrap_or_default();
        let Some(at) = settings.repositories.iter().find(|known| known.name == wanted) else {
            continue;
        };
        let (name, host) = (&package.name, at.host());
        text.push_str(
            &["Package: ", name, "\nPin: origin \"", host, "\"\nPin-Priority: 995\n\n"].concat(),
        );
    }
    text
}

/// Installs the packages of `template`, of `settings` and `more` into `root`.
///
/// # Errors
/// A package does not exist, cannot be fetched or cannot be installed.
pub fn install(
    builder: &Builder,
    from: Ingredients<'_>,
    template: &Template,
    more: &[Package],
    root: &mut Root,
) -> Result<(), DelegateError> {
    let Ingredients { settings, archive, snapshot, epoch } = from;
    let packages = [&template.packages, more].concat();
    let steps = steps(settings, &packages);
    if steps.is_empty() {
        return Ok(());
    }
    builder.activity("installing packages");
    let preferences_file = builder.work_dir().join("preferences");
    fs::write(&preferences_file, preferences(settings, &packages))?;
    let links = PackageLinks::make(&archive.packages_dir(), builder.work_dir().join("packages"))?;
    root.bind(&links.dir, PACKAGES_INSIDE)?;
    for step in steps {
        let mut names = Vec::new();
        for (number, name) in step.packages.iter().enumerate() {
            let fetched = if name.contains("://") {
                fetch_file(builder, archive, name, number, &root.dir)?
            } else {
                name.clone()
            };
            names.push(fetched);
        }
        let shown = step.packages.join("`, `");
        let apt = || {
            environment(snapshot.apt(archive), epoch)
                .args(options(&root.dir, &preferences_file, &step))
                .args(["install", "--"])
                .args(names.iter().map(String::as_str))
        };
        let mut done = builder.run(apt());
        if done.as_ref().is_err_and(is_damaged_package) {
            tracing::warn!("a downloaded package is damaged; all are downloaded anew");
            links.forget()?;
            done = builder.run(apt());
        }
        if !done.as_ref().is_err_and(is_damaged_package) {
            links.harvest()?;
        }
        done.map_err(|error| explain(error, &format!("cannot install `{shown}`")))?;
    }
    Ok(())
}

fn options(root: &Utf8Path, preferences: &Utf8Path, step: &Step) -> Vec<String> {
    [
        format!("Dir::State::status={root}/var/lib/dpkg/status"),
        format!("Dir::State::extended_states={root}/var/lib/apt/extended_states"),
        format!("Dir::Cache::archives={root}/{PACKAGES_INSIDE}"),
        format!("Dir::Log={root}/var/log/apt"),
        format!("Dir::Etc::preferences={preferences}"),
        format!("DPkg::Chroot-Directory={root}"),
        format!("APT::Install-Recommends={}", step.recommends),
        format!("APT::Install-Suggests={}", step.suggests),
        // Nothing is lost when the machine stops: the whole root would be made anew.
        "Dpkg::Options::=--force-unsafe-io".to_owned(),
        "Dpkg::Options::=--force-confdef".to_owned(),
        "Dpkg::Options::=--force-confold".to_owned(),
        "Dpkg::Use-Pty=false".to_owned(),
    ]
    .into_iter()
    .flat_map(|option| ["-o".to_owned(), option])
    .collect()
}

/// Downloads a package file to where dpkg finds it.
fn fetch_file(
    builder: &Builder,
    archive: &Archive<'_>,
    address: &str,
    number: usize,
    root: &Utf8Path,
) -> Result<String, DelegateError> {
    let place = root.join("tmp").join(format!("imageforge-{number}.deb"));
    fetch(builder, archive, address, &place)?;
    Ok(place.into_string())
}

/// Downloads `address` to the file `place` as apt would: proxies and certificates are apt's.
///
/// # Errors
/// It cannot be downloaded.
pub fn fetch(
    builder: &Builder,
    archive: &Archive<'_>,
    address: &str,
    place: &Utf8Path,
) -> Result<(), DelegateError> {
    let helper = Command::new("/usr/lib/apt/apt-helper")
        .args(["download-file", address, place.as_str()])
        .env("APT_CONFIG", archive.apt_conf())
        .env("LC_ALL", "C.UTF-8");
    let done = builder
        .run(helper)
        .map_err(|error| explain(error, &format!("cannot download `{address}`")));
    done.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests_support::settings;
    use serde_json::json;

    fn package(name: &str, arguments: Option<&str>) -> Package {
        let mut package = Package::default();
        package.name = name.into();
        package.arguments = arguments.map(str::to_owned);
        package
    }

    #[test]
    fn packages_with_the_same_options_are_installed_together() {
        let settings = settings(&json!({"packages": "vim"}));
        let packages = [
            package("a", None),
            package("b", Some("--install-recommends")),
            package("c", Some("--no-install-recommends")),
        ];
        let steps = steps(&settings, &packages);
        assert_eq!(steps[0].packages, ["vim", "a", "c"]);
        assert_eq!((steps[1].recommends, &steps[1].packages), (true, &vec!["b".to_owned()]));
    }

    #[test]
    fn nothing_named_means_nothing_to_do() {
        assert_eq!(steps(&settings(&json!({})), &[]), []);
    }

    #[test]
    fn what_the_settings_need_is_installed() {
        let settings = settings(&json!({
            "cloud_init": true, "locale": "de_DE.UTF-8", "timezone": "Europe/Berlin",
            "users": [{"name": "alice", "sudo": true, "ssh_keys": ["ssh-ed25519 AAAA"]}],
        }));
        assert_eq!(
            implied(&settings),
            ["sudo", "openssh-server", "cloud-init", "cloud-guest-utils", "locales", "tzdata"]
        );
    }
}
