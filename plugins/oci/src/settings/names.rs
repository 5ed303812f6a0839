//! Names of repositories and tags, as registries take them (OCI distribution specification 1.1).

use plugin_api::DelegateError;

/// Longest name of a repository; the limit of Docker's registries, host included.
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

/// Whether `name` is the name of a repository: words of lower-case letters and digits, joined by `.`, `_`,
/// `__`, `-` and `/`.
pub(crate) fn check_repository(name: &str) -> Result<(), DelegateError> {
    let word = |word: &str| {
        word.starts_with(plain)
            && word.ends_with(plain)
            && !word.contains(|c: char| !plain(c) && !matches!(c, '.' | '_' | '-'))
            && !["..", "___", "._", "_.", ".-", "-.", "_-", "-_"]
                .iter()
                .any(|two| word.contains(two))
    };
    if name.len() <= MAX_REPOSITORY && name.split('/').all(word) {
        return Ok(());
    }
    Err(DelegateError::invalid_input(format!("`{name}` is no name of a repository"))
        .hint("use lower-case letters, digits, and `.`, `_`, `-`, `/` between them"))
}

/// Whether `tag` is a tag.
pub(crate) fn check_tag(tag: &str) -> Result<(), DelegateError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rest = |c: char| word(c) || matches!(c, '.' | '-');
    if tag.starts_with(word) && tag.len() <= MAX_TAG && tag.chars().all(rest) {
        return Ok(());
    }
    Err(DelegateError::invalid_input(format!("`{tag}` is no tag"))
        .hint("use letters, digits, `_`, `.` and `-`, at most 128 of them"))
}

/// The repository that a template of this name goes to.
pub(super) fn repository_of(template: &str) -> String {
    let lower = template.to_lowercase();
    let words: Vec<&str> = lower.split(|c| !plain(c)).filter(|word| !word.is_empty()).collect();
    let name = words.join("-");
    if check_repository(&lower).is_ok() {
        lower
    } else if name.is_empty() {
        "image".to_owned()
    } else {
        name.chars().take(MAX_REPOSITORY).collect::<String>().trim_end_matches('-').to_owned()
    }
}

fn plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for good in ["debian", "team/debian-12", "a.b_c__d/e--f", "1/2"] {
            assert_eq!(check_repository(good), Ok(()), "{good}");
        }
        let long = "x".repeat(256);
        for bad in ["", "/a", "a/", "a//b", "A", "a_", "a___b", "a..b", "a b", "ä", long.as_str()]
        {
            assert!(check_repository(bad).is_err(), "{bad}");
        }
        assert!(check_tag("v1.0_a-b").is_ok() && check_tag("_x").is_ok());
        for bad in ["", ".x", "-x", "a b", "a:b", "a/b", &"x".repeat(129)] {
            assert!(check_tag(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_template_has_a_repository() {
        let cases = [
            ("debian-12", "debian-12"),
            ("My Image (test)", "my-image-test"),
            ("__x", "x"),
            ("ä", "image"),
            ("Team.Web", "team.web"),
        ];
        for (template, repository) in cases {
            assert_eq!(repository_of(template), repository);
            assert_eq!(check_repository(&repository_of(template)), Ok(()));
        }
    }
}
