//! Disk sizes as templates write them.

/// A size and whether it had to be capped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSize {
    /// Size in bytes.
    pub bytes: u64,
    /// True when the size that was written does not fit and `bytes` is [`u64::MAX`].
    pub capped: bool,
}

/// Parses a disk size: digits, blanks, an optional unit, in any case.
///
/// `kB`, `MB`, … `YB` are powers of 1000 and `KiB`, `MiB`, … `YiB` powers of 1024, `B` is bytes.
/// As in Oz, a bare number counts GiB, and `G` and `T` mean GiB and TiB.
pub fn parse_disk_size(text: &str) -> Option<DiskSize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return None;
    }
    let factor = factor(unit.trim_start_matches(' '))?;
    // More digits than u128 holds is more than any disk, zeros aside.
    let significant = number.trim_start_matches('0');
    let number: u128 =
        if significant.is_empty() { 0 } else { significant.parse().unwrap_or(u128::MAX) };
    let bytes = number.saturating_mul(factor);
    Some(match u64::try_from(bytes) {
        Ok(bytes) => DiskSize { bytes, capped: false },
        Err(_) => DiskSize { bytes: u64::MAX, capped: true },
    })
}

fn factor(unit: &str) -> Option<u128> {
    let unit = unit.to_ascii_lowercase();
    match unit.as_str() {
        "" | "g" => return Some(1 << 30),
        "t" => return Some(1 << 40),
        "b" => return Some(1),
        _ => {},
    }
    let (base, prefix): (u128, &str) = match unit.strip_suffix("ib") {
        Some(prefix) => (1024, prefix),
        None => (1000, unit.strip_suffix('b')?),
    };
    let power =
        ["k", "m", "g", "t", "p", "e", "z", "y"].iter().position(|known| *known == prefix)?;
    base.checked_pow(u32::try_from(power).ok()? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Option<u64> {
        parse_disk_size(text).map(|size| size.bytes)
    }

    #[test]
    fn a_bare_number_counts_gib() {
        assert_eq!(bytes("10"), Some(10 << 30));
        assert_eq!(bytes("10 G"), Some(10 << 30));
        assert_eq!(bytes("2t"), Some(2 << 40));
    }

    #[test]
    fn decimal_and_binary_units_differ() {
        assert_eq!(bytes("4 GB"), Some(4_000_000_000));
        assert_eq!(bytes("4 GiB"), Some(4 << 30));
        assert_eq!(bytes("512mib"), Some(512 << 20));
        assert_eq!(bytes("1 EiB"), Some(1 << 60));
        assert_eq!(bytes("123B"), Some(123));
    }

    #[test]
    fn what_is_not_a_size_is_refused() {
        for text in ["", " ", "T10", "10 K", "10 M", "10 GBs", "1.5G", "-1", " 10", "10\n", "10 iB"]
        {
            assert_eq!(parse_disk_size(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_size_that_does_not_fit_is_capped_and_says_so() {
        let size = parse_disk_size("10ZB").unwrap();
        assert!(size.capped);
        assert_eq!(size.bytes, u64::MAX);
        assert!(parse_disk_size(&"9".repeat(400)).unwrap().capped);
        assert_eq!(bytes(&format!("{}7 b", "0".repeat(400))), Some(7));
    }
}
