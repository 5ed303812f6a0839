//! What is to be built: the template and the parameters, checked and with defaults filled in.
//!
//! Reading collects every problem instead of stopping at the first one, because a request is refused
//! with all its reasons at once.

mod size;
mod syntax;
mod users;

use plugin_api::template::Install;
use plugin_api::{DelegateError, Parameters, Template};

use crate::distribution::Distribution;
use crate::repository::Repository;
use crate::root::Workspace;

pub use size::parse_size;
pub(crate) use syntax::is_archive_address;
pub use syntax::{check_package, is_host_name};
pub use users::User;

/// Everything that decides what is in the image.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Suite and architecture.
    pub distribution: Distribution,
    /// Address of the archive; `None` means the one that the build machine uses.
    pub mirror: Option<String>,
    /// Address of the security archive; `None` means that of the build machine.
    pub security_mirror: Option<String>,
    /// Address that the image itself is to use instead of [`Self::mirror`].
    pub guest_mirror: Option<String>,
    /// Address that the image itself is to use instead of [`Self::security_mirror`].
    pub guest_security_mirror: Option<String>,
    /// Components of the archive.
    pub components: Vec<String>,
    /// Whether the security suite is used.
    pub security: bool,
    /// Whether the updates suite is used.
    pub updates: bool,
    /// Keyring on the build machine that signs the archive.
    pub keyring: String,
    /// Name of the kernel package.
    pub kernel: String,
    /// Kernel parameters besides `root=`.
    pub kernel_parameters: String,
    /// Host name.
    pub hostname: String,
    /// Users to create.
    pub users: Vec<User>,
    /// Public keys that may log in as root.
    pub root_keys: Vec<String>,
    /// Whether cloud-init configures the machine at its first start.
    pub cloud_init: bool,
    /// Whether the root file system fills its disk at each start.
    pub grow_root: bool,
    /// Whether all Ethernet interfaces ask for an address.
    pub dhcp: bool,
    /// Packages from the parameters, to be installed with those of the template.
    pub packages: Vec<String>,
    /// Whether recommended packages are installed along with those that the template names.
    pub recommends: bool,
    /// Whether documentation, manuals and translations are kept.
    pub docs: bool,
    /// Locale of the system.
    pub locale: String,
    /// Time zone of the system.
    pub timezone: String,
    /// Seconds for which the boot menu is shown.
    pub boot_timeout: u32,
    /// Size of the disk in bytes.
    pub disk_bytes: u64,
    /// Size of the EFI system partition in bytes.
    pub esp_bytes: u64,
    /// Seconds for which the archive is not asked again what it has.
    pub archive_max_age: u64,
    /// Whether a cached base system may be used.
    pub use_cached_base: bool,
    /// Where the build works.
    pub workspace: Workspace,
    /// Repositories of the template.
    pub repositories: Vec<Repository>,
}

/// Sizes of a disk without a size in the template or the parameters.
const DISK_BYTES: u64 = 4 << 30;
const ESP_BYTES: u64 = 64 << 20;
/// A second build right after a first one, and the tiers of one build, share one look at the archive.
const ARCHIVE_MAX_AGE: u64 = 30;
/// Less does not hold even the smallest system.
const MIN_DISK_BYTES: u64 = 512 << 20;

impl Settings {
    /// Reads `template` and `parameters`.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn read(
        template: &Template,
        parameters: Parameters<'_>,
    ) -> Result<Self, Vec<DelegateError>> {
        let mut reader = Reader { parameters, problems: Vec::new() };
        let settings = reader.settings(template);
        match settings {
            Some(settings) if reader.problems.is_empty() => Ok(settings),
            _ => Err(reader.problems),
        }
    }
}

struct Reader<'a> {
    parameters: Parameters<'a>,
    problems: Vec<DelegateError>,
}

