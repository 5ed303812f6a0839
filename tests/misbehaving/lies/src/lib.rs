//! Returns what cannot be: text that is no text, text without end, a body that is none.

use fs_err::os::unix::fs::symlink;
use moments::Misbehaving;
use plugin_api::{Builder, DelegateError};

plugin_api::export_plugin!(os => Misbehaving::new(act));

fn act(how: &str, builder: Option<&Builder>) -> Result<(), DelegateError> {
    let Some(builder) = builder else {
        return Ok(());
    };
    let body = builder.image_path();
    match how {
        "utf-8" => {
            builder.activity(no_text());
            builder.set_property("odd", no_text())?;
            tracing::info!("{}", no_text());
            return Err(DelegateError::failed(no_text()));
        },
        "huge" => {
            let huge = "very ".repeat(2 << 20);
            builder.activity(&huge);
            tracing::info!("{huge}");
            return Err(DelegateError::failed(huge));
        },
        "nothing" => fs_err::remove_file(body)?,
        "outside" => fs_err::rename(body, builder.work_dir().join("elsewhere"))?,
        "symlink" => {
            fs_err::remove_file(body)?;
            symlink("/etc/hostname", body)?;
        },
        _ => {
            fs_err::remove_file(body)?;
            fs_err::create_dir(body)?;
        },
    }
    Ok(())
}

#[expect(unsafe_code, reason = "breaks a promise of the language on purpose")]
fn no_text() -> &'static str {
    const BYTES: &[u8] = b"ends in \xff\xfe\xc3";
    // SAFETY: there is none; this is what a plugin in another language might send.
    unsafe { std::str::from_utf8_unchecked(std::hint::black_box(BYTES)) }
}
