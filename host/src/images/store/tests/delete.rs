//! Deletion and dependents.

use super::super::DeleteMode;
use super::super::schema::Durability;
use super::*;
use crate::images::{EventKind, Failure, StoreError};

/// A base image, a target image of it, and a provider image of both.
fn family(store: &Fixture) -> [ImageId; 3] {
    let bottom = store.complete_with(base("debian"), b"base").id;
    let middle = store.complete_with(target_of(bottom, "qcow2"), b"target").id;
    let top = NewImage {
        base_image_id: Some(bottom),
        target_image_id: Some(middle),
        ..NewImage::new(Tier::Provider, "pushed")
    };
    [bottom, middle, store.complete_with(top, b"").id]
}

fn left(store: &Fixture) -> usize {
    store.list(&super::super::Filter::default()).unwrap().len()
}

#[test]
fn an_image_that_others_were_made_from_is_refused_with_their_list() {
    let store = Fixture::new();
    let [bottom, middle, top] = family(&store);
    let error = store.delete(bottom, DeleteMode::Refuse).unwrap_err();
    let hints = error.hints().join("\n");
    assert!(matches!(error, StoreError::HasDependents { .. }));
    assert!(hints.contains(&middle.to_string()) && hints.contains(&top.to_string()), "{hints}");
    assert_eq!(left(&store), 3);
    assert_eq!(store.get(bottom).unwrap().status, Status::Complete);
}

#[test]
fn a_cascade_deletes_from_the_top_and_removes_every_file() {
    let store = Fixture::new();
    let [bottom, middle, top] = family(&store);
    assert_eq!(store.delete(bottom, DeleteMode::Cascade).unwrap(), [top, middle, bottom]);
    assert_eq!(left(&store), 0);
    assert!(store.files().is_empty(), "{:?}", store.files());
}

#[test]
fn force_leaves_the_others_without_their_base() {
    let store = Fixture::new();
    let [bottom, middle, _] = family(&store);
    assert_eq!(store.delete(bottom, DeleteMode::Force).unwrap(), [bottom]);
    assert_eq!(store.get(middle).unwrap().base_image_id, Some(bottom));
    assert!(store.check(middle, &Control::default()).unwrap().damage.is_empty());
}

#[test]
fn an_image_that_is_being_built_is_in_use() {
    let store = Fixture::new();
    let bottom = store.complete_with(base("debian"), b"base").id;
    let building = store.building(target_of(bottom, "qcow2"));
    for (id, mode) in [(building.id(), DeleteMode::Refuse), (bottom, DeleteMode::Cascade)] {
        let error = store.other().delete(id, mode).unwrap_err();
        assert!(matches!(error, StoreError::InUse { id } if id == building.id()), "{error}");
    }
    assert_eq!(left(&store), 2);
}

#[test]
fn nothing_can_be_made_from_an_image_that_is_being_deleted() {
    let store = Fixture::new();
    let id = store.complete_with(base("debian"), b"base").id;
    let deletion = store.begin_delete(id, DeleteMode::Refuse).unwrap();
    let error = store.create(target_of(id, "qcow2")).unwrap_err();
    assert!(matches!(error, StoreError::BadParent { .. }), "{error}");
    let error = store.other().begin_delete(id, DeleteMode::Refuse).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    deletion.finish().unwrap();
    let error = store.create(target_of(id, "qcow2")).unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    assert!(store.files().is_empty());
}

#[test]
fn whoever_follows_an_image_sees_its_end() {
    let store = Fixture::new();
    let id = store.complete_with(base("debian"), b"base").id;
    let after = store.last_sequence().unwrap();
    store.delete(id, DeleteMode::Refuse).unwrap();
    let events = store.events_since(&[id], after, 10).unwrap();
    let end =
        EventKind::Transition { from: Some(Status::Deleting), to: Status::Deleted, error: None };
    assert_eq!(events.into_iter().map(|event| event.kind).collect::<Vec<_>>(), [end]);
    store.recover().unwrap();
    assert_eq!(store.events_since(&[id], 0, 10).unwrap().len(), 1);
}

#[test]
fn a_failed_deletion_says_why_and_may_be_tried_again() {
    let store = Fixture::new();
    let id = store.complete_with(base("debian"), b"base").id;
    let failure = Failure::new(plugin_api::DelegateErrorKind::Credentials, "refused");
    let record = store.begin_delete(id, DeleteMode::Refuse).unwrap().fail(failure).unwrap();
    assert_eq!(record.status, Status::DeleteFailed);
    assert_eq!(record.status_detail.error.as_deref(), Some("refused"));
    assert_eq!(store.delete(id, DeleteMode::Refuse).unwrap(), [id]);
}

#[test]
fn that_an_image_was_deleted_can_be_read_for_a_week() {
    let store = Fixture::new();
    let deleted =
        [store.complete_with(base("old"), b"old"), store.complete_with(base("new"), b"new")];
    let [old, new] = deleted.map(|record| record.id);
    let kept = store.complete_with(base("kept"), b"kept").id;
    let events = |id: ImageId| store.events_since(&[id], 0, 100).unwrap().len();
    let before = events(kept);
    for id in [old, new] {
        store.delete(id, DeleteMode::Refuse).unwrap();
    }
    store
        .write(Durability::Process, |transaction| {
            let long_ago = "UPDATE events SET time = '2020-01-01T00:00:00Z' WHERE image <> ?1";
            Ok(transaction.execute(long_ago, [new.to_string()])?)
        })
        .unwrap();
    store.recover().unwrap();
    assert_eq!([old, new, kept].map(events), [0, 1, before]);
}