impl Reader<'_> {
    fn settings(&mut self, template: &Template) -> Option<Settings> {
        syntax::check_template(template, &mut self.problems);
        let suite = self.string("suite");
        let distribution = match Distribution::of(&template.os, suite.as_deref()) {
            Ok(distribution) => Some(distribution),
            Err(problems) => {
                let hint = "known are Debian 11, 12 and 13 and Ubuntu 20.04, 22.04 and 24.04; \
                            name another suite with the parameter `suite`";
                let refused = |problem| DelegateError::unsupported(problem).hint(hint);
                self.problems.extend(problems.into_iter().map(refused));
                None
            },
        };
        let mirror = self.mirror(template, distribution.as_ref());
        let kernel = self.kernel(distribution.as_ref());
        let boot = self.kernel_parameters(template, distribution.as_ref());
        let hostname = self.hostname(template);
        let locale =
            self.word("locale", "C.UTF-8", |c| c.is_ascii_alphanumeric() || "_.@-".contains(c));
        let timezone =
            self.word("timezone", "Etc/UTC", |c| c.is_ascii_alphanumeric() || "_/+-".contains(c));
        let disk_bytes = self.disk_bytes(template);
        let esp_bytes = self.size("esp_size").unwrap_or(ESP_BYTES);
        if esp_bytes.saturating_mul(2) > disk_bytes || esp_bytes < 8 << 20 {
            self.refuse("parameter `esp_size`: expected 8 MiB up to half of the disk");
        }
        let packages = self.strings("packages");
        for package in &packages {
            check_package(package, "parameter `packages`", &mut self.problems);
        }
        let components = self.strings("components");
        let users = users::read(self.parameters.value("users"), &mut self.problems);
        let repositories = self.repositories(template);
        let distribution = distribution?;
        Some(Settings {
            mirror,
            security_mirror: self.address("security_mirror"),
            guest_mirror: self.address("guest_mirror"),
            guest_security_mirror: self.address("guest_security_mirror"),
            components: if components.is_empty() {
                distribution.components().iter().map(|&name| name.to_owned()).collect()
            } else {
                components
            },
            security: self.bool("security", distribution.is_stable()),
            updates: self.bool("updates", distribution.is_stable()),
            keyring: self.string("keyring").unwrap_or_else(|| distribution.keyring().to_owned()),
            kernel,
            kernel_parameters: boot,
            hostname,
            users,
            root_keys: self.root_keys(),
            cloud_init: self.bool("cloud_init", false),
            grow_root: self.bool("grow_root", true),
            dhcp: self.string("network").is_none_or(|network| network == "dhcp"),
            packages,
            recommends: self.bool("recommends", false),
            docs: self.bool("docs", true),
            locale,
            timezone,
            boot_timeout: u32::try_from(self.number("boot_timeout", 0)).unwrap_or(u32::MAX),
            disk_bytes,
            esp_bytes,
            archive_max_age: self.number("archive_max_age", ARCHIVE_MAX_AGE),
            workspace: self.workspace(),
            use_cached_base: self.string("cache").is_none_or(|cache| cache != "refresh"),
            repositories,
            distribution,
        })
    }

    /// `mirror:debian` and an empty address mean the archive of the build machine.
    fn mirror(&mut self, template: &Template, known: Option<&Distribution>) -> Option<String> {
        let mirror = self.address("mirror").or_else(|| match &template.os.install {
            Install::Url { url } => Some(url.trim().to_owned()),
            _ => None,
        })?;
        if mirror.is_empty() || mirror.starts_with("mirror:debian") {
            let foreign = known.is_some_and(|known| known.id() != "debian");
            if foreign {
                self.problems.push(
                    DelegateError::invalid_input("Ubuntu needs the address of its archive").hint(
                        "write it into the template's install url, or give the parameter `mirror`",
                    ),
                );
            }
            return None;
        }
        if !is_archive_address(&mirror) {
            self.refuse(format!("`{mirror}` is not the address of a package archive"));
        }
        Some(mirror.trim_end_matches('/').to_owned())
    }

    fn kernel(&mut self, known: Option<&Distribution>) -> String {
        let flavour = self.string("kernel").unwrap_or_else(|| "generic".to_owned());
        let Some(known) = known else { return flavour };
        let package = known.kernel_package(&flavour).filter(|name| syntax::is_package_name(name));
        package.unwrap_or_else(|| {
            let arch = &known.arch;
            self.problems.push(
                DelegateError::invalid_input(format!(
                    "parameter `kernel`: there is no kernel `{flavour}` for `{arch}`"
                ))
                .hint("use `generic`, `cloud` (amd64 and arm64), or the name of a package `linux-image-…`"),
            );
            flavour
        })
    }

    fn kernel_parameters(&mut self, template: &Template, known: Option<&Distribution>) -> String {
        let serial = known.map_or("ttyS0", Distribution::serial_console);
        let console = self.string("console").unwrap_or_else(|| format!("tty0 {serial},115200"));
        let mut words: Vec<String> = console
            .split([' ', ';'])
            .filter(|name| !name.is_empty())
            .map(|name| format!("console={name}"))
            .collect();
        let parameter = self.string("kernel_parameters");
        for more in
            [template.os.kernel_parameters.as_deref(), parameter.as_deref()].into_iter().flatten()
        {
            words.extend(more.split_whitespace().map(str::to_owned));
        }
        words.join(" ")
    }

    fn hostname(&mut self, template: &Template) -> String {
        let Some(name) = self.string("hostname") else {
            return syntax::host_name_from(&template.name);
        };
        if !is_host_name(&name) {
            self.refuse(format!("parameter `hostname`: `{name}` is not a host name"));
        }
        name
    }

    fn disk_bytes(&mut self, template: &Template) -> u64 {
        let bytes = self.size("disk_size").or(template.disk_size_bytes).unwrap_or(DISK_BYTES);
        if bytes < MIN_DISK_BYTES {
            self.refuse(format!(
                "a disk of {bytes} bytes is too small: {MIN_DISK_BYTES} are needed"
            ));
        }
        bytes
    }

    fn root_keys(&mut self) -> Vec<String> {
        let keys = self.lines("ssh_keys");
        for key in &keys {
            users::check_key(key, "parameter `ssh_keys`", &mut self.problems);
        }
        keys
    }

    fn workspace(&mut self) -> Workspace {
        match self.string("workspace").as_deref() {
            None | Some("auto") => Workspace::Auto,
            Some("memory") => Workspace::Memory,
            Some("disk") => Workspace::Disk,
            Some(other) => {
                self.refuse(format!(
                    "parameter `workspace`: expected auto, memory or disk, found `{other}`"
                ));
                Workspace::Auto
            },
        }
    }

    fn repositories(&mut self, template: &Template) -> Vec<Repository> {
        let mut read = Vec::new();
        for repository in &template.repositories {
            match Repository::read(repository) {
                Ok(found) => read.push(found),
                Err(problem) => self.refuse(problem),
            }
        }
        read
    }

    fn refuse(&mut self, problem: impl Into<String>) {
        self.problems.push(DelegateError::invalid_input(problem));
    }

    /// The value, or the default with the error noted.
    fn take<T: Default>(&mut self, value: Result<T, DelegateError>) -> T {
        value.unwrap_or_else(|problem| {
            self.problems.push(problem);
            T::default()
        })
    }

    fn string(&mut self, name: &str) -> Option<String> {
        let value = self.take(self.parameters.string(name));
        value.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn bool(&mut self, name: &str, default: bool) -> bool {
        self.take(self.parameters.bool(name)).unwrap_or(default)
    }

    fn number(&mut self, name: &str, default: u64) -> u64 {
        self.take(self.parameters.u64(name)).unwrap_or(default)
    }

    fn strings(&mut self, name: &str) -> Vec<String> {
        self.take(self.parameters.strings(name))
    }

    /// A list whose items hold spaces: an array, or a text with one item a line.
    fn lines(&mut self, name: &str) -> Vec<String> {
        match self.parameters.value(name) {
            Some(serde_json::Value::String(text)) => text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect(),
            _ => self.strings(name),
        }
    }

    fn size(&mut self, name: &str) -> Option<u64> {
        let text = self.string(name)?;
        let bytes = parse_size(&text);
        if bytes.is_none() {
            self.refuse(format!("parameter `{name}`: `{text}` is not a size, such as `8 GiB`"));
        }
        bytes
    }

    fn address(&mut self, name: &str) -> Option<String> {
        let address = self.string(name)?;
        if address.starts_with("mirror:") {
            return Some(address);
        }
        if !is_archive_address(&address) {
            self.refuse(format!(
                "parameter `{name}`: `{address}` is not the address of a package archive"
            ));
        }
        Some(address.trim_end_matches('/').to_owned())
    }

    fn word(&mut self, name: &str, default: &str, allowed: fn(char) -> bool) -> String {
        let word = self.string(name).unwrap_or_else(|| default.to_owned());
        if !word.chars().all(allowed) || word.contains("..") || word.starts_with('/') {
            self.refuse(format!("parameter `{name}`: `{word}` is not valid"));
        }
        word
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support;
