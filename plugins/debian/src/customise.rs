//! Making the base system the image that the template describes, apart from its packages.
//!
//! Files are written by this process. What needs the image's own programs (users, services, locales)
//! is one shell script, because a process in the image costs more than everything that it does.

use fs_err as fs;
use plugin_api::template::{Command as TemplateCommand, File, Source};
use plugin_api::{Builder, DelegateError, Template};

use crate::archive::{Archive, distribution_lines};
use crate::disk::Plan;
use crate::failure::explain;
use crate::grow;
use crate::inside;
use crate::install::fetch;
use crate::release_file::sha256;
use crate::root::Root;
use crate::settings::Settings;

/// Writes what programs of the image need to see already while packages are installed.
///
/// # Errors
/// A file cannot be written.
pub fn prepare(
    settings: &Settings,
    archive: &Archive<'_>,
    plan: &Plan,
    root: &Root,
) -> Result<(), DelegateError> {
    let dir = &root.dir;
    let name = &settings.hostname;
    let short = name.split('.').next().unwrap_or(name);
    let alias = if short == name { String::new() } else { format!(" {short}") };
    inside::write(dir, "/etc/hostname", format!("{short}\n").as_bytes(), 0o644)?;
    let hosts = format!(
        "127.0.0.1\tlocalhost\n127.0.1.1\t{name}{alias}\n\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n"
    );
    inside::write(dir, "/etc/hosts", hosts.as_bytes(), 0o644)?;
    let (root_uuid, esp_uuid) = (plan.root_uuid(), plan.esp_uuid());
    let fstab = format!(
        "UUID={root_uuid}\t/\text4\terrors=remount-ro\t0\t1\n\
         UUID={esp_uuid}\t/boot/efi\tvfat\tumask=0077,noauto\t0\t0\n"
    );
    inside::write(dir, "/etc/fstab", fstab.as_bytes(), 0o644)?;
    fs::create_dir_all(dir.join("boot/efi"))?;
    // Services start when the image does, not while it is made.
    inside::write(dir, "/usr/sbin/policy-rc.d", b"#!/bin/sh\nexit 101\n", 0o755)?;
    sources(settings, archive, root)
}

/// The sources of the image itself.
fn sources(settings: &Settings, archive: &Archive<'_>, root: &Root) -> Result<(), DelegateError> {
    let mut mirrors = archive.mirrors.clone();
    mirrors.main = settings.guest_mirror.clone().unwrap_or(mirrors.main);
    mirrors.security = settings.guest_security_mirror.clone().unwrap_or(mirrors.security);
    let keyring = settings.distribution.keyring();
    let installed = root.dir.join(keyring.trim_start_matches('/')).exists();
    let mut lines = distribution_lines(settings, &mirrors, installed.then_some(keyring));
    for repository in settings.repositories.iter().filter(|repository| repository.persisted) {
        let mut key_file = keyring.to_owned();
        if let Some(key) = &repository.key {
            key_file = format!("/etc/apt/keyrings/{}.asc", repository.name);
            inside::write(&root.dir, &key_file, key.as_bytes(), 0o644)?;
        }
        lines.push(repository.line(&key_file));
        if !repository.ssl_verify && repository.address.starts_with("https:") {
            let (name, host) = (&repository.name, repository.host());
            let conf = format!("Acquire::https::{host}::Verify-Peer \"false\";\n");
            inside::write(
                &root.dir,
                &format!("/etc/apt/apt.conf.d/60{name}"),
                conf.as_bytes(),
                0o644,
            )?;
        }
    }
    Ok(inside::write(
        &root.dir,
        "/etc/apt/sources.list",
        (lines.join("\n") + "\n").as_bytes(),
        0o644,
    )?)
}

