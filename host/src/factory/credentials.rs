//! What is secret in credentials, whatever they are written in.
//!
//! What the host is given is the plugin's affair: JSON, YAML, XML, lines of `KEY=VALUE`, or a word.
//! The host looks for names that call what they hold a secret, and would rather hide too much. A
//! user name is none: it is shown with the images of its account.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::template;

/// Most user names, and most secrets, that are told together: all pairs of very many would take for ever.
const MOST_USERS: usize = 32;
const MOST_PAIRED: usize = 128;

/// What is secret in credentials: their text, everything in them that is called a secret, and what
/// HTTP makes of a name and a password (RFC 7617).
pub(super) fn credential_texts(credentials: &str) -> Vec<String> {
    let mut texts = texts_within(credentials);
    texts.push(credentials.trim().to_owned());
    texts
}

/// What is called a secret inside a text that is none as a whole, such as a provider.
pub(super) fn texts_within(text: &str) -> Vec<String> {
    let mut found = Found::default();
    let text = text.trim();
    if let Ok(document) = serde_json::from_str(text) {
        found.json(&document, false, "");
    } else if text.starts_with('<') {
        found.xml(text);
    } else {
        found.yaml(text);
        found.lines(text);
    }
    found.addresses(text);
    found.texts()
}

/// All texts in a value that is secret.
pub(super) fn all_texts(value: &Value) -> Vec<String> {
    let mut found = Found::default();
    found.json(value, true, "");
    found.secrets
}

/// Whether `name` calls what it holds a secret.
fn names_secret(name: &str) -> bool {
    const SECRET: [&str; 6] = ["pass", "secret", "token", "key", "private", "cert"];
    const PUBLIC: [&str; 5] = ["cacert", "ca_cert", "public", "keystone", "url"];
    let name = name.to_lowercase();
    let holds = |words: &[&str]| words.iter().any(|word| name.contains(word));
    holds(&SECRET) && !holds(&PUBLIC)
}

fn names_user(name: &str) -> bool {
    let name = name.to_lowercase();
    ["user", "login", "account"].iter().any(|word| name.contains(word))
}

#[derive(Default)]
struct Found {
    secrets: Vec<String>,
    users: Vec<String>,
}

impl Found {
    /// A text that is called `name`, in something that is secret or not.
    fn take(&mut self, name: &str, text: &str, is_secret: bool) {
        let text = text.trim();
        if is_secret || names_secret(name) {
            self.secrets.push(text.to_owned());
        } else if names_user(name) {
            self.users.push(text.to_owned());
        } else if name.eq_ignore_ascii_case("auth") {
            // As `docker login` keeps it: name and password in base64.
            self.secrets.push(text.to_owned());
            let bytes = STANDARD_NO_PAD.decode(text.trim_end_matches('='));
            let plain = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            if let Some((_, password)) = plain.as_deref().and_then(|plain| plain.split_once(':')) {
                self.secrets.push(password.to_owned());
            }
        }
    }

    fn json(&mut self, value: &Value, is_secret: bool, name: &str) {
        match value {
            Value::String(text) => self.take(name, text, is_secret),
            Value::Number(number) => self.take(name, &number.to_string(), is_secret),
            Value::Array(values) => {
                for value in values {
                    self.json(value, is_secret, name);
                }
            },
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.json(value, is_secret || names_secret(name), name);
                }
            },
            Value::Null | Value::Bool(_) => {},
        }
    }

    fn xml(&mut self, text: &str) {
        let Some(leaves) = template::xml_texts(text) else {
            // Nobody can tell what is what.
            let parts = text.split(['<', '>', '"', '\'']).map(str::trim);
            self.secrets.extend(parts.filter(|part| !part.is_empty()).map(str::to_owned));
            return;
        };
        for (names, text) in leaves {
            let is_secret = names.iter().any(|name| names_secret(name));
            self.take(names.last().map_or("", String::as_str), &text, is_secret);
        }
    }

    /// YAML gives the values as a plugin reads them.
    fn yaml(&mut self, text: &str) {
        let document = serde_saphyr::from_str(text);
        if let Ok(document @ (Value::Array(_) | Value::Object(_))) = document {
            self.json(&document, false, "");
        }
    }

    /// Lines of `KEY=VALUE`, and how a line of YAML spells its value.
    fn lines(&mut self, text: &str) {
        for line in text.lines() {
            let entry = line.trim().trim_start_matches("- ").trim_start_matches("export ");
            let Some((name, value)) = entry_of(entry) else { continue };
            self.take(name, value, false);
            let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
            if let Some(inner) = inner('"').or_else(|| inner('\'')) {
                self.take(name, inner, false);
            }
        }
    }

    /// Passwords in addresses: `https://name:password@host`.
    fn addresses(&mut self, text: &str) {
        for rest in text.split("://").skip(1) {
            let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'<>,".contains(c));
            let authority = &rest[..end.unwrap_or(rest.len())];
            let user_info = authority.rsplit_once('@').and_then(|(info, _)| info.split_once(':'));
            if let Some((name, password)) = user_info {
                self.users.push(name.to_owned());
                self.secrets.push(password.to_owned());
                let plain = percent_encoding::percent_decode_str(password).decode_utf8_lossy();
                self.secrets.push(plain.into_owned());
            }
        }
    }

    fn texts(mut self) -> Vec<String> {
        let mut basic = Vec::new();
        let users = self.users.iter().take(MOST_USERS);
        let secrets = || self.secrets.iter().take(MOST_PAIRED);
        for (user, secret) in users.flat_map(|user| secrets().map(move |secret| (user, secret))) {
            let plain = format!("{user}:{secret}");
            basic.extend([STANDARD_NO_PAD.encode(&plain), URL_SAFE_NO_PAD.encode(&plain)]);
        }
        self.secrets.append(&mut basic);
        self.secrets
    }
}

