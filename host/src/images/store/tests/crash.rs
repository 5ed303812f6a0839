//! What is there after a process died: its locks are gone, nothing else has changed.

use super::*;
use crate::atomic_file::{AtomicFile, Existing, temporary_name};
use crate::images::StoreError;

#[test]
fn a_store_in_order_is_left_alone() {
    let store = Fixture::new();
    let complete = store.complete_with(base("debian"), b"hello");
    let building = store.building(base("debian"));
    store.body(building.id(), b"half");
    let before = (store.files(), store.last_sequence().unwrap());
    let recovery = store.other().recover().unwrap();
    assert!(recovery.interrupted.is_empty() && recovery.removed.is_empty(), "{recovery:?}");
    assert_eq!(before, (store.files(), store.last_sequence().unwrap()));
    assert_eq!(store.get(complete.id).unwrap(), complete);
}

#[test]
fn a_build_whose_owner_is_gone_is_failed_interrupted_and_its_leftovers_are_removed() {
    let store = Fixture::new();
    let new = store.create(base("new")).unwrap();
    let pending = store.create(base("pending")).unwrap();
    store.transition(pending.id(), Status::Pending, Update::default()).unwrap();
    let building = store.building(base("building"));
    store.body(building.id(), b"half");
    let artifacts = store.image_dir(building.id()).join("artifacts");
    fs_err::write(artifacts.join("unrecorded"), "x").unwrap();
    let ids = [new.id(), pending.id(), building.id()];
    drop((new, pending, building));

    let recovery = store.other().recover().unwrap();
    assert_eq!(recovery.interrupted, ids);
    assert!(recovery.problems.is_empty(), "{recovery:?}");
    for id in ids {
        let record = store.get(id).unwrap();
        assert_eq!(record.status, Status::Failed);
        assert_eq!(record.status_detail.error.as_deref(), Some("interrupted"));
    }
    let mut expected: Vec<String> = ids
        .iter()
        .flat_map(|id| [format!("images/{id}"), format!("images/{id}/artifacts")])
        .collect();
    expected.sort();
    assert_eq!(store.files(), expected);
    let again = store.recover().unwrap();
    assert!(again.interrupted.is_empty() && again.removed.is_empty());
}

#[test]
fn a_finished_body_that_was_not_recorded_yet_is_adopted() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let body = store.body(owned.id(), b"hello");
    store.place_body(owned.id(), body, &Control::default()).unwrap();
    let id = owned.id();
    drop(owned);
    assert_eq!(store.recover().unwrap().adopted, [id]);
    let record = store.get(id).unwrap();
    assert_eq!((record.status, record.percent_complete), (Status::Complete, 100));
    assert!(store.check(id, &Control::default()).unwrap().damage.is_empty());
}

#[test]
fn a_body_without_its_final_name_is_never_adopted() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let id = owned.id();
    let body = store.body(id, b"hello");
    store.place_body(id, body, &Control::default()).unwrap();
    // The record says what the body is, and the rename has not happened.
    fs_err::rename(store.body_path(id), store.work_dir(id).join("body")).unwrap();
    drop(owned);
    assert_eq!(store.recover().unwrap().interrupted, [id]);
    let record = store.get(id).unwrap();
    assert_eq!((record.status, record.size_bytes, record.path), (Status::Failed, None, None));
    assert!(!store.work_dir(id).exists());
}

#[test]
fn a_crash_after_completion_loses_nothing_but_the_work_folder() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let body = store.body(owned.id(), b"hello");
    let record = store.complete(owned.id(), Some(body), &Control::default()).unwrap();
    fs_err::write(store.work_dir(record.id).join("scrap"), "x").unwrap();
    store.recover().unwrap();
    assert!(store.work_dir(record.id).exists(), "its owner lives");
    drop(owned);
    assert_eq!(store.recover().unwrap().removed, [store.work_dir(record.id)]);
    assert_eq!(store.get(record.id).unwrap(), record);
}

#[test]
fn an_interrupted_deletion_is_finished() {
    let store = Fixture::new();
    let id = store.complete_with(base("debian"), b"hello").id;
    drop(store.begin_delete(id, super::super::DeleteMode::Refuse).unwrap());
    fs_err::remove_file(store.body_path(id)).unwrap();
    assert_eq!(store.recover().unwrap().deleted, [id]);
    assert!(matches!(store.get(id), Err(StoreError::NotFound { .. })));
    assert!(store.files().is_empty());
}

#[test]
fn an_interrupted_deletion_at_a_provider_is_delete_failed_and_may_be_tried_again() {
    let store = Fixture::new();
    let image = NewImage::new(Tier::Provider, "pushed");
    let owned = store.building(image);
    let id = owned.id();
    store.complete(id, None, &Control::default()).unwrap();
    store.release(owned).unwrap();
    drop(store.begin_delete(id, super::super::DeleteMode::Refuse).unwrap());
    store.recover().unwrap();
    assert_eq!(store.get(id).unwrap().status, Status::DeleteFailed);
    store.begin_delete(id, super::super::DeleteMode::Refuse).unwrap().finish().unwrap();
    assert!(matches!(store.get(id), Err(StoreError::NotFound { .. })));
}

