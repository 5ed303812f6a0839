//! Aborts while the library is opened, before anybody could ask it anything.

#![expect(unsafe_code, reason = "a constructor is the point")]

use moments::Misbehaving;

plugin_api::export_plugin!(os => Misbehaving::new(|_, _| Ok(())));

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

extern "C" fn constructor() {
    std::process::abort()
}