/// Name and value of `name: value`, `name:` or `name=value`.
fn entry_of(entry: &str) -> Option<(&str, &str)> {
    let colon = entry.find(": ").or_else(|| entry.ends_with(':').then(|| entry.len() - 1));
    let at = match (colon, entry.find('=')) {
        (Some(colon), Some(equals)) => colon.min(equals),
        (colon, equals) => colon.or(equals)?,
    };
    let name = entry[..at].trim().trim_matches(['"', '\'']);
    Some((name, entry[at + 1..].trim()))
}

#[cfg(test)]
mod tests {
    use super::super::secrets::Secrets;
    use super::*;

    const PASSWORD: &str = "p@ss/w0rd+ 'x'";

    /// All that a log may hold of this password, and what is left of it.
    fn assert_hidden(credentials: &str) {
        let secrets = Secrets::new(credential_texts(credentials));
        let basic = STANDARD_NO_PAD.encode(format!("lovelace:{PASSWORD}"));
        for seen in [PASSWORD, "p%40ss%2Fw0rd%2B%20%27x%27", &basic] {
            let masked = secrets.mask(&format!("lovelace: {seen} (end)"));
            assert_eq!(masked, "lovelace: <redacted> (end)", "{credentials}");
        }
        assert_eq!(secrets.mask(credentials.trim()), "<redacted>");
        assert_eq!(secrets.mask("https://cloud.example/v3"), "https://cloud.example/v3");
    }

    #[test]
    fn a_password_is_found_in_every_way_to_write_it() {
        for credentials in [
            r#"{"auth": {"auth_url": "https://cloud.example/v3", "username": "lovelace", "password": "p@ss/w0rd+ 'x'"}}"#,
            "clouds:\n  main:\n    auth:\n      username: lovelace\n      password: p@ss/w0rd+ 'x'\n",
            "clouds:\n  main:\n    auth: {username: lovelace, password: \"p@ss/w0rd+ 'x'\"}\n",
            "username: 'lovelace'\npassword: 'p@ss/w0rd+ ''x''' # the new one\n",
            "username: lovelace\nsecrets:\n  - first: p@ss/w0rd+ 'x'\n",
            "username: lovelace\npassword:\n  &new \"p@ss\\\n    /w0rd+ 'x'\"\nolder: {password: *new}\n",
            "common: &common {password: p@ss/w0rd+ 'x'}\nclouds: {main: {<<: *common, username: lovelace}}\n",
            "<c><username>lovelace</username><password>p@ss/w0rd+ &apos;x&apos;</password></c>",
            "<c username='lovelace' password=\"p@ss/w0rd+ 'x'\"/>",
            "export OS_USERNAME=lovelace\nexport OS_PASSWORD=\"p@ss/w0rd+ 'x'\"\n",
            "url: https://lovelace:p%40ss%2Fw0rd%2B%20%27x%27@cloud.example/\n",
        ] {
            assert_hidden(credentials);
        }
    }

    #[test]
    fn each_line_of_a_key_in_yaml_is_hidden() {
        let yaml =
            "private_key: |\n  -----BEGIN-----\n  MIIEvQIBADANBg\n  -----END-----\nregion: north\n";
        let secrets = Secrets::new(credential_texts(yaml));
        assert_eq!(secrets.mask("key: MIIEvQIBADANBg"), "key: <redacted>");
        assert_eq!(secrets.mask("in the north"), "in the north");
    }

    #[test]
    fn any_text_is_read() {
        for odd in [
            "",
            "{",
            "}",
            "=",
            ": ",
            ":",
            "'",
            "\"",
            "key: '",
            "key: \"",
            "key:\n  '",
            "://@",
            "a://:@",
            "é: ü",
            "pass\u{301}: \u{1f600}",
            "- - key: x",
            "!x",
            "key: !x",
            "key: #",
            "<",
            "<é",
            "{key: '}",
        ] {
            let secrets = Secrets::new(credential_texts(odd));
            assert_eq!(secrets.mask("nothing of it"), "nothing of it", "{odd}");
        }
    }

    #[test]
    fn what_docker_keeps_is_read() {
        let auth = STANDARD_NO_PAD.encode("lovelace:hunter2!");
        let config = format!(r#"{{"auths": {{"registry.example": {{"auth": "{auth}"}}}}}}"#);
        let secrets = Secrets::new(credential_texts(&config));
        assert_eq!(
            secrets.mask(&format!("Basic {auth}, hunter2!")),
            "Basic <redacted>, <redacted>"
        );
    }

    #[test]
    fn only_what_is_called_a_secret_is_one_in_a_provider() {
        let provider = r#"{"api-url": "https://ada:lovelace-1@rhevm.example/api", "nfs-host": "nfs.example", "password": "hunter2"}"#;
        let secrets = Secrets::new(texts_within(provider));
        let masked = secrets.mask(provider);
        assert!(!masked.contains("hunter2") && !masked.contains("lovelace-1"), "{masked}");
        assert!(masked.contains("nfs.example") && masked.contains("rhevm.example"), "{masked}");
    }

    #[test]
    fn xml_that_does_not_read_is_secret_in_all_its_parts() {
        let secrets = Secrets::new(credential_texts("<c><password>hunter2!</passwort></c>"));
        assert_eq!(secrets.mask("at `hunter2!`"), "at `<redacted>`");
    }
}
