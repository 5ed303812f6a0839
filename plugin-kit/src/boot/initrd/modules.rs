//! Choosing kernel modules together with those that they depend on.
//!
//! A kernel package carries no `modules.dep` (its installation would make one), so dependencies are
//! read from the modules themselves, which always say the truth.

use super::elf::{self, ModuleError, ModuleInfo};
use camino::{Utf8Path, Utf8PathBuf};
use std::collections::BTreeMap;

/// The modules of one kernel.
#[derive(Clone, Debug)]
pub struct ModuleTree {
    root: Utf8PathBuf,
    /// Paths relative to `root`, by name with `_` for `-`.
    paths: BTreeMap<String, Utf8PathBuf>,
}

/// One module, read and ready to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, with `_` for `-`.
    pub name: String,
    /// Its path below `lib/modules/VERSION`, without the suffix of a compression.
    pub path: Utf8PathBuf,
    /// What it says about itself.
    pub info: ModuleInfo,
    /// Its ELF object, uncompressed.
    pub contents: Vec<u8>,
}

impl ModuleTree {
    /// The modules below `root`, the folder `lib/modules/VERSION` of an unpacked kernel package.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn open(root: &Utf8Path) -> Result<Self, ModuleError> {
        let mut paths = BTreeMap::new();
        let mut folders = vec![root.join("kernel")];
        while let Some(folder) = folders.pop() {
            let unreadable = |source| ModuleError::Read { path: folder.clone(), source };
            for entry in folder.read_dir_utf8().map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                if entry.file_type().map_err(unreadable)?.is_dir() {
                    folders.push(entry.into_path());
                } else if let Some((stem, _)) = entry.file_name().split_once(".ko") {
                    let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
                    paths.insert(stem.replace('-', "_"), path.to_owned());
                }
            }
        }
        Ok(Self { root: root.to_owned(), paths })
    }

    /// Whether this kernel has a module of this name; a driver that is built in is not one.
    pub fn contains(&self, name: &str) -> bool {
        self.paths.contains_key(&name.replace('-', "_"))
    }

    /// Those of the modules `names` that this kernel has and all that they depend on, every one
    /// after its dependencies.
    ///
    /// # Errors
    /// A module cannot be read, or one that it depends on does not exist.
    pub fn closure(&self, names: &[&str]) -> Result<Vec<Module>, ModuleError> {
        let mut chosen = Vec::new();
        for name in names.iter().filter(|name| self.contains(name)) {
            self.visit(&name.replace('-', "_"), &mut chosen)?;
        }
        Ok(chosen)
    }

    fn visit(&self, name: &str, chosen: &mut Vec<Module>) -> Result<(), ModuleError> {
        if chosen.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let Some(path) = self.paths.get(name) else {
            return Ok(());
        };
        let contents = elf::contents(&self.root.join(path))?;
        let info = elf::info(path, &contents)?;
        for dependency in &info.depends {
            let dependency = dependency.replace('-', "_");
            if !self.paths.contains_key(&dependency) {
                return Err(ModuleError::Dependency { module: name.to_owned(), needs: dependency });
            }
            self.visit(&dependency, chosen)?;
        }
        // `x.ko.xz` is stored as `x.ko`: the archive around it is compressed anyway.
        let plain = path.as_str().split_once(".ko").map_or(path.as_str(), |(stem, _)| stem);
        let path = format!("{plain}.ko").into();
        chosen.push(Module { name: name.to_owned(), path, info, contents });
        Ok(())
    }
}

/// The text of `modules.dep`: each module, then what it needs, nearest first.
pub(super) fn modules_dep(modules: &[Module]) -> String {
    let path_of = |name: &str| {
        let name = name.replace('-', "_");
        modules.iter().find(|module| module.name == name).map(|module| module.path.as_str())
    };
    let mut text = String::new();
    for module in modules {
        let mut needed = Vec::new();
        let mut queue = module.info.depends.clone();
        while let Some(name) = queue.pop() {
            let Some(path) = path_of(&name) else { continue };
            needed.retain(|seen| *seen != path);
            needed.push(path);
            let inner = modules.iter().find(|other| other.path == path);
            queue.extend(inner.iter().flat_map(|other| other.info.depends.clone()));
        }
        text.push_str(module.path.as_str());
        text.push(':');
        for path in needed {
            text.push(' ');
            text.push_str(path);
        }
        text.push('\n');
    }
    text
}

/// The text of `modules.alias`: which module serves which device.
pub(super) fn modules_alias(modules: &[Module]) -> String {
    let mut text = String::new();
    for module in modules {
        for alias in &module.info.aliases {
            text.extend(["alias ", alias, " ", &module.name, "\n"]);
        }
    }
    text
}
