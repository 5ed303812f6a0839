//! The plugin API of imageforge, and the only crate that a plugin depends on.
//!
//! imageforge builds operating-system images and delivers them to clouds, and can do neither by
//! itself. Everything that knows an operating system or a cloud is a plugin: a shared library that
//! implements [`OsDelegate`] or [`CloudDelegate`], and an `.info` file that tells the host what the
//! library is for ([`info`]). This crate holds the two traits, what their methods are given, and
//! the stable ABI between the library and the host, which a plugin never sees.
//!
//! # A complete plugin
//!
//! ```
//! use plugin_api::{Builder, Command, DelegateError, OsDelegate};
//!
//! plugin_api::export_plugin!(os => Tiny);
//!
//! #[derive(Debug)]
//! struct Tiny;
//!
//! impl OsDelegate for Tiny {
//!     fn create_base_image(&self, builder: &Builder) -> Result<(), DelegateError> {
//!         builder.activity("making an empty disk");
//!         let size = builder.template().disk_size_bytes.unwrap_or(1 << 20).to_string();
//!         let path = builder.image_path().as_str();
//!         builder.run(Command::new("truncate").args(["--size", &size, path]))?;
//!         Ok(())
//!     }
//! }
//! # #[cfg(not(feature = "testing"))]
//! # fn main() {}
//! # #[cfg(feature = "testing")]
//! # fn main() {
//! # let delegate = plugin_api::testing::DelegateHarness::os(Tiny).open().unwrap();
//! # let body = delegate.build().unwrap().into_body().unwrap();
//! # assert_eq!(std::fs::metadata(body).unwrap().len(), 1 << 20);
//! # }
//! ```
//! Its `Cargo.toml` says `crate-type = ["cdylib"]`, and `tiny.info` beside it
//! `{"type": "os", "targets": [["Tiny", null, null]]}`. The plugins `mock-os` and `mock-cloud` are
//! written to be read and copied.
//!
//! # The life of a plugin
//!
//! 1. **Found.** A symlink in `plugins.d` leads to the `.info` file. The host reads it and looks for
//!    the library; no code of the plugin runs. See [`info::PluginInfo`].
//! 2. **Probed.** A child process with a time limit opens the library, compares the ABI and asks
//!    which delegates [`export_plugin!`] exported. The answer is cached until the file changes.
//! 3. **Asked.** When a request is planned, [`OsDelegate::check`], [`CloudDelegate::check`] and
//!    [`CloudDelegate::check_provider`] say what stands against it, before anything is built, and
//!    [`CloudDelegate::target_content`] what its cloud needs in the image.
//! 4. **Called.** A worker process, one for each build, opens the library again. It makes one
//!    delegate for each image and calls it with a [`Builder`], in the order of the table below.
//! 5. **Ended.** The delegate is dropped when its image is complete, failed, skipped or cancelled;
//!    [`OsDelegate::abort`] and [`CloudDelegate::abort`] come first when it is cancelled. The
//!    library stays mapped until the worker ends, so a new version serves the next build.
//!
//! A `testing::DelegateHarness` (feature `testing`) does steps 3 to 5 inside a test, without a
//! host and without a library.
//!
//! # What is called when
//!
//! Each tier makes one image; a request for a provider image passes through all three.
//!
//! | tier | calls, in order |
//! |---|---|
//! | plan | `check` of every delegate; cloud: `target_content` (target tier), `makes_snapshots` (of a snapshot) and `check_provider` (provider tier) |
//! | base | os: `builder_should_create_image`, `builder_will_create_image`, `create_base_image`, `builder_did_create_image` |
//! | target | cloud: `builder_should_create_image`; the planned [`Content`] is added; cloud: `builder_will_create_image` (may add more); os: `create_target_image` (is given all content); cloud: `finish_target_image`, `builder_did_create_image` |
//! | provider | cloud: `builder_should_create_image`, `builder_will_create_image`, then `push_image_to_provider` or `snapshot_image_on_provider`, then `builder_did_create_image` |
//! | delete | cloud: `delete_from_provider`; then the record is removed |
//! | cancel | `abort` of every delegate that was called in this build, on another thread; then its processes are ended |
//!
//! [`Decision::Skip`] from `builder_should_create_image` ends that tier and those above it as
//! `SKIPPED`, with the reason. An error ends them as `FAILED`; its [kind](DelegateErrorKind) says
//! whose fault it is. [`Builder::tier`] tells which tier a hook is asked about.
//!
//! # What a plugin may rely on
//!
//! - A panic in any method, constructor or drop becomes an error of the kind
//!   [`BugInPlugin`](DelegateErrorKind::BugInPlugin) with its message and place, unless the library
//!   was built with `panic = "abort"`: then its worker dies and the build fails.
//! - `tracing` works as usual: events, fields and open spans arrive in the log of the build, those
//!   of the plugin's dependencies too. Events of a thread that the plugin starts belong to the
//!   session that was opened last.
//! - A call costs nanoseconds; only documents (template, parameters, images, errors) are serialised.
//!
//! # Trust
//!
//! A plugin is native code. It runs in a process of the host's user, with all rights of that user:
//! it can read and write whatever the user can, and the ABI check does not make it safe. Install a
//! library only from where you would install a program. The separate processes contain mistakes
//! (a crash, a loop, a leak fails one build and never the host); they do not contain malice.
//! Constructors of a library run as soon as it is opened.
//!
//! # Evolution
//!
//! Plugins and hosts of one major version work together, whichever is older (before 1.0, the minor
//! number counts as the major one, as for Cargo). Within a major version
//! - traits that a plugin implements gain methods with defaults, [`Builder`] gains methods;
//! - documents gain optional fields, and readers ignore fields that they do not know;
//! - [`host::HostCall`] gains variants; an older host answers them with
//!   [`Unsupported`](DelegateErrorKind::Unsupported);
//! - error kinds are added; an older side takes them for [`Failed`](DelegateErrorKind::Failed);
//! - the ABI gains methods and fields at its end.
//!
//! Nothing is removed, reordered or changed in meaning. What does not fit is refused when it is
//! probed, with one line that names both versions and the first difference.
//!
//! # Coming from ImageFactory
//!
//! | ImageFactory | here |
//! |---|---|
//! | `OSDelegate.create_base_image(builder, template, parameters)` | [`OsDelegate::create_base_image`]; the rest is asked of the [`Builder`] |
//! | `OSDelegate.create_target_image(builder, target, base_image, parameters)` | [`OsDelegate::create_target_image`] |
//! | `OSDelegate.add_cloud_plugin_content(content)` | [`CloudDelegate::target_content`] or [`Builder::add_content`] on the one side, [`Builder::content`] on the other |
//! | `CloudDelegate.builder_should_create_target_image` and `will`, `did` | [`CloudDelegate::builder_should_create_image`] and `will`, `did`, in all tiers |
//! | `False` from `should`, which became `COMPLETE` with an empty body | [`Decision::Skip`] with a reason |
//! | writing the target format in `did` | [`CloudDelegate::finish_target_image`] |
//! | `CloudDelegate.push_image_to_provider`, `snapshot_image_on_provider`, `delete_from_provider` | the same names; whoever makes snapshots says so by [`CloudDelegate::makes_snapshots`] |
//! | `OSDelegate.abort` | `abort` of both kinds |
//! | raising an exception | `Err` with a [`DelegateError`] |
//! | `status_detail['activity']`, `percent_complete` | [`Builder::activity`], [`Builder::progress`] |
//! | `delegate_class` in `__init__.py` | [`export_plugin!`] |

pub mod abi;
mod builder;
mod cloud_delegate;
mod command;
mod content;
mod error;
#[doc(hidden)]
pub mod export;
mod forwarder;
pub mod host;
mod image;
pub mod info;
mod os_delegate;
mod parameters;
pub mod template;
#[cfg(feature = "testing")]
pub mod testing;

pub use builder::{BuildLock, Builder};
pub use cloud_delegate::CloudDelegate;
pub use command::{Command, CommandOutput, CommandParts};
pub use content::Content;
pub use error::{DelegateError, DelegateErrorKind, ResultExt};
pub use export::DelegateKind;
pub use image::{Artifact, Decision, Image, ProviderIdentity, Tier};
pub use os_delegate::OsDelegate;
pub use parameters::Parameters;
pub use template::Template;

#[doc(hidden)]
pub use inventory as __inventory;
