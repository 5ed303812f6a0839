//! Writes to nowhere while the library is opened, before anybody could ask it anything.

#![expect(unsafe_code, reason = "a constructor is the point")]

use moments::Misbehaving;

plugin_api::export_plugin!(os => Misbehaving::new(|_, _| Ok(())));

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = constructor;

extern "C" fn constructor() {
    let nowhere = std::hint::black_box(std::ptr::without_provenance_mut::<u8>(8));
    // SAFETY: there is none; nothing is mapped there, and the kernel ends the process.
    unsafe { nowhere.write_volatile(1) }
}
