//! Promises of the store.

mod bodies;
mod crash;
mod delete;
mod open;
mod processes;
mod records;
mod room;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::Tier;
use plugin_kit::sparse::Control;

use super::{Body, OwnedImage, Store, Update};
use crate::images::{ImageId, ImageRecord, NewImage, Status};

/// A store in a folder that is removed at the end of the test.
struct Fixture {
    _folder: tempfile::TempDir,
    path: Utf8PathBuf,
    store: Store,
}

impl std::ops::Deref for Fixture {
    type Target = Store;

    fn deref(&self) -> &Store {
        &self.store
    }
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().canonicalize().unwrap()).unwrap();
        let store = Store::open(&path.join("data")).unwrap();
        Self { _folder: folder, path, store }
    }

    /// Another process, as far as the store can tell.
    fn other(&self) -> Store {
        Store::open(self.data_dir()).unwrap()
    }

    fn building(&self, image: NewImage) -> OwnedImage {
        let owned = self.create(image).unwrap();
        self.transition(owned.id(), Status::Pending, Update::default()).unwrap();
        self.transition(owned.id(), Status::Building, Update::default()).unwrap();
        owned
    }

    fn body(&self, id: ImageId, content: &[u8]) -> Body {
        let path = self.work_dir(id).join("body");
        fs_err::write(&path, content).unwrap();
        Body { path, media_type: "application/octet-stream".to_owned(), sha256: None }
    }

    fn complete_with(&self, image: NewImage, content: &[u8]) -> ImageRecord {
        let owned = self.building(image);
        let body = self.body(owned.id(), content);
        let record = self.store.complete(owned.id(), Some(body), &Control::default()).unwrap();
        self.release(owned).unwrap();
        record
    }

    fn is_lock_of_a_record(&self, name: &str) -> bool {
        let id = name.strip_prefix("locks/").and_then(|id| id.parse().ok());
        id.is_some_and(|id| self.get(id).is_ok())
    }

    /// Every path below the data directory, without the database and the locks of images that there are.
    fn files(&self) -> Vec<String> {
        fn visit(folder: &Utf8Path, found: &mut Vec<Utf8PathBuf>) {
            for entry in folder.read_dir_utf8().unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_dir() {
                    visit(entry.path(), found);
                }
                found.push(entry.path().to_owned());
            }
        }
        let mut found = Vec::new();
        visit(self.data_dir(), &mut found);
        let mut names: Vec<String> = found
            .iter()
            .map(|path| path.strip_prefix(self.data_dir()).unwrap().to_string())
            .filter(|name| !name.starts_with("store."))
            .filter(|name| !["locks", "images", "work", "tmp", "cache"].contains(&name.as_str()))
            .filter(|name| !self.is_lock_of_a_record(name))
            .collect();
        names.sort();
        names
    }
}

fn base(name: &str) -> NewImage {
    NewImage::new(Tier::Base, name)
}

fn target_of(parent: ImageId, target: &str) -> NewImage {
    NewImage {
        target: Some(target.to_owned()),
        base_image_id: Some(parent),
        ..NewImage::new(Tier::Target, "target")
    }
}
