//! What a user may write as provider: a line, or an object.

use camino::Utf8PathBuf;
use plugin_api::DelegateError;
use serde::Deserialize;

use super::Provider;
use super::registry::Address;
use crate::settings::check_tag;

pub(super) const FORMS: &str = "write `registry.example/team/name[:tag]`, `oci:/folder[:tag]`, `docker-archive:/file.tar`, or an object with `registry`, `layout` or `docker_archive`";

/// One object for all places; which of its keys go together is checked below.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    registry: Option<String>,
    layout: Option<Utf8PathBuf>,
    docker_archive: Option<Utf8PathBuf>,
    tag: Option<String>,
    tags: Option<Vec<String>>,
    repository: Option<String>,
    #[serde(alias = "cacert")]
    ca: Option<String>,
    insecure: Option<bool>,
    plain_http: Option<bool>,
    mount_from: Option<String>,
}

impl Provider {
    /// Reads one of the forms.
    ///
    /// # Errors
    /// `InvalidInput`.
    pub(super) fn parse(text: &str) -> Result<Self, DelegateError> {
        let text = text.trim();
        if text.starts_with('{') {
            let written = serde_json::from_str(text).map_err(|error| {
                let unread = DelegateError::invalid_input("the provider cannot be read");
                unread.caused_by(error).hint(FORMS)
            })?;
            return Self::of_object(written);
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            let (path, tag) = match rest.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') => (path, Some(tag.to_owned())),
                _ => (rest, None),
            };
            return Self::layout(path.into(), tag);
        }
        if let Some(path) = text.strip_prefix("docker-archive:") {
            return Self::saved(path.into());
        }
        Ok(Self::Registry(Box::new(Address::parse(text)?)))
    }

    fn of_object(written: Written) -> Result<Self, DelegateError> {
        let plain = written.tags.is_none()
            && written.repository.is_none()
            && written.ca.is_none()
            && written.insecure.is_none()
            && written.plain_http.is_none()
            && written.mount_from.is_none();
        match written {
            Written { registry: Some(_), layout: None, docker_archive: None, .. } => {
                Self::registry(written)
            },
            Written { registry: None, layout: Some(path), docker_archive: None, tag, .. }
                if plain =>
            {
                Self::layout(path, tag)
            },
            Written {
                registry: None, layout: None, docker_archive: Some(path), tag: None, ..
            } if plain => Self::saved(path),
            _ => Err(DelegateError::invalid_input(
                "the provider names no place, several, or what is not of its place",
            )
            .hint(FORMS)),
        }
    }

    fn registry(written: Written) -> Result<Self, DelegateError> {
        let mut address = Address::parse(&written.registry.unwrap_or_default())?;
        address.repository = written.repository.or(address.repository);
        let tags: Vec<String> =
            written.tags.unwrap_or_default().into_iter().chain(written.tag).collect();
        if !tags.is_empty() {
            address.tags = tags;
        }
        address.authorities = written.ca;
        address.insecure = written.insecure.unwrap_or(false);
        address.plain_http = written.plain_http.unwrap_or(address.plain_http);
        address.mount_from = written.mount_from;
        address.check()?;
        Ok(Self::Registry(Box::new(address)))
    }

    fn layout(path: Utf8PathBuf, tag: Option<String>) -> Result<Self, DelegateError> {
        tag.as_deref().map_or(Ok(()), check_tag)?;
        let end = tag.as_ref().map_or(String::new(), |tag| format!(":{tag}"));
        Ok(Self::Layout { path: absolute(path, "oci:", &end)?, tag })
    }

    fn saved(path: Utf8PathBuf) -> Result<Self, DelegateError> {
        Ok(Self::Saved { path: absolute(path, "docker-archive:", "")? })
    }
}

/// The build does not run where the user is.
fn absolute(path: Utf8PathBuf, before: &str, after: &str) -> Result<Utf8PathBuf, DelegateError> {
    if path.is_absolute() && path.file_name().is_some() {
        return Ok(path);
    }
    let hint = match path.file_name() {
        None if path.is_absolute() => "name something below it".to_owned(),
        None => FORMS.to_owned(),
        Some(_) => {
            format!("write the whole path; a shell does so for `{before}$PWD/{path}{after}`")
        },
    };
    let wrong = format!("provider `{path}`: expected a path from the root on");
    Err(DelegateError::invalid_input(wrong).hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_says_what_a_line_cannot() {
        let text = r#"{"registry": "https://registry.example", "repository": "team/web",
            "tags": ["v1", "latest"], "ca": "/ca.pem", "mount_from": "team/base"}"#;
        let Provider::Registry(address) = Provider::parse(text).unwrap() else {
            unreachable!("a registry")
        };
        assert_eq!(address.repository.as_deref(), Some("team/web"));
        assert_eq!(address.tags, ["v1", "latest"]);
        assert_eq!(address.authorities.as_deref(), Some("/ca.pem"));
        assert_eq!(address.mount_from.as_deref(), Some("team/base"));
        assert!(!address.plain_http && !address.insecure);
    }

    #[test]
    fn a_relative_path_is_refused_with_what_to_write_instead() {
        for (text, told) in [
            ("oci:images/web:v1", "`oci:$PWD/images/web:v1`"),
            ("docker-archive:web.tar", "`docker-archive:$PWD/web.tar`"),
            (r#"{"layout": "images/web"}"#, "`oci:$PWD/images/web`"),
            (r#"{"docker_archive": "web.tar"}"#, "`docker-archive:$PWD/web.tar`"),
            ("oci:/", "below"),
            ("oci:", "oci:/folder"),
        ] {
            let error = Provider::parse(text).unwrap_err();
            assert!(error.hints().iter().any(|hint| hint.contains(told)), "{text}: {error:?}");
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for text in [
            "{}",
            r#"{"layout": "/x", "registry": "a.b"}"#,
            r#"{"layout": "/x", "insecure": true}"#,
            r#"{"docker_archive": "/x", "tag": "y"}"#,
            r#"{"registry": "a.b", "repositry": "x"}"#,
            r#"{"registry": "a.b", "tags": ["a b"]}"#,
        ] {
            assert!(Provider::parse(text).is_err(), "{text}");
        }
    }
}
