//! Records, queries and events.

use std::time::Duration;

use plugin_api::host::LogLevel;
use plugin_api::{DelegateErrorKind, ProviderIdentity};
use serde_json::json;

use super::*;
use crate::images::{EventKind, Failure, Filter, LogLine, StoreError, TemplateRecord};

#[test]
fn what_is_recorded_is_read_back_by_another_process() {
    let store = Fixture::new();
    let image = NewImage {
        labels: [("team".to_owned(), "web".to_owned())].into(),
        template: Some(TemplateRecord {
            source: "<template/>".to_owned(),
            canonical: json!({"name": "x"}),
        }),
        provider: Some("cloud".to_owned()),
        reuse_key: Some("key".to_owned()),
        ..base("debian")
    };
    let owned = store.create(image.clone()).unwrap();
    let record = store.other().get(owned.id()).unwrap();
    assert_eq!(record, image.into_record(owned.id()).tap(|new| new.created = record.created));
    assert_eq!(record, owned.record);
}

trait Tap: Sized {
    fn tap(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Tap for ImageRecord {}

#[test]
fn every_change_is_an_event_in_order() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let id = owned.id();
    store.progress(id, 40).unwrap();
    store.progress(id, 40).unwrap();
    store.activity(id, "unpacking").unwrap();
    store.set_property(id, "arch", json!("amd64")).unwrap();
    store.method(id, "debian", "create_base_image").unwrap();
    let line = LogLine::new(LogLevel::Info, "debian", "hello");
    store.append_log(id, [line.clone(), line.clone()]).unwrap();
    let failure = Failure::new(DelegateErrorKind::Unavailable, "no mirror").hint("wait");
    store.transition(id, Status::Failed, failure.into()).unwrap();

    let events = store.other().events_since(&[id], 0, 100).unwrap();
    assert!(events.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    let kinds: Vec<EventKind> = events.into_iter().map(|event| event.kind).collect();
    let to = |from, to| EventKind::Transition { from, to, error: None };
    assert_eq!(
        kinds,
        [
            to(None, Status::New),
            to(Some(Status::New), Status::Pending),
            to(Some(Status::Pending), Status::Building),
            EventKind::Progress { percent: 40 },
            EventKind::Activity { text: "unpacking".to_owned() },
            EventKind::Property { key: "arch".to_owned(), value: json!("amd64") },
            EventKind::Method {
                plugin: "debian".to_owned(),
                method: "create_base_image".to_owned(),
            },
            EventKind::Log(line.clone()),
            EventKind::Log(line),
            EventKind::Transition {
                from: Some(Status::Building),
                to: Status::Failed,
                error: Some("no mirror".to_owned()),
            },
        ]
    );
    let record = store.get(id).unwrap();
    assert_eq!(record.percent_complete, 40);
    assert_eq!(record.status_detail.kind, Some(DelegateErrorKind::Unavailable));
    assert_eq!(record.status_detail.hints, ["wait"]);
    assert!(record.started.is_some() && record.finished.is_some());
}

#[test]
fn a_transition_outside_the_table_changes_nothing() {
    let store = Fixture::new();
    let owned = store.create(base("debian")).unwrap();
    let before = (store.get(owned.id()).unwrap(), store.last_sequence().unwrap());
    let error = store.transition(owned.id(), Status::Building, Update::default()).unwrap_err();
    assert!(matches!(error, StoreError::Transition { .. }));
    assert!(error.to_string().contains("NEW cannot become BUILDING"), "{error}");
    assert_eq!(before, (store.get(owned.id()).unwrap(), store.last_sequence().unwrap()));
}

#[test]
fn a_follower_gets_an_event_of_another_process_and_misses_none() {
    let store = Fixture::new();
    let owned = store.create(base("debian")).unwrap();
    let id = owned.id();
    let other = store.other();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..50 {
                other.activity(id, &number.to_string()).unwrap();
            }
        });
        let (mut after, mut seen) = (0, Vec::new());
        while seen.len() < 51 {
            for event in store.wait_for_events(&[id], after, Duration::from_secs(20)).unwrap() {
                after = event.sequence;
                seen.push(event.kind);
            }
        }
        let last = EventKind::Activity { text: "49".to_owned() };
        assert_eq!(seen.last(), Some(&last));
    });
    let after = store.last_sequence().unwrap();
    assert!(store.wait_for_events(&[id], after, Duration::ZERO).unwrap().is_empty());
    assert_eq!(store.events_since(&[], 0, 3).unwrap().len(), 3);
}