/// Users, passwords, keys, locale, time zone, network: everything that the settings say.
///
/// # Errors
/// A program of the image refuses, for example because a group does not exist.
pub fn configure(
    builder: &Builder,
    settings: &Settings,
    template: &Template,
    root: &Root,
) -> Result<(), DelegateError> {
    let dir = &root.dir;
    let mut script = String::from(OWN_KEYS);
    let mut passwords = String::new();
    if let Some(password) = &template.os.root_password {
        passwords.push_str(&password_line("root", password));
    }
    for user in &settings.users {
        let (name, shell) = (&user.name, &user.shell);
        let groups = if user.groups.is_empty() {
            String::new()
        } else {
            format!("-G {}", user.groups.join(","))
        };
        script.extend(["useradd -m -U -s '", shell, "' ", &groups, " '", name, "'\n"]);
        if let Some(password) = &user.password {
            passwords.push_str(&password_line(name, password));
        }
        if user.sudo {
            let rule = format!("{name} ALL=(ALL:ALL) NOPASSWD:ALL\n");
            inside::write(dir, &format!("/etc/sudoers.d/90-{name}"), rule.as_bytes(), 0o440)?;
        }
        if !user.ssh_keys.is_empty() {
            let keys = user.ssh_keys.join("\n") + "\n";
            inside::write(dir, &format!("/run/keys-{name}"), keys.as_bytes(), 0o600)?;
            // Its owner is known inside only.
            script.extend(["own_keys '", name, "'\n"]);
        }
    }
    if !settings.root_keys.is_empty() {
        fs::create_dir_all(dir.join("root/.ssh"))?;
        let keys = settings.root_keys.join("\n") + "\n";
        inside::write(dir, "/root/.ssh/authorized_keys", keys.as_bytes(), 0o600)?;
        script.push_str("chmod 700 /root/.ssh\n");
    }
    if !passwords.is_empty() {
        script.push_str(SET_PASSWORDS);
    }
    localise(settings, root, &mut script)?;
    network(settings, root, &mut script)?;
    if settings.grow_root && !settings.cloud_init {
        grow::write(dir)?;
        script.extend(["systemctl --quiet enable ", grow::UNIT, "\n"]);
    }
    if dir.join("usr/sbin/sshd").exists() {
        inside::write(
            dir,
            "/etc/systemd/system/ssh-host-keys.service",
            HOST_KEYS.as_bytes(),
            0o644,
        )?;
        script.push_str("systemctl --quiet enable ssh-host-keys.service\n");
    }
    let passwords_given = settings.users.iter().filter_map(|user| user.password.as_deref());
    let command = passwords_given
        .chain(template.os.root_password.as_deref())
        .fold(root.script(&script, &passwords)?, plugin_api::Command::secret);
    let done = builder.run(command);
    done.map(|_| ())
        .map_err(|error| explain(error, "cannot set up users, locale and network in the image"))
}

fn localise(settings: &Settings, root: &Root, script: &mut String) -> Result<(), DelegateError> {
    let (locale, zone) = (&settings.locale, &settings.timezone);
    inside::write(&root.dir, "/etc/default/locale", format!("LANG={locale}\n").as_bytes(), 0o644)?;
    if !matches!(locale.as_str(), "C" | "POSIX" | "C.UTF-8") {
        let charset = locale.split_once('.').map_or("ISO-8859-1", |(_, charset)| charset);
        inside::write(
            &root.dir,
            "/etc/locale.gen",
            format!("{locale} {charset}\n").as_bytes(),
            0o644,
        )?;
        script.push_str("locale-gen >/dev/null\n");
    }
    let place = format!("/usr/share/zoneinfo/{zone}");
    if !inside::resolve(&root.dir, place.as_str().into())?.exists() {
        if zone == "Etc/UTC" {
            return Ok(());
        }
        return Err(DelegateError::invalid_input(format!(
            "parameter `timezone`: there is no zone `{zone}`"
        ))
        .hint("names are like `Europe/Berlin`"));
    }
    inside::link(&root.dir, "/etc/localtime", &place)?;
    Ok(inside::write(&root.dir, "/etc/timezone", format!("{zone}\n").as_bytes(), 0o644)?)
}

fn network(settings: &Settings, root: &Root, script: &mut String) -> Result<(), DelegateError> {
    if !settings.dhcp {
        return Ok(());
    }
    // Sorted behind what cloud-init and administrators write.
    inside::write(&root.dir, "/etc/systemd/network/90-dhcp.network", DHCP.as_bytes(), 0o644)?;
    script.push_str("systemctl --quiet enable systemd-networkd.service\n");
    if root.dir.join("usr/lib/systemd/systemd-resolved").exists() {
        script.push_str("systemctl --quiet enable systemd-resolved.service\n");
        inside::link(&root.dir, "/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")?;
        if let Ok(conf) = fs::read("/etc/resolv.conf") {
            inside::write(&root.dir, "/run/systemd/resolve/stub-resolv.conf", &conf, 0o644)?;
        }
    }
    Ok(())
}

