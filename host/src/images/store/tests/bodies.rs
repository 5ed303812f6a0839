//! Bodies, artifacts, export, import, check.

use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;

use super::*;
use crate::atomic_file::{AtomicFileError, Existing};
use crate::images::{BOOT_ARTIFACTS, StoreError};

const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

#[test]
fn a_complete_image_has_its_body_under_the_final_name_and_no_work_folder() {
    let store = Fixture::new();
    let record = store.complete_with(base("debian"), b"hello");
    assert_eq!(record.status, Status::Complete);
    assert_eq!((record.size_bytes, record.percent_complete), (Some(5), 100));
    assert_eq!(record.sha256.as_deref(), Some(HELLO));
    let path = record.path.clone().unwrap();
    assert_eq!(fs_err::read(&path).unwrap(), b"hello");
    let id = record.id;
    assert_eq!(
        store.files(),
        [format!("images/{id}"), format!("images/{id}/artifacts"), format!("images/{id}/body")]
    );
    assert_eq!(record.to_image().unwrap().path, path);
}

#[test]
fn a_body_that_is_no_regular_file_is_refused_and_the_image_stays_building() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let id = owned.id();
    let mut body = store.body(id, b"hello");
    let link = store.work_dir(id).join("link");
    fs_err::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
    for path in [link, store.work_dir(id), store.work_dir(id).join("absent")] {
        body.path = path;
        let error = store.complete(id, Some(body.clone()), &Control::default()).unwrap_err();
        assert!(error.to_string().contains(body.path.as_str()), "{error}");
    }
    let record = store.get(id).unwrap();
    assert_eq!((record.status, record.path, record.size_bytes), (Status::Building, None, None));
}

#[test]
fn a_body_with_a_second_name_is_copied_so_that_nobody_can_change_it() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let body = store.body(owned.id(), b"hello");
    let second = store.path.join("second");
    fs_err::hard_link(&body.path, &second).unwrap();
    let record = store.complete(owned.id(), Some(body), &Control::default()).unwrap();
    fs_err::write(&second, "changed").unwrap();
    assert_eq!(fs_err::read(record.path.unwrap()).unwrap(), b"hello");
    assert!(fs_err::read_dir(store.data_dir().join("tmp")).unwrap().next().is_none());
}

#[test]
fn a_failed_image_keeps_its_artifacts_and_no_body() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let id = owned.id();
    let log = store.work_dir(id).join("log");
    fs_err::write(&log, "it broke").unwrap();
    store.add_artifact(id, "log", &log, "text/plain", &Control::default()).unwrap();
    let body = store.body(id, b"hello");
    store.place_body(id, body, &Control::default()).unwrap();
    let record = store.transition(id, Status::Failed, Update::default()).unwrap();
    store.release(owned).unwrap();
    assert_eq!((record.path, record.size_bytes, record.sha256), (None, None, None));
    assert_eq!(
        store.files(),
        [
            format!("images/{id}"),
            format!("images/{id}/artifacts"),
            format!("images/{id}/artifacts/log"),
        ]
    );
}

#[test]
fn an_artifact_replaces_the_one_of_the_same_name_and_cannot_leave_its_folder() {
    let store = Fixture::new();
    let id = store.complete_with(base("debian"), b"hello").id;
    let add = |name: &str, content: &str| {
        let file = store.path.join("file");
        fs_err::write(&file, content).unwrap();
        store.add_artifact(id, name, &file, "text/plain", &Control::default())
    };
    add("serial.log", "old").unwrap();
    add("serial.log", "newer").unwrap();
    let record = store.get(id).unwrap();
    assert_eq!(record.artifacts.len(), 1);
    let artifact = record.artifact("serial.log").unwrap();
    assert_eq!(artifact.size_bytes, 5);
    assert_eq!(fs_err::read_to_string(artifact.path.as_ref().unwrap()).unwrap(), "newer");
    for name in ["", ".", "..", "../body", "a/b", ".hidden", "a\0b", &"x".repeat(129)] {
        assert!(matches!(add(name, "x"), Err(StoreError::ArtifactName { .. })), "{name:?}");
    }
}

#[test]
fn what_is_shared_of_an_image_is_what_its_making_recorded() {
    let store = Fixture::new();
    let base_image = store.complete_with(base("debian"), b"hello");
    let add = |id, name: &str, content: &str| {
        let file = store.path.join("file");
        fs_err::write(&file, content).unwrap();
        store.add_artifact(id, name, &file, "text/plain", &Control::default()).unwrap()
    };
    add(base_image.id, "packages", "of the base");
    add(base_image.id, "manifest", "of the base");
    add(base_image.id, &format!("{BOOT_ARTIFACTS}console.log"), "login:");
    let owned = store.building(base("other"));
    add(owned.id(), "manifest", "its own");
    let base_image = store.get(base_image.id).unwrap();
    store.share_artifacts(owned.id(), &base_image).unwrap();
    let text = |name: &str| {
        let record = store.get(owned.id()).unwrap();
        let path = record.artifact(name)?.path.clone()?;
        fs_err::read_to_string(path).ok()
    };
    assert_eq!(text("packages").unwrap(), "of the base");
    assert_eq!(text("manifest").unwrap(), "its own");
    assert_eq!(text("boot-console.log"), None);
    assert_eq!(base_image.to_artifacts().len(), 2);
    store.release(owned).unwrap();
}

