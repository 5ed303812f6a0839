//! Where images go, and what they are like there: the provider as a user writes it.
//!
//! It is the name of a cloud in a `clouds.yaml`, the URL of Glance, a JSON object, or upstream's XML
//! element with attributes; the last two have the same keys.

use std::net::Ipv6Addr;

use plugin_api::DelegateError;
use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::xml;

/// The port of Glance where none is given.
const GLANCE_PORT: u64 = 9292;

/// Who may see an image.
const VISIBILITIES: [&str; 4] = ["private", "shared", "community", "public"];
/// Containers that Glance knows.
const CONTAINERS: [&str; 7] = ["bare", "ovf", "ova", "aki", "ari", "ami", "docker"];

/// A provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Provider {
    /// The cloud in `clouds.yaml`, or a name that is only a name.
    pub(crate) cloud: Option<String>,
    /// Base URL of the image API, in place of the one of the service catalogue.
    pub(crate) image_endpoint: Option<String>,
    /// Base URL of the compute API, likewise.
    pub(crate) compute_endpoint: Option<String>,
    /// The region, in place of that of the credentials.
    pub(crate) region: Option<String>,
    /// `public`, `internal` or `admin`, in place of that of the credentials.
    pub(crate) interface: Option<String>,
    /// `none` where the image API knows no users.
    pub(crate) auth_type: Option<String>,
    /// Certificates of authorities, or the path of a file of them.
    pub(crate) cacert: Option<String>,
    /// Whether certificates are believed without a look.
    pub(crate) insecure: Option<bool>,
    /// What images are like.
    pub(crate) image: ImageOptions,
    /// What snapshots are made with.
    pub(crate) flavor: Option<String>,
    /// The network of servers that are started for snapshots.
    pub(crate) network: Option<String>,
}

/// What images are like at a provider.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ImageOptions {
    /// Its name there; that of the template by default.
    pub(crate) name: Option<String>,
    /// Who may see it.
    pub(crate) visibility: Option<String>,
    /// The format around the disk format.
    pub(crate) container_format: Option<String>,
    /// Smallest disk that it starts on, in GiB.
    pub(crate) min_disk: Option<u64>,
    /// Least memory that it starts with, in MiB.
    pub(crate) min_ram: Option<u64>,
    /// Whether it is protected from being deleted.
    pub(crate) protected: Option<bool>,
    /// Words to find it by.
    pub(crate) tags: Option<Vec<String>>,
    /// What Nova and others want to know about it.
    pub(crate) properties: Map<String, Value>,
}

impl Provider {
    /// Reads a provider, and says everything that is wrong with it.
    pub(crate) fn read(text: &str, problems: &mut Vec<DelegateError>) -> Self {
        let text = text.trim();
        let values = match text.chars().next() {
            None => {
                problems.push(
                    DelegateError::invalid_input("the provider is empty")
                        .hint("give the name of a cloud, the URL of its image service, or JSON"),
                );
                return Self::default();
            },
            Some('{') => match serde_json::from_str(text) {
                Ok(values) => values,
                Err(error) => {
                    let unreadable = DelegateError::invalid_input("the provider is no JSON object");
                    problems.push(unreadable.caused_by(error));
                    return Self::default();
                },
            },
            Some('<') => match xml::attributes(text) {
                Ok(values) => values,
                Err(error) => {
                    problems.push(error);
                    return Self::default();
                },
            },
            Some(_) if text.contains("://") => {
                Map::from_iter([("image_endpoint".to_owned(), text.into())])
            },
            Some(_) => return Self { cloud: Some(text.to_owned()), ..Self::default() },
        };
        Self::from_fields(Fields::new("provider", values, problems))
    }

    fn from_fields(mut fields: Fields<'_>) -> Self {
        let host = fields.text(&["glance-host", "glance_host"]);
        let port = fields.number(&["glance-port", "glance_port"]);
        let image_endpoint = url(&mut fields, &["image_endpoint", "endpoint", "url"]);
        let image_endpoint = match (image_endpoint, host) {
            (Some(_), Some(_)) => {
                fields.problem("glance-host", "names what `image_endpoint` names too");
                None
            },
            (None, Some(host)) => glance_url(&mut fields, &host, port),
            (endpoint, None) => {
                if port.is_some() {
                    fields.problem("glance-port", "is of no use without `glance-host`");
                }
                endpoint
            },
        };
        let provider = Self {
            cloud: fields.text(&["cloud"]),
            image_endpoint,
            compute_endpoint: url(&mut fields, &["compute_endpoint"]),
            region: fields.text(&["region", "region_name"]),
            interface: fields
                .choice(&["interface", "endpoint_type"], &["public", "internal", "admin"])
                .map(str::to_owned),
            auth_type: fields.choice(&["auth_type", "strategy"], &["none"]).map(str::to_owned),
            cacert: fields.text(&["cacert"]),
            insecure: fields.truth(&["insecure"]),
            image: ImageOptions::take(&mut fields),
            flavor: fields.text(&["flavor"]),
            network: fields.text(&["network"]),
        };
        fields.finish();
        provider
    }
}

