//! A look at a library that runs none of its code: is it an ELF shared library for this machine,
//! complete, and does it export what a plugin exports?
//!
//! It catches what the loader answers badly: a truncated file ends the process with SIGBUS, and a
//! library for another machine becomes "no such file". Undefined symbols are left to the loader.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use fs_err::File;
use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, ReadCache, ReadRef};
use plugin_api::abi::SYMBOL;

/// Machine number of the processor that this host was built for; ELF gABI, chapter 4.
const MACHINE: elf::Machine = if cfg!(target_arch = "x86_64") {
    elf::EM_X86_64
} else if cfg!(target_arch = "aarch64") {
    elf::EM_AARCH64
} else if cfg!(target_arch = "riscv64") {
    elf::EM_RISCV
} else if cfg!(target_arch = "s390x") {
    elf::EM_S390
} else if cfg!(target_arch = "powerpc64") {
    elf::EM_PPC64
} else if cfg!(target_arch = "loongarch64") {
    elf::EM_LOONGARCH
} else if cfg!(target_arch = "x86") {
    elf::EM_386
} else {
    elf::EM_ARM
};

/// Bytes of the identification at the start of every ELF file.
const IDENTIFICATION: u64 = 16;

/// Why a library is refused unseen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreflightError {
    /// It cannot be read.
    #[error("library `{path}` cannot be read")]
    Unreadable {
        /// The library.
        path: Utf8PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It has no bytes.
    #[error("library `{path}` is empty")]
    Empty {
        /// The library.
        path: Utf8PathBuf,
    },
    /// It is something else.
    #[error("`{path}` is not an ELF file")]
    NotElf {
        /// The library.
        path: Utf8PathBuf,
    },
    /// It is for another processor.
    #[error("library `{path}` is for {found}, this machine is {}", std::env::consts::ARCH)]
    WrongMachine {
        /// The library.
        path: Utf8PathBuf,
        /// The processor.
        found: String,
    },
    /// It is an object file, a program or a core dump.
    #[error("`{path}` is {found}, not a shared library")]
    NotShared {
        /// The library.
        path: Utf8PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Its end is missing.
    #[error("library `{path}` is truncated: it has {size} bytes, its headers speak of {needed}")]
    Truncated {
        /// The library.
        path: Utf8PathBuf,
        /// Bytes that there are.
        size: u64,
        /// Bytes that there should be.
        needed: u64,
    },
    /// Its headers contradict each other.
    #[error("library `{path}` is damaged")]
    Damaged {
        /// The library.
        path: Utf8PathBuf,
        /// What does not fit.
        source: object::read::Error,
    },
    /// It is a library, but no plugin.
    #[error("library `{path}` is no imageforge plugin: it does not export `{SYMBOL}`")]
    NoPlugin {
        /// The library.
        path: Utf8PathBuf,
    },
}

impl PreflightError {
    /// What the reader can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "check owner and mode of that path",
            Self::WrongMachine { .. } => "build the plugin for this machine",
            Self::Empty { .. } | Self::Truncated { .. } | Self::Damaged { .. } => {
                "copy or build the library once more"
            },
            Self::NotElf { .. } | Self::NotShared { .. } => {
                "`library` in the `.info` file must name the shared library of the plugin"
            },
            Self::NoPlugin { .. } => {
                "build it as a `cdylib` with `plugin_api::export_plugin!` at its crate root"
            },
        }
    }
}

/// Looks at a library without running any of its code.
///
/// # Errors
/// [`PreflightError`], when it cannot be a plugin for this host.
pub fn check(path: &Utf8Path) -> Result<(), PreflightError> {
    let unreadable = |source| PreflightError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let size = file.metadata().map_err(unreadable)?.len();
    if size == 0 {
        return Err(PreflightError::Empty { path: path.to_owned() });
    }
    let data = ReadCache::new(file);
    let not_elf = || PreflightError::NotElf { path: path.to_owned() };
    let identification = (&data).read_bytes_at(0, IDENTIFICATION).map_err(|()| not_elf())?;
    if !identification.starts_with(&elf::ELFMAG) {
        return Err(not_elf());
    }
    let look = Look { path, size, data: &data };
    match identification.get(4).copied().map(elf::FileClass) {
        Some(elf::ELFCLASS64) => look.at::<elf::FileHeader64<Endianness>>(),
        Some(elf::ELFCLASS32) => look.at::<elf::FileHeader32<Endianness>>(),
        _ => Err(not_elf()),
    }
}

/// Whether a library finds others by its own place (`$ORIGIN` in its run path): no copy elsewhere can
/// take its part.
pub(super) fn names_own_folder(path: &Utf8Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    let data = ReadCache::new(file);
    let Ok(header) = elf::FileHeader64::<Endianness>::parse(&data) else {
        return false;
    };
    let found = || {
        let endian = header.endian()?;
        let sections = header.sections(endian, &data)?;
        let Some((entries, strings)) = sections.dynamic(endian, &data)? else {
            return Ok(false);
        };
        let strings = sections.strings(endian, &data, strings)?;
        let is_path = |tag| tag == elf::DT_RUNPATH || tag == elf::DT_RPATH;
        let places =
            entries.iter().filter(|entry| is_path(entry.d_tag(endian))).filter_map(|entry| {
                let offset = u32::try_from(entry.d_val(endian)).ok()?;
                strings.get(offset).ok()
            });
        Ok::<_, object::read::Error>(
            places.into_iter().any(|place| place.windows(6).any(|word| word == b"ORIGIN")),
        )
    };
    found().unwrap_or(false)
}

