//! The two names of a file: up to eight and three characters for firmware, and the long one.

/// A directory entry has 32 bytes.
pub(super) const ENTRY: usize = 32;
/// UTF-16 units of a long name in one entry, and where they stand in it.
const UNITS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// Whether FAT allows this long name.
pub(super) fn is_valid(name: &str) -> bool {
    let forbidden = |c: char| c < ' ' || "\"*/:<>?\\|\u{7f}".contains(c);
    !matches!(name, "" | "." | "..")
        && !name.ends_with(['.', ' '])
        && name.encode_utf16().count() <= 255
        && !name.contains(forbidden)
}

/// The short name of `name` that is not in `taken`, padded with spaces to 8 + 3 bytes.
pub(super) fn short_name(name: &str, taken: &[[u8; 11]]) -> [u8; 11] {
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, extension),
        _ => (name, ""),
    };
    let clean = |part: &str| -> Vec<u8> {
        let short = |c: char| match c.to_ascii_uppercase() {
            c if c.is_ascii_alphanumeric() || "!#$%&'()-@^_`{}~".contains(c) => Some(c as u8),
            ' ' | '.' => None,
            _ => Some(b'_'),
        };
        part.chars().filter_map(short).collect()
    };
    let (stem_short, extension_short) = (clean(stem), clean(extension));
    let whole = stem_short.len() == stem.len() && extension_short.len() == extension.len();
    let padded = |stem: &[u8]| {
        let mut padded = [b' '; 11];
        let extension = &extension_short[..extension_short.len().min(3)];
        padded[..stem.len()].copy_from_slice(stem);
        padded[8..8 + extension.len()].copy_from_slice(extension);
        padded
    };
    if whole && stem_short.len() <= 8 && extension_short.len() <= 3 {
        let short = padded(&stem_short);
        if !taken.contains(&short) {
            return short;
        }
    }
    let mut number = 1_u32;
    loop {
        let suffix = format!("~{number}");
        let room = 8_usize.saturating_sub(suffix.len());
        let mut stem = stem_short[..stem_short.len().min(room)].to_vec();
        stem.extend_from_slice(&suffix.as_bytes()[..suffix.len().min(8)]);
        let short = padded(&stem);
        if !taken.contains(&short) {
            return short;
        }
        number += 1;
    }
}

/// The entries that carry the long name `name` before the entry of `short`: none when `short` says
/// the same.
pub(super) fn long_entries(name: &str, short: &[u8; 11]) -> Vec<[u8; ENTRY]> {
    if name == readable(short) {
        return Vec::new();
    }
    let checksum = short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let units: Vec<u16> = name.encode_utf16().collect();
    let mut entries: Vec<_> = units
        .chunks(UNITS.len())
        .zip(1_u8..)
        .map(|(chunk, order)| {
            let mut entry = [0; ENTRY];
            entry[0] = order;
            entry[11] = LONG_NAME;
            entry[13] = checksum;
            // A short last chunk is ended by a zero and filled up with ones.
            let units = chunk.iter().copied().chain([0]).chain(std::iter::repeat(0xFFFF));
            for (at, unit) in UNITS.iter().zip(units) {
                entry[*at..at + 2].copy_from_slice(&unit.to_le_bytes());
            }
            entry
        })
        .collect();
    entries.reverse();
    if let Some(last) = entries.first_mut() {
        last[0] |= LAST_LONG_ENTRY;
    }
    entries
}

/// The short name as people write it.
fn readable(short: &[u8; 11]) -> String {
    let text = String::from_utf8_lossy(short);
    let (stem, extension) = (text[..8].trim_end(), text[8..].trim_end());
    if extension.is_empty() { stem.to_owned() } else { format!("{stem}.{extension}") }
}

/// The attributes that mark a part of a long name.
const LONG_NAME: u8 = 0x0F;
const LAST_LONG_ENTRY: u8 = 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_eight_and_three_upper_case_letters_needs_no_long_one() {
        let short = short_name("BOOTX64.EFI", &[]);
        assert_eq!(&short, b"BOOTX64 EFI");
        assert!(long_entries("BOOTX64.EFI", &short).is_empty());
        assert_eq!(long_entries("bootx64.efi", &short).len(), 1);
    }

    #[test]
    fn long_names_that_begin_alike_get_different_short_ones() {
        let first = short_name("kernel-image-6.1", &[]);
        let second = short_name("kernel-image-6.2", &[first]);
        assert_eq!((&first, &second), (b"KERNEL~11  ", b"KERNEL~12  "));
        let taken: Vec<_> = (0..200).fold(Vec::new(), |mut taken, _| {
            taken.push(short_name("kernel-image", &taken));
            taken
        });
        assert_eq!(taken.last().unwrap(), b"KERN~200   ");
    }

    #[test]
    fn names_that_fat_forbids_are_recognised() {
        for name in ["", ".", "..", "a:b", "what?", "tab\t", "dot.", &"x".repeat(256)] {
            assert!(!is_valid(name), "{name}");
        }
        assert!(is_valid(".hidden") && is_valid("größe.txt"));
    }
}