impl ImageOptions {
    /// Takes what is said about images.
    pub(crate) fn take(fields: &mut Fields<'_>) -> Self {
        let is_public = fields.truth(&["is_public", "is-public"]);
        let visibility = fields.choice(&["visibility"], &VISIBILITIES);
        if visibility.is_some() && is_public.is_some() {
            fields.problem("is_public", "says what `visibility` says too");
        }
        let by_upstream = is_public.map(|is_public| if is_public { "public" } else { "private" });
        Self {
            name: fields.text(&["name"]),
            visibility: visibility.or(by_upstream).map(str::to_owned),
            container_format: fields
                .choice(&["container_format", "container-format"], &CONTAINERS)
                .map(str::to_owned),
            min_disk: fields.number(&["min_disk", "min-disk"]),
            min_ram: fields.number(&["min_ram", "min-ram"]),
            protected: fields.truth(&["protected"]),
            tags: fields.texts(&["tags"]),
            properties: fields.properties(&["properties"]),
        }
    }

    /// These options where they say something, else those of `other`; properties of both.
    pub(crate) fn or(self, other: Self) -> Self {
        let mut properties = other.properties;
        properties.extend(self.properties);
        Self {
            name: self.name.or(other.name),
            visibility: self.visibility.or(other.visibility),
            container_format: self.container_format.or(other.container_format),
            min_disk: self.min_disk.or(other.min_disk),
            min_ram: self.min_ram.or(other.min_ram),
            protected: self.protected.or(other.protected),
            tags: self.tags.or(other.tags),
            properties,
        }
    }
}

/// Upstream's way to say where Glance is.
fn glance_url(fields: &mut Fields<'_>, host: &str, port: Option<u64>) -> Option<String> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = match bare.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) if host.chars().all(|c| c.is_alphanumeric() || "-._".contains(c)) => host.to_owned(),
        Err(_) => {
            fields.problem("glance-host", "is neither the name nor the address of a host alone");
            return None;
        },
    };
    let Ok(port) = u16::try_from(port.unwrap_or(GLANCE_PORT)) else {
        fields.problem("glance-port", "is no port");
        return None;
    };
    Some(format!("http://{host}:{port}"))
}

/// A base URL, without what callers add to it.
pub(crate) fn url(fields: &mut Fields<'_>, names: &[&'static str]) -> Option<String> {
    let (name, url) = fields.named_text(names)?;
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let wrong = match rest {
        None => "is no URL that begins with `http://` or `https://`",
        Some(rest) if rest.is_empty() || rest.starts_with(['/', ':']) => "names no host",
        Some(rest) if rest.contains(['@', '?', '#']) => "holds more than a host, a port and a path",
        Some(_) => return Some(url.trim_end_matches('/').to_owned()),
    };
    fields.problem(name, wrong);
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Provider {
        let mut problems = Vec::new();
        let provider = Provider::read(text, &mut problems);
        assert_eq!(problems, []);
        provider
    }

    fn refused(text: &str) -> Vec<String> {
        let mut problems = Vec::new();
        Provider::read(text, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_form_names_the_same_place() {
        let wanted = Some("http://glance.example:9292".to_owned());
        for text in [
            "http://glance.example:9292/",
            r#"{"glance-host": "glance.example"}"#,
            r#"{"image_endpoint": "http://glance.example:9292"}"#,
            r#"<provider glance-host="glance.example" glance-port="9292"/>"#,
        ] {
            assert_eq!(read(text).image_endpoint, wanted, "{text}");
        }
        assert_eq!(read(" prod ").cloud.as_deref(), Some("prod"));
        for host in ["::1", "[::1]"] {
            let provider = json!({ "glance-host": host, "glance-port": "80" }).to_string();
            assert_eq!(read(&provider).image_endpoint.as_deref(), Some("http://[::1]:80"));
        }
    }

    #[test]
    fn upstream_s_keys_and_ours_describe_the_image() {
        let old = read(
            r#"<p glance-host="a" is_public="yes" min_disk="5" min_ram="512" container_format="bare"/>"#,
        );
        let new = read(
            r#"{"glance-host": "a", "visibility": "public", "min_disk": 5, "min_ram": 512, "container_format": "bare"}"#,
        );
        assert_eq!(old, new);
        let image = read(r#"{"cloud": "a", "properties": {"hw_disk_bus": "scsi", "os_type": "linux"}, "tags": ["x"]}"#).image;
        assert_eq!(
            Value::Object(image.properties),
            json!({"hw_disk_bus": "scsi", "os_type": "linux"})
        );
        assert_eq!(image.tags, Some(vec!["x".to_owned()]));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let problems = refused(
            r#"{"glance-hots": "a", "visibility": "everyone", "min_disk": "big", "image_endpoint": "ftp://a", "properties": 1}"#,
        );
        assert_eq!(problems.len(), 5, "{problems:?}");
        assert_eq!(refused("").len(), 1);
        assert_eq!(refused("{").len(), 1);
        assert_eq!(refused("<").len(), 1);
        assert_eq!(refused(r#"{"visibility": "public", "is_public": true}"#).len(), 1);
        for url in ["http://ada:secret@a", "http://", "https:///v2", "http://:80", "http://a#b"] {
            assert_eq!(refused(url).len(), 1, "{url}");
        }
        for host in ["http://a", "a:9292", "a/v2", "[a]", "ada@a", "a b"] {
            let problems = refused(&json!({ "glance-host": host }).to_string());
            assert_eq!(problems.len(), 1, "{host}: {problems:?}");
            assert!(problems[0].contains("`glance-host`"), "{problems:?}");
        }
        assert_eq!(refused(r#"{"glance-host": "a", "glance-port": 65536}"#).len(), 1);
        assert_eq!(refused(r#"{"cloud": "a", "glance-port": 9292}"#).len(), 1);
    }
}
