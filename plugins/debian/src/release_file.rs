//! Reading a `Release` file: when the suite was published and which package indices it has.

use sha2::{Digest, Sha256};

/// What matters of one `InRelease` or `Release` file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReleaseFile {
    /// `Date`, in seconds since 1970.
    pub date: Option<i64>,
    /// SHA-256 and path of every uncompressed package index, in the order of the file.
    pub indices: Vec<(String, String)>,
}

impl ReleaseFile {
    /// Reads `text`; what is not understood is left out.
    pub fn parse(text: &str) -> Self {
        let mut release = Self::default();
        let mut in_sha256 = false;
        for line in text.lines() {
            if let Some(entry) = line.strip_prefix(' ') {
                if in_sha256 {
                    release.indices.extend(index_entry(entry));
                }
                continue;
            }
            in_sha256 = line.trim_end() == "SHA256:";
            if let Some(date) = line.strip_prefix("Date:") {
                release.date = jiff::fmt::rfc2822::parse(&date.trim().replace("UTC", "+0000"))
                    .ok()
                    .map(|date| date.timestamp().as_second());
            }
        }
        release
    }

    /// A digest of the package indices of `components` for `arch`. It stays equal while a suite is
    /// merely signed anew.
    pub fn digest(&self, components: &[String], arch: &str) -> String {
        let mut hasher = Sha256::new();
        for (digest, path) in &self.indices {
            let wanted = components.iter().any(|component| index_of(path, component, arch));
            if wanted {
                hasher.update(format!("{digest} {path}\n"));
            }
        }
        hex::encode(hasher.finalize())
    }
}

/// Whether `path` is the package index of `component` for `arch`. Some archives write the paths
/// below `dists/SUITE` with a prefix (`updates/main`).
fn index_of(path: &str, component: &str, arch: &str) -> bool {
    ["all", arch].iter().any(|arch| {
        let wanted = format!("{component}/binary-{arch}/Packages");
        path == wanted || path.ends_with(&format!("/{wanted}"))
    })
}

fn index_entry(line: &str) -> Option<(String, String)> {
    let mut words = line.split_whitespace();
    let (digest, _size, path) = (words.next()?, words.next()?, words.next()?);
    path.ends_with("/Packages").then(|| (digest.to_owned(), path.to_owned()))
}

/// SHA-256 of `text` as hexadecimal digits.
pub fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "-----BEGIN PGP SIGNED MESSAGE-----\nOrigin: Debian\n\
        Date: Sat, 17 May 2025 09:10:11 UTC\nMD5Sum:\n 00 1 main/binary-amd64/Packages\nSHA256:\n \
        aa 10 main/binary-amd64/Packages\n bb 5 main/binary-amd64/Packages.xz\n cc 7 \
        main/binary-arm64/Packages\n dd 7 contrib/binary-amd64/Packages\n";

    #[test]
    fn the_date_and_the_uncompressed_indices_are_read() {
        let release = ReleaseFile::parse(RELEASE);
        assert_eq!(release.date, Some(1_747_473_011));
        let paths: Vec<_> = release.indices.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "main/binary-amd64/Packages",
                "main/binary-arm64/Packages",
                "contrib/binary-amd64/Packages"
            ]
        );
    }

    #[test]
    fn the_digest_follows_the_wanted_indices_only() {
        let main = vec!["main".to_owned()];
        let digest = ReleaseFile::parse(RELEASE).digest(&main, "amd64");
        let signed_anew = RELEASE.replace("09:10:11", "15:10:11");
        assert_eq!(ReleaseFile::parse(&signed_anew).digest(&main, "amd64"), digest);
        let other_component = RELEASE.replace(" dd 7", " de 7");
        assert_eq!(ReleaseFile::parse(&other_component).digest(&main, "amd64"), digest);
        let changed = RELEASE.replace(" aa 10", " ab 10");
        assert_ne!(ReleaseFile::parse(&changed).digest(&main, "amd64"), digest);
    }

    #[test]
    fn paths_with_a_prefix_are_recognised() {
        let text = "SHA256:\n aa 1 updates/main/binary-amd64/Packages\n";
        let main = vec!["main".to_owned()];
        let empty = ReleaseFile::default().digest(&main, "amd64");
        assert_ne!(ReleaseFile::parse(text).digest(&main, "amd64"), empty);
    }
}
