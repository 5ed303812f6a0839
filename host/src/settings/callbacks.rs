//! The table `[serve.callbacks]`: how receivers are told, and which may be.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de};

pub(super) const KEYS: [&str; 4] = ["timeout_seconds", "attempts", "secret", "allow"];

/// Addresses at which clouds hand out credentials to whoever asks from inside, besides link-local ones:
/// Alibaba Cloud, Azure, and AWS over IPv6.
const METADATA: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// How receivers are told of changes. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct CallbackSettings {
    /// Time that a receiver has to answer, in seconds.
    pub timeout_seconds: u64,
    /// How often one change is sent at most.
    pub attempts: u32,
    /// What messages are signed with; without one they are not.
    pub secret: Option<String>,
    /// Receivers that may be told; everybody when it is empty.
    pub allow: Vec<Allowed>,
}

impl Default for CallbackSettings {
    fn default() -> Self {
        Self { timeout_seconds: 10, attempts: 12, secret: None, allow: Vec::new() }
    }
}

impl fmt::Debug for CallbackSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackSettings")
            .field("timeout_seconds", &self.timeout_seconds)
            .field("attempts", &self.attempts)
            .field("is_signed", &self.secret.is_some())
            .field("allow", &self.allow)
            .finish()
    }
}

/// Receivers that may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// One host.
    Host(String),
    /// All hosts below a domain: `*.example.org`.
    Below(String),
    /// All addresses of a network.
    Network(IpNet),
}

impl FromStr for Allowed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        let (domain, is_below) = match text.strip_prefix("*.") {
            Some(domain) => (domain, true),
            None => (text, false),
        };
        let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if domain.is_empty() || !domain.chars().all(of_name) {
            return Err(
                "expected a host, `*.` and a domain, an address, or a network such as `10.0.0.0/8`",
            );
        }
        let domain = domain.to_ascii_lowercase();
        Ok(if is_below { Self::Below(domain) } else { Self::Host(domain) })
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl CallbackSettings {
    /// Whether the receiver `host` may be told at `address`. Addresses that nobody receives anything
    /// at, and those of metadata services, never may.
    pub fn allows(&self, host: &str, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if is_never_allowed(address) {
            return false;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.allow.is_empty()
            || self.allow.iter().any(|allowed| match allowed {
                Allowed::Host(name) => *name == host,
                Allowed::Below(domain) => {
                    host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
                },
                Allowed::Network(network) => network.contains(&address),
            })
    }
}

fn is_never_allowed(address: IpAddr) -> bool {
    let is_special = match address {
        IpAddr::V4(address) => {
            address.is_link_local() || address.is_broadcast() || address.octets()[0] == 0
        },
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    is_special || address.is_unspecified() || address.is_multicast() || METADATA.contains(&address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allow: &[&str], host: &str, address: &str) -> bool {
        let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        let settings = CallbackSettings { allow, ..CallbackSettings::default() };
        settings.allows(host, address.parse().unwrap())
    }

    #[test]
    fn metadata_services_are_never_told_whatever_the_list_says() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "100.100.100.200",
            "0.0.0.0",
            "::",
        ] {
            assert!(!allows(&[], "hooks", address), "{address}");
            assert!(!allows(&["0.0.0.0/0", "::/0", "hooks"], "hooks", address), "{address}");
        }
    }

    #[test]
    fn without_a_list_everybody_else_is_told_and_with_one_only_who_is_in_it() {
        assert!(allows(&[], "hooks", "127.0.0.1") && allows(&[], "hooks", "2001:db8::1"));
        let list = ["ci.example.org", "*.hooks.example.org", "10.1.0.0/16", "::1"];
        for (host, address) in [
            ("CI.example.org.", "192.0.2.1"),
            ("a.b.hooks.example.org", "192.0.2.1"),
            ("anything", "10.1.2.3"),
            ("anything", "::ffff:10.1.2.3"),
            ("anything", "::1"),
        ] {
            assert!(allows(&list, host, address), "{host} {address}");
        }
        for host in ["hooks.example.org", "evilhooks.example.org", "example.org", "xci.example.org"]
        {
            assert!(!allows(&list, host, "192.0.2.1"), "{host}");
        }
        assert!(!allows(&list, "anything", "10.2.0.1"));
    }

    #[test]
    fn an_entry_that_is_no_receiver_is_refused() {
        for text in ["", "*.", "http://x", "10.0.0.0/40", "a b"] {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
    }
}
