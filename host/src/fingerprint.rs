//! What people compare certificates by.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate's DER form, shown as `SHA256:` and hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no fingerprint of a certificate")]
pub struct NoFingerprint(pub String);

impl Fingerprint {
    /// That of a certificate in DER form.
    pub fn of(certificate: &[u8]) -> Self {
        Self(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", hex::encode(self.0))
    }
}

/// `SHA256:` and 64 hexadecimal digits of any case, colons between them or not.
impl FromStr for Fingerprint {
    type Err = NoFingerprint;

    fn from_str(text: &str) -> Result<Self, NoFingerprint> {
        let digits = text.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("sha256"));
        let mut bytes = [0; 32];
        let read = digits
            .map(|(_, digits)| hex::decode_to_slice(digits.replace(':', ""), &mut bytes).is_ok());
        match read {
            Some(true) => Ok(Self(bytes)),
            _ => Err(NoFingerprint(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_in_every_usual_form() {
        let plain = format!("SHA256:{}", "0aF1".repeat(16));
        let digits: Vec<&str> = ["0A", "f1"].into_iter().cycle().take(32).collect();
        let with_colons = format!("sha256:{}", digits.join(":"));
        let fingerprint: Fingerprint = plain.parse().unwrap();
        assert_eq!(fingerprint, with_colons.parse().unwrap());
        assert_eq!(fingerprint.to_string(), plain.replace('F', "f"));
        for wrong in ["", "SHA256:", "SHA1:0af1", &plain[..70], &plain[7..], &format!("{plain}0a")]
        {
            assert!(wrong.parse::<Fingerprint>().is_err(), "{wrong}");
        }
    }
}