#[test]
fn an_image_is_found_by_identifier_beginning_and_name() {
    let store = Fixture::new();
    let one = store.create(base("debian")).unwrap().id();
    let two = store.create(base("ubuntu")).unwrap().id();
    let text = one.to_string();
    assert_eq!(store.find(&text).unwrap().id, one);
    assert_eq!(store.find(&one.short().to_uppercase()).unwrap().id, one);
    assert_eq!(store.find("ubuntu").unwrap().id, two);
    for missing in [&text[..3], "fedora", "", "%", "zzzz"] {
        let error = store.find(missing).unwrap_err();
        assert!(matches!(error, StoreError::NotFound { .. }), "{missing}: {error}");
    }
    let third = store.create(base("debian")).unwrap().id();
    let error = store.find("debian").unwrap_err();
    assert_eq!(error.to_string(), "`debian` may be any of 2 images");
    let hints = error.hints().join("\n");
    assert!(hints.contains(&one.to_string()) && hints.contains(&third.to_string()), "{hints}");
}

#[test]
fn a_list_is_filtered_and_the_newest_comes_first() {
    let store = Fixture::new();
    let labelled = |labels: &[(&str, &str)]| NewImage {
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..base("debian")
    };
    let first = store.building(labelled(&[("team", "web"), ("a.b\"c", "1")])).id();
    let second = store.create(labelled(&[("team", "db")])).unwrap().id();
    let third = store.create(target_of(first, "qcow2")).unwrap().id();
    let ids = |filter: &Filter| -> Vec<_> {
        store.list(filter).unwrap().into_iter().map(|record| record.id).collect()
    };
    let all = Filter::default();
    assert_eq!(ids(&all), [third, second, first]);
    assert_eq!(ids(&Filter { limit: Some(1), offset: 1, ..all.clone() }), [second]);
    assert_eq!(ids(&Filter { tier: Some(Tier::Base), ..all.clone() }), [second, first]);
    assert_eq!(ids(&Filter { status: vec![Status::Building], ..all.clone() }), [first]);
    assert_eq!(ids(&Filter { target: Some("qcow2".to_owned()), ..all.clone() }), [third]);
    assert_eq!(ids(&Filter { name: Some("debian".to_owned()), ..all.clone() }), [second, first]);
    let wanted = |key: &str, value: &str| Filter {
        labels: [(key.to_owned(), value.to_owned())].into(),
        ..all.clone()
    };
    assert_eq!(ids(&wanted("team", "web")), [first]);
    assert_eq!(ids(&wanted("a.b\"c", "1")), [first]);
    assert!(ids(&wanted("team", "ops")).is_empty());
}

#[test]
fn a_request_to_cancel_reaches_the_owner_in_another_process() {
    let store = Fixture::new();
    let owned = store.building(base("debian"));
    let id = owned.id();
    assert!(!store.cancel_requested(id).unwrap());
    let other = store.other();
    other.request_cancel(id).unwrap();
    other.request_cancel(id).unwrap();
    assert!(store.cancel_requested(id).unwrap());
    store.transition(id, Status::Cancelled, Update::default()).unwrap();
    let error = other.request_cancel(id).unwrap_err();
    assert_eq!(error.to_string(), format!("image `{id}` is CANCELLED already"));
}

#[test]
fn an_update_keeps_what_it_does_not_name() {
    let store = Fixture::new();
    let owned = store.create(base("debian")).unwrap();
    let update = Update { reuse_key: Some("key".to_owned()), ..Update::default() };
    store.update(owned.id(), update).unwrap();
    let identity = Some(ProviderIdentity::new("ami-1"));
    let record = store.update(owned.id(), Update { identity, ..Update::default() }).unwrap();
    assert_eq!(record.reuse_key.as_deref(), Some("key"));
    assert_eq!(record.identifier_on_provider.as_deref(), Some("ami-1"));
}

#[test]
fn a_discarded_image_was_never_there() {
    let store = Fixture::new();
    let owned = store.create(base("debian")).unwrap();
    let id = owned.id();
    store.discard(owned).unwrap();
    assert!(matches!(store.get(id), Err(StoreError::NotFound { .. })));
    assert!(store.files().is_empty());
}
