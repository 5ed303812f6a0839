//! The `.info` file of a plugin.

use plugin_api::info::{PluginInfo, Targets};

use crate::assert_fit_for_a_terminal;

/// Reads `input` as an `.info` file: what is read prints and reads back, and every problem is told
/// with its key, or concerns the file as a whole and is the only one.
///
/// # Panics
/// When a promise is broken.
pub fn info(input: &[u8]) {
    let mut info = match PluginInfo::from_json(input) {
        Ok(info) => info,
        Err(error) => {
            assert!(!error.problems.is_empty());
            for problem in &error.problems {
                assert_fit_for_a_terminal(&problem.to_string());
                assert!(!problem.path.is_empty() || error.problems.len() == 1, "{problem}");
            }
            return;
        },
    };
    let claims = match &info.targets {
        Targets::Os(targets) => targets.len(),
        Targets::Cloud(targets) => targets.len(),
    };
    assert!(claims > 0, "a plugin claims something");
    // These are printed below a key of their own.
    info.unknown.clear();
    let printed = serde_json::to_vec(&info).expect("JSON");
    let again = PluginInfo::from_json(&printed);
    assert_eq!(again.as_ref(), Ok(&info), "{}", String::from_utf8_lossy(&printed));
}
