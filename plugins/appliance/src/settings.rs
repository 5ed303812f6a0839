//! What a build is asked for, out of template, parameters and added content.

use plugin_api::template::{Command, Install, Source, Template};
use plugin_api::{Builder, Content, DelegateError};
use plugin_kit::packages::{Archive, Freshness, mirror};

use crate::failure;

/// Everything that the image depends on, besides the packages.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where kernel and BusyBox come from.
    pub(crate) archive: Archive,
    /// Whether the archive is asked.
    pub(crate) freshness: Freshness,
    /// The name of the running system.
    pub(crate) host_name: String,
    /// Password of root, in clear or hashed.
    pub(crate) root_password: Option<String>,
    /// Whether consoles ask for no password.
    pub(crate) autologin: bool,
    /// Kernel parameters after the plugin's own.
    pub(crate) kernel_parameters: String,
    /// Seconds for which the boot menu is shown.
    pub(crate) boot_timeout: u32,
    /// Least size of the disk in bytes.
    pub(crate) disk_bytes: u64,
    /// Files to write, in order.
    pub(crate) files: Vec<FileToWrite>,
    /// Scripts to run at every start, in order, with their names.
    pub(crate) scripts: Vec<(String, Vec<u8>)>,
    /// Text from which all identifiers of the disk are derived.
    pub(crate) seed: String,
}

/// A file of the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileToWrite {
    /// Absolute path.
    pub(crate) path: String,
    /// Permission bits.
    pub(crate) mode: u32,
    /// What is in it.
    pub(crate) contents: Vec<u8>,
}

impl Settings {
    /// Reads what `builder` was given, with `content` added to the template.
    ///
    /// # Errors
    /// Everything that this plugin cannot do or understand, at once.
    pub(crate) fn read(builder: &Builder, content: &Content) -> Result<Self, Vec<DelegateError>> {
        let mut problems = Vec::new();
        let template = builder.template();
        let parameters = builder.parameters();
        problems.extend(unsupported(template, content));
        let mut keep = |error: DelegateError| problems.push(error);
        let suite = parameters.string("suite").map_err(&mut keep).ok().flatten();
        let address = parameters.string("mirror").map_err(&mut keep).ok().flatten();
        let address = address.unwrap_or_else(|| install_address(template));
        let autologin = parameters.bool("autologin").map_err(&mut keep).ok().flatten();
        let boot_timeout = parameters.u64("boot_timeout").map_err(&mut keep).ok().flatten();
        let freshness = parameters.string("freshness").map_err(&mut keep).ok().flatten();
        let freshness = freshness_named(freshness.as_deref()).map_err(&mut keep).ok();
        let mut files = Vec::new();
        for file in template.files.iter().chain(&content.files) {
            let mode = file.mode.unwrap_or(0o644) & 0o7777;
            if let Ok(contents) = bytes(&file.name, &file.source).map_err(&mut keep) {
                files.push(FileToWrite { path: file.name.clone(), mode, contents });
            }
        }
        let mut scripts = Vec::new();
        let commands = template.precommands.iter().chain(&template.commands);
        for Command { name, source, .. } in commands.chain(&content.commands) {
            if let Ok(script) = bytes(name, source).map_err(&mut keep) {
                scripts.push((name.clone(), script));
            }
        }
        let suite = suite.unwrap_or_else(|| "bookworm".to_owned());
        let archive = Archive::debian(&address, &suite, "amd64");
        problems.extend(archive.validate().err().map(|error| failure::packages(&error)));
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            archive,
            freshness: freshness.unwrap_or_default(),
            host_name: host_name(&template.name),
            root_password: template.os.root_password.clone(),
            autologin: autologin.unwrap_or(false),
            kernel_parameters: template.os.kernel_parameters.clone().unwrap_or_default(),
            boot_timeout: boot_timeout.and_then(|s| u32::try_from(s).ok()).unwrap_or(0),
            disk_bytes: template.disk_size_bytes.unwrap_or(0),
            files,
            scripts,
            seed: seed(template, content),
        })
    }
}

/// Everything that makes this image another one, but not the password: identifiers are public, and
/// must not help to guess it.
fn seed(template: &Template, content: &Content) -> String {
    let mut public = template.clone();
    public.os.root_password = None;
    serde_json::to_string(&(public, content)).unwrap_or_default()
}

/// What the template asks for and a system without package manager cannot have.
fn unsupported(template: &Template, content: &Content) -> Option<DelegateError> {
    let packages = template.packages.iter().chain(&content.packages);
    let mut names: Vec<_> = packages.map(|package| format!("`{}`", package.name)).collect();
    let repositories = template.repositories.iter().chain(&content.repositories);
    names.extend(repositories.map(|source| format!("`{}`", source.name)));
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        DelegateError::unsupported(format!("an appliance has no packages or repositories: {names}"))
            .hint("build an operating system with a package manager, for example `Debian`")
    })
}

/// The archive that the template names; the machine's own for a template that names none.
fn install_address(template: &Template) -> String {
    match &template.os.install {
        Install::Url { url } if !url.is_empty() => url.clone(),
        _ => mirror::MACHINE_MIRROR.to_owned(),
    }
}

fn freshness_named(name: Option<&str>) -> Result<Freshness, DelegateError> {
    match name {
        None | Some("reuse") => Ok(Freshness::Reuse),
        Some("refresh") => Ok(Freshness::Refresh),
        Some("offline") => Ok(Freshness::Offline),
        Some(other) => {
            Err(DelegateError::invalid_input(format!("parameter `freshness` cannot be `{other}`"))
                .hint("it is `reuse`, `refresh` or `offline`"))
        },
    }
}

/// The content of a file or script that the template carries itself.
fn bytes(name: &str, source: &Source) -> Result<Vec<u8>, DelegateError> {
    source.bytes().ok_or_else(|| {
        DelegateError::unsupported(format!("the content of `{name}` is not in the template"))
            .hint("an appliance takes `raw` and `base64` content")
    })
}

/// The template's name as a host name (RFC 1123): lower-case letters, digits and hyphens.
fn host_name(name: &str) -> String {
    let mut host: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .collect();
    host.truncate(63);
    let host = host.trim_matches('-');
    if host.is_empty() { "appliance".to_owned() } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_leaves_no_trace_in_the_identifiers() {
        let mut template = Template::default();
        let without = seed(&template, &Content::default());
        template.os.root_password = Some("secret".to_owned());
        assert_eq!(seed(&template, &Content::default()), without);
        template.name = "other".to_owned();
        assert_ne!(seed(&template, &Content::default()), without);
    }

    #[test]
    fn any_template_name_gives_a_valid_host_name() {
        for (name, host) in [
            ("Web Server", "web-server"),
            ("--", "appliance"),
            ("größe", "gr--e"),
            ("a.example.org", "a-example-org"),
        ] {
            assert_eq!(host_name(name), host);
        }
        assert_eq!(host_name(&"x".repeat(99)).len(), 63);
    }
}
