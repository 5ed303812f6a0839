//! Saying what a failed program of the packaging world means.

use plugin_api::{DelegateError, DelegateErrorKind};

/// What apt, dpkg and mmdebstrap write when something known went wrong, whose fault that is, and
/// what helps.
const KNOWN: &[(&[&str], DelegateErrorKind, &str)] = &[
    (
        &[
            "Could not resolve",
            "Temporary failure resolving",
            "Could not connect",
            "Connection refused",
            "Connection timed out",
            "Network is unreachable",
            "Connection failed",
        ],
        DelegateErrorKind::Unavailable,
        "the mirror cannot be reached: check the network and apt's proxy, or name another one with the parameter `mirror`",
    ),
    (
        &["does not have a Release file", "no longer has a Release file"],
        DelegateErrorKind::InvalidInput,
        "the mirror does not carry this suite: check the version, or the parameters `suite` and `mirror`; \
         old releases need a mirror that still has them, and perhaps `security=false` and `updates=false`",
    ),
    (
        &[
            "NO_PUBKEY",
            "EXPKEYSIG",
            "is not signed",
            "public key is not available",
            "The key(s) in the keyring",
        ],
        DelegateErrorKind::InvalidInput,
        "the archive is not signed by the keyring: name the right one with the parameter `keyring`, or give the repository its key",
    ),
    (
        &[
            "Unable to locate package",
            "has no installation candidate",
            "Couldn't find any package",
            "E: Version '",
        ],
        DelegateErrorKind::InvalidInput,
        "check the spelling of the package, the `components` (main, contrib, non-free) and the suite",
    ),
    (
        &["unmet dependencies", "held broken packages"],
        DelegateErrorKind::InvalidInput,
        "these packages cannot be installed together from this archive",
    ),
    (
        &["No space left on device"],
        DelegateErrorKind::Failed,
        "free space in the data directory, or name another one with `--data-dir`",
    ),
    (
        &["Exec format error"],
        DelegateErrorKind::MissingRequirement,
        "this machine cannot run programs of that architecture: install `qemu-user-static` and `binfmt-support`",
    ),
    (
        &[
            "404  Not Found",
            "Hash Sum mismatch",
            "File has unexpected size",
            "Mirror sync in progress",
        ],
        DelegateErrorKind::Unavailable,
        "the mirror is changing or incomplete: try again in a few minutes",
    ),
];

/// The error of a program, told from the user's side: `what` did not work, and why as far as its
/// output says.
pub fn explain(error: DelegateError, what: &str) -> DelegateError {
    match error.kind() {
        // Which program it was that the user ended does not matter.
        DelegateErrorKind::Cancelled => {
            return DelegateError::cancelled("the build was cancelled");
        },
        DelegateErrorKind::MissingRequirement => return error,
        _ => {},
    }
    let mut text = error.to_string();
    for cause in error.causes() {
        text.push('\n');
        text.push_str(cause);
    }
    let known = KNOWN.iter().find(|(signs, ..)| signs.iter().any(|sign| text.contains(sign)));
    let (kind, hint) = known.map_or((error.kind(), None), |(_, kind, hint)| (*kind, Some(*hint)));
    let mut told = DelegateError::new(kind, what.to_owned()).because(error.message());
    for cause in error.causes() {
        told = told.because(cause);
    }
    for more in error.hints().iter().map(String::as_str).chain(hint) {
        told = told.hint(more);
    }
    told
}

/// What dpkg writes about a package file that is not what it was.
const DAMAGED: &[&str] = &[
    "not a Debian format archive",
    "unexpected end of file",
    "lzma error",
    "compressed data is corrupt",
    "has premature member",
    "corrupted package archive",
    "archive has no newlines in header",
    "is corrupt",
];

/// Whether a program failed because a package file is damaged.
pub fn is_damaged_package(error: &DelegateError) -> bool {
    let damaged = |text: &str| DAMAGED.iter().any(|sign| text.contains(sign));
    damaged(error.message()) || error.causes().iter().any(|cause| damaged(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_package_is_told_from_other_failures() {
        let dpkg = DelegateError::failed("`mmdebstrap` ended with exit code 25").because(
            "dpkg-deb: error: <decompress> subprocess: lzma error: compressed data is corrupt",
        );
        assert!(is_damaged_package(&dpkg));
        assert!(!is_damaged_package(&DelegateError::failed("unmet dependencies")));
    }

    #[test]
    fn a_known_message_becomes_a_kind_and_a_hint() {
        let raw = DelegateError::failed("`apt-get update` ended with exit code 100").because(
            "E: The repository 'http://m.example/debian nix Release' does not have a Release file.",
        );
        let told = explain(raw, "cannot read the package archive");
        assert_eq!(told.kind(), DelegateErrorKind::InvalidInput);
        assert_eq!(told.to_string(), "cannot read the package archive");
        assert_eq!(told.causes().len(), 2);
        assert!(told.hints()[0].contains("`suite`"));
    }

    #[test]
    fn an_unknown_message_keeps_its_kind_and_causes() {
        let told = explain(DelegateError::failed("odd"), "could not install packages");
        assert_eq!(told.kind(), DelegateErrorKind::Failed);
        assert_eq!(told.causes(), ["odd"]);
        assert!(told.hints().is_empty());
    }

    #[test]
    fn a_cancelled_build_stays_cancelled() {
        let told = explain(DelegateError::cancelled("the build was cancelled"), "anything");
        assert_eq!(told.kind(), DelegateErrorKind::Cancelled);
    }
}
