//! Which registry, which repository in it, and how it is spoken to.

use plugin_api::DelegateError;
use plugin_kit::transfer::is_loopback;

use crate::provider::parse::FORMS;
use crate::settings::{check_repository, check_tag};

/// Docker's own registry, as users write it.
pub(super) const DOCKER_HUB: &str = "docker.io";
/// Where it really is.
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// A place in a registry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Address {
    /// Name and port, as users write them.
    pub(crate) host: String,
    /// The image's own when it is missing.
    pub(crate) repository: Option<String>,
    /// The image's own when there are none.
    pub(crate) tags: Vec<String>,
    /// Without TLS.
    pub(crate) plain_http: bool,
    /// Without looking at certificates.
    pub(crate) insecure: bool,
    /// Certificates of authorities, or the path of a file of them.
    pub(crate) authorities: Option<String>,
    /// A repository of the same registry that may have the layer already.
    pub(crate) mount_from: Option<String>,
}

impl Address {
    /// Reads `[https://]registry.example:5000[/team/name][:tag]`.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(crate) fn parse(text: &str) -> Result<Self, DelegateError> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("http" | "https" | "docker"), rest)) => (Some(scheme), rest),
            Some(_) => return Err(no_place(text)),
            None => (None, text),
        };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !is_host(host, scheme.is_some()) {
            return Err(no_place(text));
        }
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (path, None),
        };
        let repository = repository.trim_end_matches('/');
        let address = Self {
            host: host.to_owned(),
            repository: (!repository.is_empty()).then(|| repository.to_owned()),
            tags: tag.into_iter().collect(),
            plain_http: match scheme {
                Some("http") => true,
                Some("https") => false,
                // As docker does: what is said to this machine is heard by nobody else.
                _ => is_loopback(host),
            },
            ..Self::default()
        };
        address.check()?;
        Ok(address)
    }

    /// Whether repository and tags can be.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(crate) fn check(&self) -> Result<(), DelegateError> {
        self.repository
            .iter()
            .chain(&self.mount_from)
            .try_for_each(|name| check_repository(name))?;
        self.tags.iter().try_for_each(|tag| check_tag(tag))
    }

    /// Scheme, name and port.
    pub(crate) fn base(&self) -> String {
        let scheme = if self.plain_http { "http" } else { "https" };
        let host = if self.host == DOCKER_HUB { DOCKER_HUB_HOST } else { &self.host };
        format!("{scheme}://{host}")
    }
}

/// One name for each registry: Docker's own has several.
pub(super) fn plain_host(host: &str) -> &str {
    if matches!(host, "index.docker.io" | DOCKER_HUB_HOST) { DOCKER_HUB } else { host }
}

/// Docker's rule: what has a dot or a port is a server, everything else is a repository.
fn is_host(host: &str, certainly: bool) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    let like_one = certainly || host == "localhost" || host.contains(['.', ':']);
    like_one
        && host.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[')
        && host.chars().all(allowed)
}

fn no_place(text: &str) -> DelegateError {
    DelegateError::invalid_input(format!("provider `{text}` is no place for images")).hint(FORMS)
}

/// The address that `location` stands for in an answer from `url`.
pub(crate) fn resolve(url: &str, location: &str) -> String {
    // A registry does not always know that a proxy before it speaks TLS.
    if let (Some(place), Some(asked)) =
        (location.strip_prefix("http://"), url.strip_prefix("https://"))
        && place.split('/').next() == asked.split('/').next()
    {
        return format!("https://{place}");
    }
    let scheme = location.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|scheme| scheme.chars().all(|c| c.is_ascii_alphabetic())) {
        return location.to_owned();
    }
    let end_of_scheme = url.find("://").map_or(0, |at| at + 3);
    let end_of_host = url[end_of_scheme..].find('/').map_or(url.len(), |at| end_of_scheme + at);
    if location.starts_with('/') {
        return format!("{}{location}", &url[..end_of_host]);
    }
    let path = url.split('?').next().unwrap_or(url);
    let end = path.rfind('/').filter(|at| *at >= end_of_host).unwrap_or(end_of_host);
    format!("{}/{location}", &path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_docker_reads_them() {
        let read = |text: &str| {
            let address = Address::parse(text).unwrap();
            (address.base(), address.repository.unwrap_or_default(), address.tags.join(","))
        };
        let place = |base: &str, repository: &str, tag: &str| {
            (base.to_owned(), repository.to_owned(), tag.to_owned())
        };
        for (text, expected) in [
            (
                "registry.example:5000/team/web:v1",
                place("https://registry.example:5000", "team/web", "v1"),
            ),
            ("registry.example", place("https://registry.example", "", "")),
            ("localhost/web", place("http://localhost", "web", "")),
            ("127.0.0.1:5000/web", place("http://127.0.0.1:5000", "web", "")),
            ("[::1]:5000/web:x", place("http://[::1]:5000", "web", "x")),
            ("https://127.0.0.1:5000/web", place("https://127.0.0.1:5000", "web", "")),
            ("http://registry/web", place("http://registry", "web", "")),
            ("docker.io/library/web", place("https://registry-1.docker.io", "library/web", "")),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        for bad in ["team/web", "web", "ftp://a.b/c", "a.b/Team", "a.b/x:bad tag", "user@a.b/x", ""]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_location_counts_from_where_it_was_answered() {
        let url = "https://a.example:1/v2/x/blobs/uploads/?mount=1";
        for (location, expected) in [
            ("https://b.example/y?z", "https://b.example/y?z"),
            ("http://a.example:1/y?z", "https://a.example:1/y?z"),
            ("http://a.example/y?z", "http://a.example/y?z"),
            ("HTTPS://b.example/y", "HTTPS://b.example/y"),
            ("/v2/y?z", "https://a.example:1/v2/y?z"),
            ("/v2/y?z=http://c.example", "https://a.example:1/v2/y?z=http://c.example"),
            ("uuid", "https://a.example:1/v2/x/blobs/uploads/uuid"),
        ] {
            assert_eq!(resolve(url, location), expected);
        }
        assert_eq!(resolve("https://a.example", "y"), "https://a.example/y");
    }
}