#[test]
fn a_changed_shortened_or_missing_file_is_damage() {
    let store = Fixture::new();
    let record = store.complete_with(base("debian"), b"hello");
    let body = record.path.unwrap();
    let file = store.path.join("file");
    fs_err::write(&file, "manifest").unwrap();
    let artifact = store
        .add_artifact(record.id, "manifest", &file, "text/plain", &Control::default())
        .unwrap();
    let check = || store.check(record.id, &Control::default()).unwrap();
    let report = check();
    assert_eq!((report.intact.len(), report.damage.len()), (2, 0));

    let replace = |content: &str| {
        fs_err::remove_file(&body).unwrap();
        fs_err::write(&body, content).unwrap();
    };
    replace("hellp");
    assert!(check().damage[0].problem.contains(HELLO));
    replace("hell");
    assert_eq!(check().damage[0].problem, "it has 4 bytes instead of 5");
    fs_err::remove_file(&body).unwrap();
    assert_eq!(check().damage[0].problem, "it is missing");
    fs_err::remove_file(artifact.path.unwrap()).unwrap();
    assert_eq!(check().damage.len(), 2);
}

#[test]
fn an_export_keeps_holes_and_never_replaces_a_file_unless_told() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let body = store.body(owned.id(), b"");
    let mut file = fs_err::File::create(&body.path).unwrap();
    file.seek(SeekFrom::Start(64 << 20)).unwrap();
    file.write_all(b"end").unwrap();
    let record = store.complete(owned.id(), Some(body), &Control::default()).unwrap();

    let to = store.path.join("out.raw");
    let export = |existing| store.export(record.id, &to, existing, &Control::default());
    export(Existing::Refuse).unwrap();
    let metadata = fs_err::metadata(&to).unwrap();
    assert_eq!(metadata.len(), (64 << 20) + 3);
    assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());

    fs_err::write(&to, "mine").unwrap();
    let error = export(Existing::Refuse).unwrap_err();
    assert!(matches!(error, StoreError::Export(AtomicFileError::Exists { .. })));
    assert_eq!(fs_err::read(&to).unwrap(), b"mine");
    export(Existing::Replace).unwrap();
    assert_eq!(fs_err::metadata(&to).unwrap().len(), (64 << 20) + 3);

    let building = store.building(base("debian")).id();
    let error = store.export(building, &to, Existing::Replace, &Control::default()).unwrap_err();
    assert!(matches!(error, StoreError::NoBody { .. }));
}

#[test]
fn an_import_is_a_complete_image_and_leaves_the_original_alone() {
    let store = Fixture::new();
    let (file, link) = (store.path.join("disk.raw"), store.path.join("link"));
    fs_err::write(&file, "hello").unwrap();
    fs_err::os::unix::fs::symlink(&file, &link).unwrap();
    let media_type = "application/x-raw-disk-image";
    let copy = store.copy_in(&link, &Control::default()).unwrap();
    let record = store.import(&copy, base("mine"), media_type, &Control::default()).unwrap();
    assert_eq!(record.status, Status::Complete);
    assert_eq!(record.sha256.as_deref(), Some(HELLO));
    assert_eq!(record.media_type.as_deref(), Some(media_type));
    assert_eq!(fs_err::read(&file).unwrap(), b"hello");
    assert!(!store.is_owned(record.id).unwrap());
}

#[test]
fn a_failed_import_leaves_no_record_and_no_file() {
    let store = Fixture::new();
    let import = |path: &Utf8Path, image| {
        store.import(&store.copy_in(path, &Control::default())?, image, "x", &Control::default())
    };
    assert!(import(&store.path.join("absent"), base("x")).is_err());
    assert!(import(&store.path, base("x")).is_err());
    let file = store.path.join("disk.raw");
    fs_err::write(&file, "hello").unwrap();
    assert!(import(&file, target_of(ImageId::new(), "qcow2")).is_err());
    let cancelled = Control::new(&|_, _| {}, &|| true);
    let copy = store.copy_in(&file, &Control::default()).unwrap();
    let error = store.import(&copy, base("x"), "x", &cancelled).unwrap_err();
    assert_eq!(error.kind(), plugin_api::DelegateErrorKind::Cancelled);
    drop(copy);
    assert!(store.list(&crate::images::Filter::default()).unwrap().is_empty());
    assert!(store.files().is_empty(), "{:?}", store.files());
}

#[test]
fn the_newest_complete_image_with_the_key_is_used_again_while_its_body_is_whole() {
    let store = Fixture::new();
    let keyed = || NewImage { reuse_key: Some("key".to_owned()), ..base("debian") };
    assert_eq!(store.find_reusable("key").unwrap(), None);
    let first = store.complete_with(keyed(), b"hello");
    let second = store.complete_with(keyed(), b"hello");
    let _building = store.building(keyed());
    assert_eq!(store.find_reusable("key").unwrap().unwrap().id, second.id);
    fs_err::remove_file(second.path.unwrap()).unwrap();
    assert_eq!(store.find_reusable("key").unwrap().unwrap().id, first.id);
    assert_eq!(store.find_reusable("other").unwrap(), None);
}
