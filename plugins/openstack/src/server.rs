//! A server that is started for a snapshot: its name, what it is told, and whether it did it.
//!
//! Its name follows from the data directory, the cloud, the template and the image, so that the next
//! snapshot finds a server that a killed worker left running.

use plugin_api::{Builder, DelegateError};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::nova::Nova;
use crate::push::IMAGE_ID;
use crate::script::{self, SUCCESS};

/// Lines of a console that are repeated.
const LAST_LINES: usize = 20;

/// The name of the server, which is that of a lock too.
pub(crate) fn own_name(
    builder: &Builder,
    nova: &Nova<'_, '_>,
    image: &str,
) -> Result<String, DelegateError> {
    let seed = format!("{}\n{}\n{image}", nova.url(""), builder.template().name);
    let key = Uuid::new_v5(&data_directory(builder)?, seed.as_bytes());
    Ok(format!("imageforge-{key}"))
}

/// An identifier of this data directory: a cloud may know several of the same path.
fn data_directory(builder: &Builder) -> Result<Uuid, DelegateError> {
    let _alone = builder.lock("openstack-data-directory")?;
    let path = builder.cache_dir("openstack")?.join("data-directory");
    let known = fs_err::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
    if let Some(known) = known {
        return Ok(known);
    }
    let new = Uuid::new_v4();
    fs_err::write(&path, new.to_string())?;
    Ok(new)
}

/// What Nova is told about the server, but for its flavour.
pub(crate) fn document(
    builder: &Builder,
    name: &str,
    image: &str,
    network: Option<&str>,
) -> Result<Value, DelegateError> {
    let mut server = json!({
        "name": name,
        "imageRef": image,
        "config_drive": true,
        "metadata": { IMAGE_ID: builder.id() },
    });
    if let Some(script) = script::of_template(builder.template())? {
        server["user_data"] = script.into();
    }
    if let Some(network) = network {
        server["networks"] = json!([{ "uuid": network }]);
    }
    Ok(server)
}

/// Waits until a server has done what the template says.
pub(crate) fn customise(
    builder: &Builder,
    nova: &Nova<'_, '_>,
    id: &str,
) -> Result<(), DelegateError> {
    if script::is_empty(builder.template()) {
        return nova.wait_for(id, "ACTIVE");
    }
    builder.activity("waiting until the server has done what the template says");
    nova.wait_for(id, "SHUTOFF")?;
    match nova.console(id)? {
        None => {
            tracing::warn!(
                "the cloud shows no console: nothing tells whether all commands succeeded"
            );
            Ok(())
        },
        Some(console) if console.contains(SUCCESS) => Ok(()),
        Some(console) => {
            let lines: Vec<&str> = console.lines().collect();
            let last = lines[lines.len().saturating_sub(LAST_LINES)..].join("\n");
            tracing::error!("the end of its console:\n{last}");
            Err(DelegateError::failed("a command of the template failed in the server")
                .hint("the log of this image holds the end of its console"))
        },
    }
}
