//! Misbehaves while it is loaded, before anybody could ask it anything.
//!
//! The environment variable `MISBEHAVE` says where and how: `constructor: segfault`, `root module:
//! loop`, `delegate: panic`. With `later` before it (`later constructor: abort`) a probe sees nothing
//! bad.

#![expect(
    unsafe_code,
    improper_ctypes,
    reason = "a constructor and a root module of its own are the point"
)]

use moments::Misbehaving;
use moments::faults::commit;
use plugin_api::abi::export::LibHeader;

plugin_api::export_plugin!(os => delegate());

unsafe extern "C" {
    /// What `export_plugin!` exports.
    #[link_name = "imageforge_plugin"]
    static HEADER: LibHeader;
}

/// What the root module of a library is made by: the last field of its header.
type RootModule = extern "C" fn() -> !;

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

extern "C" fn constructor() {
    if let Some(how) = fault_at("constructor") {
        commit(&how);
    }
    if fault_at("root module").is_some() {
        let last_field = (&raw const HEADER).wrapping_add(1).cast::<RootModule>().wrapping_sub(1);
        // SAFETY: nobody reads the header before constructors are done, and it is no constant: it
        // keeps the module that was made.
        unsafe { last_field.cast_mut().write(root_module) }
    }
}

extern "C" fn root_module() -> ! {
    commit(&fault_at("root module").unwrap_or_default());
    loop {
        commit("sleep");
    }
}

fn delegate() -> Misbehaving {
    if let Some(how) = fault_at("delegate") {
        commit(&how);
    }
    Misbehaving::new(|_, _| Ok(()))
}

/// What is to be done at `moment`, if it is this one.
fn fault_at(moment: &str) -> Option<String> {
    let wanted = std::env::var("MISBEHAVE").ok()?;
    let (when, how) = wanted.split_once(": ")?;
    let is_probe = || std::env::args().nth(1).is_some_and(|argument| argument == "probe");
    let when = match when.strip_prefix("later ") {
        Some(_) if is_probe() => return None,
        Some(when) => when,
        None => when,
    };
    (when == moment).then(|| how.to_owned())
}
