//! `POST /v1/images`: a disk from elsewhere becomes a base image.
//!
//! A form in parts: `template` (the text), `name`, `labels` (a JSON object of texts), `sha256` (of the
//! disk as it is sent), and, as the last one, `disk`. What cannot work is refused before the disk is
//! read; a disk that does not come to its end leaves nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::{Field, Multipart, MultipartRejection};
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use plugin_kit::sparse::Control;
use tokio::sync::mpsc;
use utoipa::ToSchema;
use utoipa::openapi::schema::SchemaType;
use utoipa::openapi::{Object, ObjectBuilder};

use super::images::public;
use super::{App, blocking};
use crate::daemon::Daemon;
use crate::daemon::access::Subjects;
use crate::daemon::problem::Problem;
use crate::factory::Surroundings;
use crate::factory::import::{self, Disk, Import};
use crate::factory::request::check_name;
use crate::failures::{Exit, Failure};
use crate::images::{ImageRecord, Temporary};
use crate::template::{self, LoadedTemplate, Origin};

/// Pieces of a disk that wait to be written.
const PIECES: usize = 16;
/// Time in which a client that is refused may send the rest.
const LINGER: Duration = Duration::from_secs(5);
/// What a disk is called whose sender gives it no name.
const DISK: &str = "disk";

/// The answer: 201, where the image is, and its record.
type Created = (StatusCode, [(HeaderName, String); 1], Extension<Subjects>, Json<ImageRecord>);

/// What comes before the disk.
#[derive(Debug, Default)]
struct Described {
    template: Option<LoadedTemplate>,
    name: Option<String>,
    labels: BTreeMap<String, String>,
    sha256: Option<String>,
}

/// What the parts are, for the document.
#[derive(ToSchema)]
#[expect(dead_code, reason = "parts are read one after the other")]
struct Upload {
    /// A template, TDL or TOML.
    template: String,
    /// Name of the image; the template's name when missing.
    #[schema(max_length = 255)]
    name: Option<String>,
    /// A JSON object of texts.
    labels: Option<String>,
    /// SHA-256 of the disk as it is sent, in hex.
    sha256: Option<String>,
    /// The disk, as the last part.
    #[schema(schema_with = bytes)]
    disk: Bytes,
}

/// Bytes as OpenAPI 3.1 writes them: of no type that JSON has.
fn bytes() -> Object {
    let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
    any.content_media_type("application/octet-stream").build()
}

/// Makes a disk from elsewhere a base image.
///
/// What cannot work is refused before the disk is read.
#[utoipa::path(
    post,
    path = "/images",
    operation_id = "upload_image",
    tag = "images",
    request_body(content = Upload, content_type = "multipart/form-data"),
    responses(
        (
            status = 201, description = "Its record.", body = ImageRecord,
            headers(("Location" = String, description = "The image.")),
        ),
        (status = 409, description = "There is no room for it."),
        (status = 422, description = "The disk cannot be taken."),
    ),
)]
pub(super) async fn create(
    State(daemon): App,
    headers: HeaderMap,
    parts: Result<Multipart, MultipartRejection>,
) -> Result<Created, Problem> {
    let mut parts = parts.map_err(|refused| {
        Problem::from(refused).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    })?;
    announced(&daemon, &headers)?;
    let answer = read(daemon, &mut parts).await;
    if answer.is_err() {
        // Most clients look at an answer only when they have sent everything.
        let rest = async { while parts.next_field().await.is_ok_and(|part| part.is_some()) {} };
        drop(tokio::time::timeout(LINGER, rest).await);
    }
    answer
}

async fn read(daemon: Arc<Daemon>, parts: &mut Multipart) -> Result<Created, Problem> {
    let settings = daemon.site.settings();
    let max_bytes = settings.serve.max_upload_gib << 30;
    let mut described = Described::default();
    while let Some(part) = parts.next_field().await? {
        let name = part.name().unwrap_or_default().to_owned();
        if name != DISK {
            let text = text(part, settings.serve.max_body_bytes()).await?;
            described.add(&name, text)?;
            continue;
        }
        let Some(template) = described.template.take() else {
            return Err(wrong("the request has no `template` before its `disk`"));
        };
        let called = part.file_name().unwrap_or(DISK).to_owned();
        let (file, sha256) = receive(&daemon, part, max_bytes).await?;
        if let Some(meant) = described.sha256.filter(|meant| !meant.eq_ignore_ascii_case(&sha256)) {
            let message = format!("`{called}` came with SHA-256 `{sha256}` instead of `{meant}`");
            return Err(wrong(message));
        }
        let Described { name, labels, .. } = described;
        let import = Import { template, name, labels, max_bytes };
        return take_in(daemon, file, called, import).await;
    }
    Err(wrong("the request has no `disk`"))
}

