//! Opening a plugin library.

use std::fmt;
use std::sync::Arc;

use abi_stable::library::{AbiHeader, AbiHeaderRef, LibHeader};
use abi_stable::std_types::{RResult, RStr};
use camino::{Utf8Path, Utf8PathBuf};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use semver::Version;

use super::compatibility::{check_layout, same_major};
use super::delegate_session::DelegateSession;
use super::host_end::host_end;
use super::module::{Description, PluginModuleRef, api_version};
use super::plugin_end::decode;
use super::{SYMBOL, guard};
use crate::error::DelegateError;
use crate::host::{BuildContext, BuilderHost, LogLevel};

/// How a library is opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// True when this host has checked the layout of this very file before (some 0.5 ms).
    pub layout_checked: bool,
}

/// An open plugin library. It stays mapped until the process ends: unloading a Rust library leaves
/// dangling pointers behind.
///
/// Code of the library runs in this process, with all its rights. Its constructors run when it is
/// opened, so a library that nobody has probed yet is opened in a process that may die.
pub struct PluginLibrary {
    path: Utf8PathBuf,
    module: PluginModuleRef,
    description: Description,
}

impl PluginLibrary {
    /// Opens a library, checks that it fits and asks what is in it.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn open(path: impl AsRef<Utf8Path>) -> Result<Self, LoadError> {
        Self::open_with(path, OpenOptions::default())
    }

    /// [`open`](Self::open) with options.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn open_with(path: impl AsRef<Utf8Path>, options: OpenOptions) -> Result<Self, LoadError> {
        let path = path.as_ref();
        guard::install_hook();
        let header = header_of(path)?;
        let plugin_api = version_of(header, path)?;
        let host_api = api_version();
        if !same_major(&plugin_api, &host_api) {
            return Err(LoadError::ApiVersion {
                path: path.to_owned(),
                plugin_api: Box::new(plugin_api),
                host_api: Box::new(host_api),
            });
        }
        if !options.layout_checked {
            // A library without its layout cannot be checked; `export_plugin!` always includes it.
            let checked = match header.layout() {
                Some(layout) => check_layout(layout, plugin_api < host_api),
                None => Err("the library carries no layout".to_owned()),
            };
            checked.map_err(|difference| LoadError::IncompatibleLayout {
                path: path.to_owned(),
                plugin_api: Box::new(plugin_api),
                host_api: Box::new(host_api),
                difference,
            })?;
        }
        // SAFETY: the layout was compared, now or when this very file was probed.
        let module: PluginModuleRef =
            unsafe { header.unchecked_layout() }.map_err(|error| LoadError::Describe {
                path: path.to_owned(),
                source: DelegateError::bug_in_plugin(format!("its root module failed: {error:?}")),
            })?;
        let description = describe(module)
            .map_err(|source| LoadError::Describe { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), module, description })
    }

    /// The file that was opened.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// What the library says about itself.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Makes a delegate and its builder for one image. `None` stands for the only delegate.
    ///
    /// # Errors
    /// `NotFound` without such a delegate; `InvalidInput` when there are several and none is named;
    /// `BugInPlugin` when its constructor panics.
    pub fn open_session(
        &self,
        delegate: Option<&str>,
        context: &BuildContext,
        host: Arc<dyn BuilderHost>,
    ) -> Result<DelegateSession, DelegateError> {
        let context = serde_json::to_string(context).map_err(|error| {
            DelegateError::failed("the build cannot be described to the plugin").caused_by(error)
        })?;
        let open = self.module.open_session();
        let name = RStr::from_str(delegate.unwrap_or_default());
        match open(name, RStr::from_str(&context), host_end(host)) {
            RResult::ROk(session) => Ok(DelegateSession::new(session)),
            RResult::RErr(error) => Err(decode(&error)),
        }
    }

    /// Tells the plugin the most verbose level that is wanted from now on (`None`: nothing), so
    /// that it need not ask for each record. A library too old for it goes on asking.
    pub fn set_log_level(&self, level: Option<LogLevel>) {
        if let Some(set) = self.module.set_log_level() {
            set(level.map_or(0, |level| level as u8));
        }
    }
}

