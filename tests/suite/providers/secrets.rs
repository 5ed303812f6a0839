//! No byte that a run wrote or said gives a secret away.

use crate::support::{Ran, Workshop};

/// None of `secrets` is in what was said, or in a file of the workshop.
#[track_caller]
pub(super) fn assert_unseen(workshop: &Workshop, ran: &[Ran], secrets: &[&str]) {
    for ran in ran {
        for secret in secrets {
            assert!(!ran.stdout.contains(secret), "{ran:#?}");
            assert!(!ran.stderr.contains(secret), "{ran:#?}");
        }
    }
    let mut seen = 0;
    let mut folders = vec![workshop.path("")];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = fs_err::read(&path).unwrap();
            for secret in secrets {
                let holds = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!holds, "a secret is in {}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 3, "only {seen} files were looked at");
}
