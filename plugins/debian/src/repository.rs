//! Package repositories of a template, as lines of `sources.list`.

use plugin_api::template;

use crate::archive::outside;
use crate::settings::is_archive_address;

/// A repository that is added to those of the distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Name, safe for a file name.
    pub name: String,
    /// Options of the line besides the key, such as `arch=amd64`.
    options: Vec<String>,
    /// Address of the archive.
    pub address: String,
    /// Suite and components; `./` for a flat repository.
    rest: String,
    /// Whether its packages must be signed.
    pub signed: bool,
    /// Whether it stays configured in the image.
    pub persisted: bool,
    /// Whether its certificate is verified.
    pub ssl_verify: bool,
    /// The key that signs it, armoured.
    pub key: Option<String>,
}

impl Repository {
    /// Reads a repository: a `deb` line, an address with suite and components behind it, or the bare
    /// address of a flat repository.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn read(repository: &template::Repository) -> Result<Self, String> {
        let place = format!("repository `{}`", repository.name);
        let line = repository.url.trim();
        let line = line.strip_prefix("deb ").unwrap_or(line).trim();
        if line.contains('\n') || line.starts_with("deb-src") {
            return Err(format!("{place}: expected one `deb` line or an address"));
        }
        let (options, line) = match line.strip_prefix('[') {
            Some(line) => line
                .split_once(']')
                .ok_or_else(|| format!("{place}: the options of the line do not end"))?,
            None => ("", line),
        };
        // A path on the build machine is nothing that a template may name; keys come with it.
        let options = options
            .split_whitespace()
            .filter(|option| !option.starts_with("signed-by=") && !option.starts_with("trusted="))
            .map(str::to_owned)
            .collect();
        let (address, rest) =
            line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        if !is_archive_address(address) {
            return Err(format!("{place}: `{address}` is not the address of a package archive"));
        }
        let rest: Vec<_> = rest.split_whitespace().collect();
        let rest = if rest.is_empty() { "./".to_owned() } else { rest.join(" ") };
        let flat = rest.ends_with('/');
        if !flat && !rest.contains(' ') {
            return Err(format!("{place}: there is no component behind the suite `{rest}`"));
        }
        Ok(Self {
            name: file_name(&repository.name),
            options,
            address: address.to_owned(),
            rest,
            signed: repository.signed || repository.key.is_some(),
            persisted: repository.persisted,
            ssl_verify: repository.ssl_verify,
            key: repository.key.clone(),
        })
    }

    /// The line of `sources.list`. `keyring` is where the key that signs it lies.
    pub fn line(&self, keyring: &str) -> String {
        let mut options = self.options.clone();
        options.push(if self.signed {
            format!("signed-by={keyring}")
        } else {
            "trusted=yes".to_owned()
        });
        format!("deb [{}] {} {}", options.join(" "), self.address, self.rest)
    }

    /// The same repository for an apt that works from outside of the image.
    #[must_use]
    pub fn outside(&self) -> Self {
        Self { address: outside(&self.address), ..self.clone() }
    }

    /// The host in the address, for settings that apply to a host.
    pub fn host(&self) -> &str {
        let rest = self.address.split_once("//").map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        authority.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default()
    }
}

fn file_name(name: &str) -> String {
    let clean = |c: char| {
        if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '-' }
    };
    name.chars().map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(url: &str) -> Result<Repository, String> {
        let mut repository = template::Repository::default();
        repository.name = "my repo".into();
        repository.url = url.into();
        Repository::read(&repository)
    }

    #[test]
    fn a_deb_line_an_address_with_a_suite_and_a_flat_address_are_read() {
        let line =
            repository("deb [arch=amd64 signed-by=/etc/x] http://a.example/debian bookworm main")
                .unwrap();
        assert_eq!(
            line.line("/k"),
            "deb [arch=amd64 trusted=yes] http://a.example/debian bookworm main"
        );
        let suite = repository("https://u@a.example:8443/x  stable  main extra").unwrap();
        assert_eq!(
            suite.line("/k"),
            "deb [trusted=yes] https://u@a.example:8443/x stable main extra"
        );
        assert_eq!(suite.host(), "a.example");
        let flat = repository("http://a.example/repo/").unwrap();
        assert_eq!(flat.line("/k"), "deb [trusted=yes] http://a.example/repo/ ./");
        assert_eq!(flat.name, "my-repo");
    }

    #[test]
    fn a_key_makes_it_signed() {
        let mut source = template::Repository::default();
        source.url = "http://a.example ./".into();
        source.key = Some("KEY".into());
        let read = Repository::read(&source).unwrap();
        assert_eq!(read.line("/k.asc"), "deb [signed-by=/k.asc] http://a.example ./");
    }

    #[test]
    fn what_is_no_repository_is_refused() {
        assert!(repository("/srv/repo").unwrap_err().contains("`/srv/repo`"));
        assert!(repository("http://a.example stable").unwrap_err().contains("component"));
        assert!(repository("deb-src http://a.example s m").is_err());
        assert!(repository("[arch=amd64 http://a.example s m").unwrap_err().contains("do not end"));
    }
}
