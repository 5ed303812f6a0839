//! Sizes as people write them.

/// The bytes that `text` says: a whole number with an optional unit, `512 MiB`, `8G`, `2 TB`.
///
/// The rules are those of TDL: `M`, `G` and `T` alone and with `iB` are binary, with `B` decimal, and
/// a bare number counts GiB.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let factor = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "" | "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn units_are_binary_unless_they_say_otherwise() {
        assert_eq!(parse_size("8"), Some(8 << 30));
        assert_eq!(parse_size("512 MiB"), Some(512 << 20));
        assert_eq!(parse_size("2g"), Some(2 << 30));
        assert_eq!(parse_size("1 TB"), Some(1_000_000_000_000));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "G", "-1", "1.5G", "1 Q", "99999999999999 T"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }
}
