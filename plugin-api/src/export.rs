//! What makes a crate a plugin: the delegates that it offers, and the symbol that it exports.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cloud_delegate::CloudDelegate;
use crate::error::DelegateError;
use crate::os_delegate::OsDelegate;

/// What a delegate implements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DelegateKind {
    /// [`OsDelegate`].
    Os,
    /// [`CloudDelegate`].
    Cloud,
}

impl fmt::Display for DelegateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Os => "os",
            Self::Cloud => "cloud",
        })
    }
}

/// Makes a delegate, once for each image that it takes part in.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub enum Constructor {
    /// Makes an OS delegate.
    Os(fn() -> Box<dyn OsDelegate>),
    /// Makes a cloud delegate.
    Cloud(fn() -> Box<dyn CloudDelegate>),
}

impl Constructor {
    pub(crate) fn kind(self) -> DelegateKind {
        match self {
            Self::Os(_) => DelegateKind::Os,
            Self::Cloud(_) => DelegateKind::Cloud,
        }
    }

    pub(crate) fn make(self) -> Delegate {
        match self {
            Self::Os(make) => Delegate::Os(make()),
            Self::Cloud(make) => Delegate::Cloud(make()),
        }
    }
}

/// A delegate of either kind.
#[derive(Debug)]
pub(crate) enum Delegate {
    Os(Box<dyn OsDelegate>),
    Cloud(Box<dyn CloudDelegate>),
}

#[cfg(feature = "testing")]
impl Delegate {
    pub(crate) fn kind(&self) -> DelegateKind {
        match self {
            Self::Os(_) => DelegateKind::Os,
            Self::Cloud(_) => DelegateKind::Cloud,
        }
    }
}

/// A delegate that this library offers; made by the macros.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct DelegateEntry {
    /// Its name.
    pub name: &'static str,
    /// How it is made.
    pub constructor: Constructor,
}

inventory::collect!(DelegateEntry);

/// What becomes of a panic in a library: registered by `export_plugin!`, read by the panic hook.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct PanicEntry {
    /// It ends the process.
    pub aborts: bool,
}

inventory::collect!(PanicEntry);

/// Whether the library was built with `panic = "abort"`.
pub(crate) fn panics_abort() -> bool {
    inventory::iter::<PanicEntry>.into_iter().any(|entry| entry.aborts)
}

/// Everything that this library offers, sorted by name, whatever order it was linked in.
pub(crate) fn delegates() -> Result<Vec<&'static DelegateEntry>, DelegateError> {
    let mut entries: Vec<_> = inventory::iter::<DelegateEntry>.into_iter().collect();
    entries.sort_by_key(|entry| entry.name);
    match entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(DelegateError::bug_in_plugin(format!(
            "two delegates of the library are called `{}`",
            pair[0].name
        ))),
        None => Ok(entries),
    }
}

/// The delegate called `name`; the only one for an empty name.
pub(crate) fn find(name: &str) -> Result<Constructor, DelegateError> {
    let entries = delegates()?;
    let names = || {
        let names: Vec<_> = entries.iter().map(|e| format!("`{}`", e.name)).collect();
        format!("the library has {}", names.join(", "))
    };
    match (name, entries.as_slice()) {
        (_, []) => Err(DelegateError::bug_in_plugin("the library exports no delegate")),
        ("", [only]) => Ok(only.constructor),
        ("", _) => Err(DelegateError::invalid_input(
            "the library has several delegates and none was named",
        )
        .hint(format!("set `delegate` in the .info file: {}", names()))),
        (name, entries) => entries
            .iter()
            .find(|entry| entry.name == name)
            .map(|entry| entry.constructor)
            .ok_or_else(|| {
                DelegateError::not_found(format!("the library has no delegate `{name}`"))
                    .hint(names())
            }),
    }
}

/// Makes this crate a plugin. Stands once in a library, at its crate root; the crate type is
/// `cdylib`.
///
/// One delegate is named after the crate:
/// ```
/// # use plugin_api::{Builder, DelegateError, OsDelegate};
/// # #[derive(Debug, Default)] struct Plan9;
/// # impl OsDelegate for Plan9 {
/// #     fn create_base_image(&self, _: &Builder) -> Result<(), DelegateError> { Ok(()) }
/// # }
/// plugin_api::export_plugin!(os => Plan9::default());
/// # fn main() {}
/// ```
/// Several are named one by one; the `.info` file says which is meant with `delegate`:
/// ```
/// # use plugin_api::{Builder, CloudDelegate, DelegateError, OsDelegate};
/// # #[derive(Debug, Default)] struct Plan9;
/// # impl OsDelegate for Plan9 {
/// #     fn create_base_image(&self, _: &Builder) -> Result<(), DelegateError> { Ok(()) }
/// # }
/// # #[derive(Debug)] struct Raw;
/// # impl CloudDelegate for Raw {}
/// plugin_api::export_plugin! {
///     os "plan9" => Plan9::default(),
///     cloud "raw" => Raw,
/// }
/// # fn main() {}
/// ```
/// The expression is evaluated anew for each image. Delegates that other modules of the library
/// declare with [`export_delegate!`](crate::export_delegate) are found as well, so the list may be
/// empty.
#[macro_export]
macro_rules! export_plugin {
    ($kind:ident => $delegate:expr $(;)?) => {
        $crate::export_plugin! { $kind env!("CARGO_PKG_NAME") => $delegate }
    };
    ($($kind:ident $name:expr => $delegate:expr),* $(,)?) => {
        $($crate::export_delegate!($kind $name => $delegate);)*

        $crate::__inventory::submit! {
            $crate::export::PanicEntry { aborts: cfg!(panic = "abort") }
        }

        const _: () = {
            // Not `expect`: most plugins do not deny it. Safe: the name is imageforge's own.
            #[allow(unsafe_code)]
            #[unsafe(export_name = "imageforge_plugin")]
            static HEADER: $crate::abi::export::LibHeader = $crate::abi::export::header();
        };
    };
}

/// Adds a delegate to this library, from any of its modules: `export_delegate!(os "name" => Value)`.
///
/// The library needs one [`export_plugin!`](crate::export_plugin) besides.
#[macro_export]
macro_rules! export_delegate {
    (os $name:expr => $delegate:expr) => {
        $crate::export_delegate!(@submit $name, Os, OsDelegate, $delegate);
    };
    (cloud $name:expr => $delegate:expr) => {
        $crate::export_delegate!(@submit $name, Cloud, CloudDelegate, $delegate);
    };
    (@submit $name:expr, $kind:ident, $trait:ident, $delegate:expr) => {
        $crate::__inventory::submit! {
            $crate::export::DelegateEntry {
                name: $name,
                constructor: $crate::export::Constructor::$kind(|| {
                    ::std::boxed::Box::new($delegate) as ::std::boxed::Box<dyn $crate::$trait>
                }),
            }
        }
    };
}