#[test]
fn folders_without_a_record_and_temporary_files_without_a_writer_are_removed() {
    let store = Fixture::new();
    let orphan = ImageId::new();
    fs_err::create_dir_all(store.image_dir(orphan).join("artifacts")).unwrap();
    fs_err::create_dir_all(store.work_dir(orphan).join("root/etc")).unwrap();
    fs_err::os::unix::fs::symlink("/etc", store.work_dir(orphan).join("root/link")).unwrap();
    fs_err::write(store.data_dir().join("tmp/left"), "x").unwrap();
    fs_err::create_dir(store.data_dir().join("work/not-ours")).unwrap();
    let live = store.temporary().unwrap();
    assert_eq!(store.other().recover().unwrap().removed.len(), 3);
    assert!(live.path.exists());
    drop(live);
    assert_eq!(store.files(), ["work/not-ours"]);
    assert!(Utf8Path::new("/etc/passwd").exists());
}

#[test]
fn an_export_that_was_interrupted_leaves_no_file_beside_its_place() {
    let store = Fixture::new();
    let to = store.path.join("out.raw");
    let (file, link) = store.begin_export(&to).unwrap();
    let hidden = file.temporary_path().to_owned();
    assert!(store.other().recover().unwrap().removed.is_empty(), "its writer lives");
    // Neither is dropped in order when the process dies; only the descriptors are closed.
    fs_err::copy(&hidden, store.path.join("copy")).unwrap();
    fs_err::rename(store.path.join("copy"), &hidden).unwrap();
    assert_eq!(store.other().recover().unwrap().removed, [hidden.clone(), link.path.clone()]);
    assert!(!hidden.exists());
}

#[test]
fn what_was_being_written_is_removed_once_its_writer_is_gone() {
    for name in ["probes.json", "cache/index.json"] {
        let store = Fixture::new();
        let path = store.data_dir().join(name);
        fs_err::write(&path, "{}").unwrap();
        let live = AtomicFile::create(&path, 0o600).unwrap();
        let left = temporary_name(&path).unwrap();
        fs_err::write(&left, "{").unwrap();
        assert_eq!(store.other().recover().unwrap().removed, [left]);
        live.commit(Existing::Replace).unwrap();
        assert!(store.files().contains(&name.to_owned()), "{:?}", store.files());
    }
}

#[test]
fn one_image_that_cannot_be_put_in_order_does_not_hide_the_others() {
    let store = Fixture::new();
    let damaged = store.building(base("one")).id();
    let healthy = store.building(base("two")).id();
    // A folder where the body should be cannot be unlinked.
    fs_err::create_dir(store.body_path(damaged)).unwrap();
    let recovery = store.recover().unwrap();
    assert_eq!(recovery.interrupted, [healthy]);
    assert_eq!(recovery.problems.len(), 1);
    assert_eq!(store.get(healthy).unwrap().status, Status::Failed);
}

/// Turns the record of an image into something that is no record.
fn damage(store: &Fixture, id: ImageId, how: &str) {
    let change = format!("UPDATE images SET record = {how} WHERE id = ?1");
    assert_eq!(store.connection().execute(&change, [id.to_string()]).unwrap(), 1);
}

#[test]
fn a_record_that_does_not_read_is_told_and_the_others_are_put_in_order() {
    let store = Fixture::new();
    let complete = store.complete_with(base("complete"), b"hello");
    let damaged = store.building(base("damaged")).id();
    let healthy = store.building(base("healthy")).id();
    damage(&store, damaged, "json_remove(record, '$.tier')");
    let recovery = store.other().recover().unwrap();
    assert_eq!(recovery.interrupted, [healthy]);
    let [StoreError::Damaged { id, .. }] = recovery.problems.as_slice() else {
        panic!("{recovery:?}");
    };
    assert_eq!(*id, damaged.to_string());
    let listing = store.list_all(&crate::images::Filter::default()).unwrap();
    let listed: Vec<_> = listing.records.iter().map(|record| record.id).collect();
    assert_eq!(listed, [healthy, complete.id]);
    assert_eq!(listing.damaged.len(), 1);
    assert!(matches!(store.find(&id[..8]), Err(StoreError::Damaged { .. })));
}

#[test]
fn an_image_whose_state_does_not_read_keeps_its_body_until_it_is_given_up() {
    let store = Fixture::new();
    let id = store.complete_with(base("debian"), b"hello").id;
    for how in ["json_set(record, '$.status', 'BROKEN')", "json_remove(record, '$.status')"] {
        damage(&store, id, how);
        let recovery = store.other().recover().unwrap();
        assert!(recovery.removed.is_empty(), "{recovery:?}");
        assert_eq!(fs_err::read(store.body_path(id)).unwrap(), b"hello");
    }
    assert_eq!(store.recover().unwrap().problems.len(), 1);
    store.delete_damaged(id).unwrap();
    assert!(store.files().is_empty());
    assert!(store.recover().unwrap().problems.is_empty());
}

#[test]
fn the_files_of_named_locks_go_unless_somebody_holds_them() {
    let store = Fixture::new();
    fs_err::create_dir(store.locks_dir()).unwrap();
    let (left, held) = (store.locks_dir().join("left.lock"), store.locks_dir().join("held.lock"));
    fs_err::write(&left, "").unwrap();
    let lock = crate::named_lock::NamedLock::try_take(&held).unwrap().unwrap();
    store.other().recover().unwrap();
    assert!(!left.exists() && held.exists());
    drop(lock);
    assert!(!held.exists());
}