/// `USER:SALT:PASSWORD`, the salt derived so that the same template gives the same hash; empty for a
/// password that is a hash already.
fn password_line(user: &str, password: &str) -> String {
    if password.starts_with('$') {
        return format!("{user}::{password}\n");
    }
    let salt = &sha256(&format!("salt of {user}: {password}"))[..16];
    format!("{user}:{salt}:{password}\n")
}

/// Puts the public keys in `/run/keys-USER` to where sshd looks for them.
const OWN_KEYS: &str = r#"set -e
own_keys() {
    home=$(getent passwd "$1" | cut -d: -f6)
    install -d -m 700 -o "$1" -g "$1" "$home/.ssh"
    install -m 600 -o "$1" -g "$1" "/run/keys-$1" "$home/.ssh/authorized_keys"
}
"#;

/// SHA-512 crypt, by the one interpreter that every Debian system has.
const SET_PASSWORDS: &str = r#"perl -e 'while (<STDIN>) { chomp; my ($u, $s, $p) = split /:/, $_, 3;
    print "$u:" . ($s eq "" ? $p : crypt($p, "\$6\$$s\$")) . "\n" }' | chpasswd -e
"#;

const DHCP: &str = "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\nIPv6AcceptRA=yes\n\n\
                    [DHCPv4]\nUseDomains=yes\n";

const HOST_KEYS: &str = "[Unit]\nDescription=Generate the SSH host keys of this machine\n\
    Before=ssh.service ssh.socket\nConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key\n\n\
    [Service]\nType=oneshot\nExecStart=/usr/bin/ssh-keygen -A\n\n\
    [Install]\nWantedBy=multi-user.target ssh.service\n";

/// Writes files of a template or of a cloud plugin.
///
/// # Errors
/// One cannot be fetched or written.
pub fn files(
    builder: &Builder,
    archive: &Archive<'_>,
    files: &[File],
    root: &Root,
) -> Result<(), DelegateError> {
    for file in files {
        let contents = contents(builder, archive, &file.source, &format!("file `{}`", file.name))?;
        inside::write(&root.dir, &file.name, &contents, file.mode.unwrap_or(0o644) & 0o7777)
            .map_err(|error| {
                DelegateError::failed(format!("cannot write file `{}` to the image", file.name))
                    .caused_by(error)
            })?;
    }
    Ok(())
}

/// Runs commands of a template or of a cloud plugin, each as a script in the image.
///
/// # Errors
/// One ends with another exit code than 0.
pub fn commands(
    builder: &Builder,
    archive: &Archive<'_>,
    commands: &[TemplateCommand],
    root: &Root,
) -> Result<(), DelegateError> {
    for command in commands {
        let name = &command.name;
        builder.activity(format!("running command `{name}`"));
        let script = contents(builder, archive, &command.source, &format!("command `{name}`"))?;
        // /run is a file system of its own here, so nothing stays behind.
        let place = "/run/imageforge-command";
        inside::write(&root.dir, place, &script, 0o755)?;
        let run = if script.starts_with(b"#!") {
            root.command(place)
        } else {
            root.command("/bin/sh").arg(place)
        };
        builder
            .run(run)
            .map_err(|error| explain(error, &format!("command `{name}` failed in the image")))?;
    }
    Ok(())
}

fn contents(
    builder: &Builder,
    archive: &Archive<'_>,
    source: &Source,
    what: &str,
) -> Result<Vec<u8>, DelegateError> {
    if let Source::Url(address) = source {
        let place = builder.work_dir().join("fetched");
        fetch(builder, archive, address, &place)?;
        let bytes = fs::read(&place)?;
        fs::remove_file(place)?;
        return Ok(bytes);
    }
    source
        .bytes()
        .ok_or_else(|| DelegateError::invalid_input(format!("{what}: its base64 does not decode")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_gets_the_same_salt_each_time_and_a_hash_none() {
        assert_eq!(password_line("root", "a:b"), password_line("root", "a:b"));
        assert!(password_line("root", "secret").starts_with("root:"));
        assert_ne!(password_line("root", "x")[5..21], password_line("root", "y")[5..21]);
        assert_eq!(password_line("root", "$6$abc$def"), "root::$6$abc$def\n");
    }
}