struct Look<'a> {
    path: &'a Utf8Path,
    size: u64,
    data: &'a ReadCache<File>,
}

impl Look<'_> {
    fn at<Elf: FileHeader<Endian = Endianness>>(&self) -> Result<(), PreflightError> {
        let header_size = u64::try_from(size_of::<Elf>()).unwrap_or(u64::MAX);
        self.reaches(header_size)?;
        let damaged = |source| PreflightError::Damaged { path: self.path.to_owned(), source };
        let header = Elf::parse(self.data).map_err(damaged)?;
        let endian = header.endian().map_err(damaged)?;
        let machine = header.e_machine(endian);
        let (wide, little) = (header.is_class_64(), header.is_little_endian());
        let fits =
            wide == cfg!(target_pointer_width = "64") && little == cfg!(target_endian = "little");
        if machine != MACHINE || !fits {
            let found = machine_name(machine, wide, little);
            return Err(PreflightError::WrongMachine { path: self.path.to_owned(), found });
        }
        let found = match header.e_type(endian) {
            elf::ET_DYN => None,
            elf::ET_REL => Some("an object file"),
            elf::ET_EXEC => Some("a program"),
            elf::ET_CORE => Some("a core dump"),
            _ => Some("an ELF file of another kind"),
        };
        if let Some(found) = found {
            return Err(PreflightError::NotShared { path: self.path.to_owned(), found });
        }
        self.is_complete(header, endian)?;
        // A library without section headers still loads; the probe then asks the loader.
        let sections = header.sections(endian, self.data).map_err(damaged)?;
        if sections.is_empty() {
            return Ok(());
        }
        let symbols = sections.symbols(endian, self.data, elf::SHT_DYNSYM).map_err(damaged)?;
        let exported = symbols.iter().any(|symbol| {
            symbol.st_shndx(endian) != elf::SHN_UNDEF
                && symbol.name(endian, symbols.strings()) == Ok(SYMBOL.as_bytes())
        });
        if exported { Ok(()) } else { Err(PreflightError::NoPlugin { path: self.path.to_owned() }) }
    }

    /// Whether all that the headers speak of is within the file.
    fn is_complete<Elf: FileHeader<Endian = Endianness>>(
        &self,
        header: &Elf,
        endian: Endianness,
    ) -> Result<(), PreflightError> {
        let table_end = |offset: u64, count: u16, entry: u16| {
            offset.saturating_add(u64::from(count) * u64::from(entry))
        };
        self.reaches(table_end(
            header.e_phoff(endian).into(),
            header.e_phnum(endian),
            header.e_phentsize(endian),
        ))?;
        self.reaches(table_end(
            header.e_shoff(endian).into(),
            header.e_shnum(endian),
            header.e_shentsize(endian),
        ))?;
        let damaged = |source| PreflightError::Damaged { path: self.path.to_owned(), source };
        for segment in header.program_headers(endian, self.data).map_err(damaged)? {
            let (offset, size) = segment.file_range(endian);
            self.reaches(offset.saturating_add(size))?;
        }
        for section in header.section_headers(endian, self.data).map_err(damaged)? {
            if let Some((offset, size)) = section.file_range(endian) {
                self.reaches(offset.saturating_add(size))?;
            }
        }
        Ok(())
    }

    fn reaches(&self, needed: u64) -> Result<(), PreflightError> {
        if needed <= self.size {
            return Ok(());
        }
        Err(PreflightError::Truncated { path: self.path.to_owned(), size: self.size, needed })
    }
}

/// The processor as Rust and Debian's kernel packages call it.
fn machine_name(machine: elf::Machine, wide: bool, little: bool) -> String {
    let name = match (machine, wide, little) {
        (elf::EM_X86_64, true, _) => "x86_64",
        (elf::EM_X86_64, false, _) => "x32",
        (elf::EM_AARCH64, _, true) => "aarch64",
        (elf::EM_386, ..) => "x86",
        (elf::EM_ARM, ..) => "arm",
        (elf::EM_RISCV, true, _) => "riscv64",
        (elf::EM_RISCV, false, _) => "riscv32",
        (elf::EM_PPC64, _, true) => "powerpc64le",
        (elf::EM_PPC64, _, false) => "powerpc64",
        (elf::EM_S390, ..) => "s390x",
        (elf::EM_LOONGARCH, ..) => "loongarch64",
        _ => {
            let bits = if wide { 64 } else { 32 };
            let order = if little { "little" } else { "big" };
            return format!("machine {} ({bits} bits, {order} endian)", machine.0);
        },
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
