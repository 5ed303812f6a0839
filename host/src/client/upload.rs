//! Disks of this machine, sent to a daemon that takes them in as base images.

use std::io::{self, Read};
use std::pin::pin;
use std::time::Duration;

use camino::Utf8Path;
use fs_err::File;
use futures_util::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::Method;
use hyper::body::{Bytes, Frame};
use hyper::header::{self, HeaderValue};
use tokio::time::timeout;
use uuid::Uuid;

use super::wire::Body;
use super::{ClientError, Server};
use crate::images::ImageRecord;

/// Time between two looks whether the caller still wants it.
const LOOK: Duration = Duration::from_millis(200);
/// Time in which an answer must begin, the transfer included.
const PATIENCE: Duration = Duration::from_hours(24 * 7);
/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;

impl Server {
    /// Sends the disk at `path` and answers the image that it became. `template` describes it, `name`
    /// is that of the image.
    ///
    /// # Errors
    /// [`ClientError`]; the daemon keeps nothing then. A transfer that breaks is not taken up again.
    pub fn upload(
        &self,
        path: &Utf8Path,
        template: &str,
        name: Option<&str>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<ImageRecord, ClientError> {
        let unreadable = |source| ClientError::Disk { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let size_bytes = file.metadata().map_err(unreadable)?.len();
        let boundary = Uuid::new_v4().simple().to_string();
        let part = |head: &str| format!("--{boundary}\r\ncontent-disposition: form-data; {head}");
        let text = |field: &str, text: &str| {
            format!("{}\r\n\r\n{text}\r\n", part(&format!("name=\"{field}\"")))
        };
        let called = path.as_str().replace(['"', '\\', '\r', '\n'], "_");
        let mut head = text("template", template);
        head.extend(name.map(|name| text("name", name)));
        head.push_str(&part(&format!("name=\"disk\"; filename=\"{called}\"")));
        head.push_str("\r\ncontent-type: application/octet-stream\r\n\r\n");
        let tail = format!("\r\n--{boundary}--\r\n");
        let length = (head.len() + tail.len()) as u64 + size_bytes;
        let whole = io::Cursor::new(head).chain(file.take(size_bytes)).chain(io::Cursor::new(tail));

        let mut request = self.request(Method::POST, "/v1/images", pieces(whole))?;
        let kind = format!("multipart/form-data; boundary={boundary}");
        let kind = HeaderValue::try_from(kind).map_err(|_| self.no_daemon("no boundary"))?;
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        request.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        let bytes = self.runtime.block_on(async {
            let mut answered = pin!(async {
                let answer = self.answer(request, PATIENCE).await?;
                self.read(answer.into_body()).await
            });
            loop {
                match timeout(LOOK, &mut answered).await {
                    Ok(answer) => break answer,
                    Err(_) if cancelled() => break Err(ClientError::Cancelled),
                    Err(_) => {},
                }
            }
        })?;
        self.document(&bytes, "/v1/images")
    }
}

/// A body that is read while it is sent.
fn pieces(whole: impl Read + Send + 'static) -> Body {
    let read = |mut whole| async move {
        let mut piece = vec![0; PIECE_BYTES];
        match Read::read(&mut whole, &mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                Some((Ok(Frame::data(Bytes::from(piece))), whole))
            },
            Err(error) => Some((Err(error), whole)),
        }
    };
    StreamBody::new(stream::unfold(whole, read)).boxed_unsync()
}
