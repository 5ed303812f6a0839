//! What is installed: the package list as plain text, SPDX 2.3 JSON and ICICLE XML.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::release_file::sha256;

/// One installed package, out of dpkg's status file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its architecture.
    pub architecture: String,
    /// The source package, with its version where that differs.
    pub source: String,
    /// Who maintains it.
    pub maintainer: String,
    /// The first line of its description.
    pub summary: String,
    /// Its home page.
    pub homepage: Option<String>,
}

/// Reads the packages that are installed out of the text of `/var/lib/dpkg/status`, sorted by name.
pub fn installed(status: &str) -> Vec<Installed> {
    let mut packages: Vec<_> = status.split("\n\n").filter_map(paragraph).collect();
    packages.sort_by(|a, b| (&a.name, &a.architecture).cmp(&(&b.name, &b.architecture)));
    packages
}

fn paragraph(text: &str) -> Option<Installed> {
    let mut fields = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with([' ', '\t'])) {
        if let Some((name, value)) = line.split_once(':') {
            fields.insert(name, value.trim());
        }
    }
    let field = |name: &str| fields.get(name).map(|&value| value.to_owned());
    if !fields.get("Status")?.ends_with(" installed") {
        return None;
    }
    let name = field("Package")?;
    Some(Installed {
        source: field("Source").unwrap_or_else(|| name.clone()),
        version: field("Version")?,
        architecture: field("Architecture").unwrap_or_default(),
        maintainer: field("Maintainer").unwrap_or_default(),
        summary: field("Description").unwrap_or_default(),
        homepage: field("Homepage"),
        name,
    })
}

/// One package a line: name, version, architecture.
pub fn list(packages: &[Installed]) -> String {
    let line = |package: &Installed| {
        format!("{}\t{}\t{}\n", package.name, package.version, package.architecture)
    };
    packages.iter().map(line).collect()
}

/// An SPDX 2.3 document. `distribution` is the id in package URLs, `epoch` the time of creation.
pub fn spdx(image: &str, distribution: &str, packages: &[Installed], epoch: i64) -> Value {
    let id = |package: &Installed| {
        let clean = |c: char| {
            if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }
        };
        format!("SPDXRef-deb-{}-{}", package.name, package.architecture)
            .chars()
            .map(clean)
            .collect::<String>()
    };
    // `+` is common in package names and not allowed in an identifier; the number keeps it unique.
    let ids: Vec<_> = packages
        .iter()
        .enumerate()
        .map(|(number, package)| format!("{}-{number}", id(package)))
        .collect();
    let described: Vec<_> = packages
        .iter()
        .zip(&ids)
        .map(|(package, id)| {
            let mut entry = json!({
                "name": package.name,
                "SPDXID": id,
                "versionInfo": package.version,
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": false,
                "licenseConcluded": "NOASSERTION",
                "licenseDeclared": "NOASSERTION",
                "copyrightText": "NOASSERTION",
                "supplier": format!("Organization: {}", package.maintainer),
                "sourceInfo": format!("built package from: {}", package.source),
                "summary": package.summary,
                "externalRefs": [{
                    "referenceCategory": "PACKAGE-MANAGER",
                    "referenceType": "purl",
                    "referenceLocator": purl(distribution, package),
                }],
            });
            if let Some(homepage) = &package.homepage {
                entry["homepage"] = json!(homepage);
            }
            entry
        })
        .collect();
    let contents = sha256(&list(packages));
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": image,
        "documentNamespace": format!("urn:imageforge:spdx:{contents}"),
        "creationInfo": {
            "created": jiff::Timestamp::from_second(epoch).unwrap_or_default().to_string(),
            "creators": [concat!("Tool: imageforge-debian-", env!("CARGO_PKG_VERSION"))],
        },
        "documentDescribes": ids,
        "packages": described,
    })
}

/// The package URL (purl) of a Debian package.
fn purl(distribution: &str, package: &Installed) -> String {
    let (name, version) = (percent(&package.name), percent(&package.version));
    format!("pkg:deb/{distribution}/{name}@{version}?arch={}", package.architecture)
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b if b.is_ascii_alphanumeric() || b".-_~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

/// ICICLE, as ImageFactory and Oz write it; `extra` is what the template's `icicle/extra_command` says
/// of a package.
pub fn icicle(
    description: &str,
    packages: &[Installed],
    extra: &BTreeMap<String, String>,
) -> String {
    let mut text = String::from("<?xml version=\"1.0\"?>\n<icicle>\n  <packages>\n");
    for package in packages {
        let name = escaped(&package.name);
        match extra.get(&package.name) {
            Some(extra) => {
                let extra = escaped(extra.trim_end());
                text.push_str(
                    &["    <package name=\"", &name, "\"><extra>", &extra, "</extra></package>\n"]
                        .concat(),
                );
            },
            None => text.push_str(&["    <package name=\"", &name, "\"/>\n"].concat()),
        }
    }
    let description = escaped(description);
    text.push_str(
        &["  </packages>\n  <description>", &description, "</description>\n</icicle>\n"].concat(),
    );
    text
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML 1.0 has no way to write other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => {},
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Package: zlib1g\nStatus: install ok installed\nMaintainer: A <a@x.example>\n\
        Architecture: amd64\nSource: zlib (1:1.2)\nVersion: 1:1.2.13.dfsg-1\nDescription: compression\n more\n\n\
        Package: old\nStatus: deinstall ok config-files\nVersion: 1\n\n\
        Package: libstdc++6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 12.2.0-14\n";

    #[test]
    fn only_installed_packages_are_listed_sorted_by_name() {
        let packages = installed(STATUS);
        assert_eq!(
            list(&packages),
            "libstdc++6\t12.2.0-14\tamd64\nzlib1g\t1:1.2.13.dfsg-1\tamd64\n"
        );
        assert_eq!(packages[1].source, "zlib (1:1.2)");
    }

    #[test]
    fn the_spdx_document_names_each_package_by_its_url() {
        let document = spdx("web", "debian", &installed(STATUS), 1_700_000_000);
        assert_eq!(document["spdxVersion"], "SPDX-2.3");
        assert_eq!(document["creationInfo"]["created"], "2023-11-14T22:13:20Z");
        let package = &document["packages"][0];
        assert_eq!(package["SPDXID"], "SPDXRef-deb-libstdc--6-amd64-0");
        assert_eq!(
            package["externalRefs"][0]["referenceLocator"],
            "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64"
        );
        assert_eq!(document["documentDescribes"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn icicle_holds_the_extra_text_escaped() {
        let extra = BTreeMap::from([("zlib1g".to_owned(), "a < b & \"c\"\n".to_owned())]);
        let text = icicle("<web>", &installed(STATUS), &extra);
        assert!(text.contains("<package name=\"libstdc++6\"/>"));
        assert!(text.contains(
            "<package name=\"zlib1g\"><extra>a &lt; b &amp; &quot;c&quot;</extra></package>"
        ));
        assert!(text.contains("<description>&lt;web&gt;</description>"));
    }
}
