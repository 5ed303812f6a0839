//! What a kernel module says about itself in its `.modinfo` section.

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use object::{Object, ObjectSection};
use std::io::Read;

/// What is read from a module: enough to load it and to know for which devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Modules that must be loaded before it, with `-` and `_` as written.
    pub depends: Vec<String>,
    /// Patterns of the devices and services that it offers.
    pub aliases: Vec<String>,
}

/// Why a kernel's modules cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// The file or folder could not be read.
    #[error("cannot read the kernel module `{path}`")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// What went wrong.
        #[source]
        source: std::io::Error,
    },
    /// The file is no ELF object.
    #[error("`{path}` is not a kernel module")]
    Elf {
        /// The file.
        path: Utf8PathBuf,
        /// What the ELF reader said.
        #[source]
        source: object::Error,
    },
    /// A module names another one that the kernel does not have.
    #[error("kernel module `{module}` needs `{needs}`, which this kernel does not have")]
    Dependency {
        /// The module that is there.
        module: String,
        /// The module that is not.
        needs: String,
    },
}

/// The uncompressed contents of a module file: Debian 13 packs them with xz.
pub(super) fn contents(path: &Utf8Path) -> Result<Vec<u8>, ModuleError> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = File::open(path)?;
        match path.extension() {
            Some("xz") => lzma_rust2::XzReader::new(file, true).read_to_end(&mut bytes)?,
            Some("zst") => zstd::Decoder::new(file)?.read_to_end(&mut bytes)?,
            Some("gz") => flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)?,
            _ => file.read_to_end(&mut bytes)?,
        };
        Ok(bytes)
    };
    read().map_err(|source| ModuleError::Read { path: path.to_owned(), source })
}

/// Reads the `.modinfo` section of the module in `bytes`; `path` is for the error.
pub(super) fn info(path: &Utf8Path, bytes: &[u8]) -> Result<ModuleInfo, ModuleError> {
    let elf_error = |source| ModuleError::Elf { path: path.to_owned(), source };
    let file = object::File::parse(bytes).map_err(elf_error)?;
    let section = match file.section_by_name(".modinfo") {
        Some(section) => section.data().map_err(elf_error)?,
        None => &[],
    };
    let mut info = ModuleInfo::default();
    for field in section.split(|byte| *byte == 0) {
        let Some((key, value)) = std::str::from_utf8(field).ok().and_then(|f| f.split_once('='))
        else {
            continue;
        };
        match key {
            "alias" => info.aliases.push(value.to_owned()),
            "depends" => info
                .depends
                .extend(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned)),
            _ => {},
        }
    }
    Ok(info)
}
