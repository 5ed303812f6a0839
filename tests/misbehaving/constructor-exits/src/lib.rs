//! Ends the process with status 0 while the library is opened, before anybody could ask it anything.

#![expect(unsafe_code, clippy::exit, reason = "a constructor is the point")]

use moments::Misbehaving;

plugin_api::export_plugin!(os => Misbehaving::new(|_, _| Ok(())));

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

extern "C" fn constructor() {
    std::process::exit(0)
}
