//! Where things are when nobody says otherwise.
//!
//! Root works on the machine's directories, everybody else on their own, as the XDG Base Directory
//! Specification 0.8 names them. This module reads no environment: the caller hands in a lookup.

use camino::{Utf8Path, Utf8PathBuf};

/// Folder and file names of imageforge below the directories of the system.
const NAME: &str = "imageforge";

/// The default places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// The settings file.
    pub settings_file: Utf8PathBuf,
    /// The folder of `.info` links.
    pub plugins_d: Utf8PathBuf,
    /// The folder of images, records and caches.
    pub data_dir: Utf8PathBuf,
}

/// Why there are no default places.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathsError {
    /// Neither the XDG variable nor `HOME` is set to an absolute path.
    #[error("neither `{variable}` nor `HOME` names an absolute path")]
    NoHome {
        /// The XDG variable.
        variable: &'static str,
    },
}

impl PathsError {
    /// What the reader can do about it.
    pub fn hint(&self) -> &'static str {
        "set `HOME`, or name the places with `--config`, `--plugins-d` and `--data-dir`"
    }
}

impl Paths {
    /// The default places of a user; `environment` answers the value of a variable.
    ///
    /// # Errors
    /// [`PathsError::NoHome`], never for root.
    pub fn defaults(
        is_root: bool,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, PathsError> {
        if is_root {
            return Ok(Self::below(
                &Utf8Path::new("/etc").join(NAME),
                Utf8Path::new("/var/lib").join(NAME),
            ));
        }
        // The specification: a relative path is invalid and is ignored.
        let absolute = |variable: &str| {
            environment(variable).map(Utf8PathBuf::from).filter(|path| path.is_absolute())
        };
        let directory = |variable: &'static str, below_home: &str| {
            absolute(variable)
                .or_else(|| absolute("HOME").map(|home| home.join(below_home)))
                .map(|directory| directory.join(NAME))
                .ok_or(PathsError::NoHome { variable })
        };
        Ok(Self::below(
            &directory("XDG_CONFIG_HOME", ".config")?,
            directory("XDG_DATA_HOME", ".local/share")?,
        ))
    }

    fn below(config_dir: &Utf8Path, data_dir: Utf8PathBuf) -> Self {
        Self {
            settings_file: config_dir.join("imageforge.toml"),
            plugins_d: config_dir.join("plugins.d"),
            data_dir,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults(variables: &[(&str, &str)]) -> Result<Paths, PathsError> {
        Paths::defaults(false, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn root_works_on_the_directories_of_the_machine() {
        let paths = Paths::defaults(true, |_| Some("/elsewhere".to_owned())).unwrap();
        assert_eq!(paths.settings_file, "/etc/imageforge/imageforge.toml");
        assert_eq!(paths.plugins_d, "/etc/imageforge/plugins.d");
        assert_eq!(paths.data_dir, "/var/lib/imageforge");
    }

    #[test]
    fn others_work_below_their_home() {
        let paths = defaults(&[("HOME", "/home/ada")]).unwrap();
        assert_eq!(paths.plugins_d, "/home/ada/.config/imageforge/plugins.d");
        assert_eq!(paths.data_dir, "/home/ada/.local/share/imageforge");
    }

    #[test]
    fn xdg_variables_win_unless_they_are_relative() {
        let home = ("HOME", "/home/ada");
        let paths =
            defaults(&[home, ("XDG_DATA_HOME", "/big"), ("XDG_CONFIG_HOME", "here")]).unwrap();
        assert_eq!(paths.data_dir, "/big/imageforge");
        assert_eq!(paths.settings_file, "/home/ada/.config/imageforge/imageforge.toml");
    }

    #[test]
    fn a_user_without_a_home_gets_an_error_and_never_a_relative_path() {
        let error = defaults(&[("HOME", "")]).unwrap_err();
        assert_eq!(error, PathsError::NoHome { variable: "XDG_CONFIG_HOME" });
    }
}
