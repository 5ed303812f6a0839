//! The healthy neighbour of the plugins that misbehave: its build goes on until it is told to end,
//! so it certainly works while they are at it, however long that takes.

use std::thread;
use std::time::Duration;

use plugin_api::{Builder, DelegateError, OsDelegate};

plugin_api::export_plugin!(os => Patient);

#[derive(Debug)]
struct Patient;

impl OsDelegate for Patient {
    fn create_base_image(&self, builder: &Builder) -> Result<(), DelegateError> {
        builder.activity("working");
        while let Some(file) = builder.parameters().string("until")?
            && !fs_err::exists(file)?
        {
            builder.check_cancelled()?;
            thread::sleep(Duration::from_millis(10));
        }
        Ok(fs_err::write(builder.image_path(), "a healthy image\n")?)
    }
}