/// Maps the library for ever and finds its header.
fn header_of(path: &Utf8Path) -> Result<&'static LibHeader, LoadError> {
    // SAFETY: runs the library's constructors: the caller trusts it or is a probe.
    let library = unsafe { Library::open(Some(path.as_std_path()), RTLD_NOW | RTLD_LOCAL) }
        .map_err(|source| LoadError::NotALibrary { path: path.to_owned(), source })?;
    let library: &'static Library = Box::leak(Box::new(library));
    // SAFETY: the symbol is a static of type `LibHeader`, which begins with an `AbiHeader` in every
    // version of abi_stable; its magic number is checked before anything else of it is read.
    let symbol = unsafe { library.get::<AbiHeaderRef>(SYMBOL.as_bytes()) };
    let header: AbiHeaderRef =
        *symbol.map_err(|source| LoadError::MissingSymbol { path: path.to_owned(), source })?;
    header.upgrade().map_err(|_| LoadError::AbiStableVersion {
        path: path.to_owned(),
        plugin: format!("{}.{}", header.abi_major, header.abi_minor),
        host: format!("{}.{}", AbiHeader::VALUE.abi_major, AbiHeader::VALUE.abi_minor),
    })
}

fn version_of(header: &LibHeader, path: &Utf8Path) -> Result<Version, LoadError> {
    let text = header.version_strings().version;
    Version::parse(&text).map_err(|error| LoadError::Describe {
        path: path.to_owned(),
        source: DelegateError::bug_in_plugin(format!("its API version is `{text}`"))
            .caused_by(error),
    })
}

fn describe(module: PluginModuleRef) -> Result<Description, DelegateError> {
    let text = match (module.describe())() {
        RResult::ROk(text) => text,
        RResult::RErr(error) => return Err(decode(&error)),
    };
    serde_json::from_str(&text).map_err(|error| {
        DelegateError::bug_in_plugin("its description cannot be read").caused_by(error)
    })
}

impl fmt::Debug for PluginLibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginLibrary")
            .field("path", &self.path)
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}

/// Why a library cannot serve as a plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The system cannot load the file.
    #[error("`{path}` cannot be loaded as a library")]
    NotALibrary {
        /// The file.
        path: Utf8PathBuf,
        /// What the system said.
        source: libloading::Error,
    },
    /// It is a library, but no plugin.
    #[error("`{path}` is no imageforge plugin: it does not export `{SYMBOL}`")]
    MissingSymbol {
        /// The file.
        path: Utf8PathBuf,
        /// What the system said.
        source: libloading::Error,
    },
    /// The two sides have different foundations.
    #[error("plugin `{path}` was built with the ABI of abi_stable {plugin}, this host with {host}")]
    AbiStableVersion {
        /// The file.
        path: Utf8PathBuf,
        /// The plugin's version.
        plugin: String,
        /// The host's version.
        host: String,
    },
    /// The API versions exclude each other.
    #[error(
        "plugin `{path}` was built for plugin API {plugin_api}, which this host (plugin API \
         {host_api}) does not accept"
    )]
    ApiVersion {
        /// The file.
        path: Utf8PathBuf,
        /// The plugin's version.
        plugin_api: Box<Version>,
        /// The host's version.
        host_api: Box<Version>,
    },
    /// The API versions fit, the types do not: one of the two sides was changed by hand.
    #[error(
        "plugin `{path}` (plugin API {plugin_api}) does not fit this host (plugin API \
         {host_api}): they differ at {difference}"
    )]
    IncompatibleLayout {
        /// The file.
        path: Utf8PathBuf,
        /// The plugin's version.
        plugin_api: Box<Version>,
        /// The host's version.
        host_api: Box<Version>,
        /// The first path that differs, and how.
        difference: String,
    },
    /// The library could not say what is in it.
    #[error("plugin `{path}` cannot say what is in it")]
    Describe {
        /// The file.
        path: Utf8PathBuf,
        /// What it said instead.
        source: DelegateError,
    },
}

impl LoadError {
    /// What the reader can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotALibrary { .. } => {
                "it must be a shared library for this machine, with all libraries that it needs"
            },
            Self::MissingSymbol { .. } => {
                "build it as a `cdylib` with `plugin_api::export_plugin!` at its crate root"
            },
            Self::AbiStableVersion { .. }
            | Self::ApiVersion { .. }
            | Self::IncompatibleLayout { .. } => {
                "rebuild the plugin with the plugin API of this host, or update the host"
            },
            Self::Describe { .. } => "report it to the maintainer of the plugin",
        }
    }
}