/// Refuses what says in advance that it is too much.
fn announced(daemon: &Daemon, headers: &HeaderMap) -> Result<(), Problem> {
    let max_bytes = daemon.site.settings().serve.max_upload_gib << 30;
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let Some(length) = length.and_then(|length| length.parse::<u64>().ok()) else { return Ok(()) };
    if length > max_bytes {
        return Err(too_long(max_bytes));
    }
    daemon.store.room_for(length)?;
    Ok(())
}

impl Described {
    fn add(&mut self, name: &str, text: String) -> Result<(), Problem> {
        match name {
            "template" => {
                // Without a directory: a template from elsewhere includes no file of this machine.
                let origin = Origin { name: name.to_owned(), directory: None };
                let loaded = template::parse(&text, &origin).map_err(|error| {
                    Failure::from_error(Exit::InvalidInput, &error).hints(error.hints())
                })?;
                self.template = Some(loaded);
            },
            "name" => {
                check_name(&text).map_err(|reason| wrong(format!("`name` {reason}")))?;
                self.name = Some(text);
            },
            "labels" => {
                self.labels = serde_json::from_str(&text)
                    .map_err(|error| wrong(format!("`labels` is no object of texts: {error}")))?;
            },
            "sha256" => self.sha256 = Some(text.trim().to_owned()),
            _ => {
                return Err(wrong(format!("there is no part `{}`", name.escape_debug())));
            },
        }
        Ok(())
    }
}

/// A part that is a text of at most `max_bytes`.
async fn text(mut part: Field<'_>, max_bytes: usize) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    while let Some(piece) = part.chunk().await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > max_bytes {
            return Err(too_long(max_bytes as u64));
        }
    }
    String::from_utf8(bytes).map_err(|_| wrong("a part before `disk` is no UTF-8 text"))
}

/// Reads the disk to its end. It is written where that holds up nobody else.
async fn receive(
    daemon: &Arc<Daemon>,
    mut part: Field<'_>,
    max_bytes: u64,
) -> Result<(Temporary, String), Problem> {
    let (sender, mut pieces) = mpsc::channel::<Option<Bytes>>(PIECES);
    let store = Arc::clone(&daemon.store);
    let written = tokio::spawn(blocking(move || {
        let mut incoming = store.receive()?;
        loop {
            match pieces.blocking_recv() {
                Some(Some(piece)) => incoming.write(&piece)?,
                Some(None) => return Ok(incoming.finish()?),
                None => return Err(wrong("the disk did not come to its end")),
            }
            if incoming.bytes() > max_bytes {
                return Err(too_long(max_bytes));
            }
        }
    }));
    // A failed writer listens no more; what it says counts.
    while let Some(piece) = part.chunk().await? {
        if sender.send(Some(piece)).await.is_err() {
            break;
        }
    }
    drop(sender.send(None).await);
    let defect = |_| Problem::new(Exit::Internal, "the disk could not be written");
    written.await.map_err(defect)?
}

/// Makes the image, unless its sender goes away meanwhile.
async fn take_in(
    daemon: Arc<Daemon>,
    file: Temporary,
    called: String,
    import: Import,
) -> Result<Created, Problem> {
    let gone = Gone::default();
    let is_gone = Arc::clone(&gone.0);
    blocking(move || {
        let cancelled = || is_gone.load(Ordering::Relaxed);
        let control = Control::new(&|_, _| {}, &cancelled);
        let disk = Disk::Received(file, &called);
        let record = import::import(&daemon.store, disk, import, &control)
            .map_err(|error| Failure::from(&error))?;
        let location = format!("/v1/images/{}", record.id);
        let subjects = Extension(Subjects::of(record.id));
        Ok((StatusCode::CREATED, [(header::LOCATION, location)], subjects, Json(public(record))))
    })
    .await
}

/// Tells whoever works for a request that nobody waits for it any more.
#[derive(Default)]
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn wrong(message: impl Into<String>) -> Problem {
    Problem::new(Exit::InvalidInput, message)
}

fn too_long(max_bytes: u64) -> Problem {
    wrong(format!("a part is longer than {max_bytes} bytes"))
        .with_status(StatusCode::PAYLOAD_TOO_LARGE)
}
