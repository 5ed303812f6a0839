//! Promises of the factory that no plugin can put to the test.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use plugin_api::{Content, Template, Tier};
use plugin_kit::sparse::Control;
use serde_json::Map;

use super::plan::{BaseStep, ContentSource, Plan, PlannedContent, PlannedPlugin, TargetStep};
use super::secrets::Secrets;
use super::{Factory, Limits, Notice, Observer, What};
use crate::images::{Body, Filter, NewImage, Status, Store, Update};
use crate::plugins::LibraryCopy;

/// A defect of ours: it panics when the image `bad` begins, and so would whatever else is wrong there.
struct Defect;

impl Observer for Defect {
    fn notice(&self, notice: &Notice<'_>) {
        let begins = matches!(notice.what, What::Status(Status::Building));
        assert!(!(begins && notice.label == "bad"), "a defect of ours");
    }
}

fn plugin() -> PlannedPlugin {
    PlannedPlugin {
        name: "none".to_owned(),
        version: "0".to_owned(),
        library: "/nonexistent/libnone.so".into(),
        library_digest: String::new(),
        copy: LibraryCopy::absent(),
        delegate: None,
        parameters: Map::new(),
        configuration: Map::new(),
        limits: Limits::default(),
    }
}

fn base_image(store: &Store) -> crate::images::ImageRecord {
    let owned = store.create(NewImage::new(Tier::Base, "base")).unwrap();
    store.transition(owned.id(), Status::Pending, Update::default()).unwrap();
    store.transition(owned.id(), Status::Building, Update::default()).unwrap();
    let path: Utf8PathBuf = store.work_dir(owned.id()).join("body");
    fs_err::write(&path, "base").unwrap();
    let body = Body { path, media_type: "text/plain".to_owned(), sha256: None };
    let record = store.complete(owned.id(), Some(body), &Control::default()).unwrap();
    store.release(owned).unwrap();
    record
}

fn plan(store: &Store, targets: &[&str]) -> Plan {
    let content = || PlannedContent {
        from: ContentSource::Plugin("none".to_owned()),
        shown: Content::default(),
        added: Content::default(),
    };
    let target = |target: &&str| TargetStep {
        target: (*target).to_owned(),
        os: plugin(),
        cloud: plugin(),
        content: content(),
    };
    Plan {
        name: "test".to_owned(),
        labels: BTreeMap::new(),
        template: Template::default(),
        template_source: String::new(),
        parameters: Map::new(),
        base: BaseStep::Reuse(Box::new(base_image(store))),
        targets: targets.iter().map(target).collect(),
        providers: Vec::new(),
        source_date_epoch: None,
        secrets: Secrets::default(),
        private_files: Vec::new(),
        is_remote: false,
        room: crate::images::Room::default(),
        isolation: "nothing",
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Utf8Path::from_path(folder.path()).unwrap()).unwrap();
    (folder, store)
}

#[test]
fn a_panic_of_ours_is_a_failed_image_with_an_internal_error_and_the_neighbour_goes_on() {
    let (_folder, store) = store();
    let cancelled = || false;
    let factory = Factory::new(&store, &Defect, &cancelled);
    let accepted = factory.accept(plan(&store, &["bad", "good"])).unwrap();
    let built = factory.run(accepted).unwrap();
    let labels: Vec<&str> = built.iter().map(|image| image.label.as_str()).collect();
    assert_eq!(labels, ["base", "bad", "good"]);
    let [_, bad, good] = built.as_slice() else {
        panic!("three images");
    };
    assert_eq!(bad.record.status, Status::Failed);
    let error = bad.record.status_detail.error.as_deref().unwrap();
    assert_eq!(error, "internal error: a defect of ours");
    assert_eq!(bad.record.status_detail.hints.len(), 1);
    assert!(!store.work_dir(bad.record.id).exists());
    // Its plugin does not exist: it came as far as its worker.
    let error = good.record.status_detail.error.as_deref().unwrap();
    assert!(!error.contains("internal"), "{error}");
    assert!(store.recover().unwrap().interrupted.is_empty());
}

#[test]
fn an_order_that_is_withdrawn_leaves_no_record() {
    let (_folder, store) = store();
    let cancelled = || false;
    let factory = Factory::new(&store, &Defect, &cancelled);
    let accepted = factory.accept(plan(&store, &["one", "two"])).unwrap();
    let ids = accepted.ids();
    factory.withdraw(accepted).unwrap();
    let left = store.list(&Filter::default()).unwrap();
    assert_eq!(left.iter().map(|record| record.id).collect::<Vec<_>>(), ids[..1]);
    assert!(store.recover().unwrap().removed.is_empty());
}
