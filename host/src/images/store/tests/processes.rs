//! Several processes at once, and processes that are killed.
//!
//! The test binary starts itself again: with `IMAGEFORGE_STORE_TEST` set, [`child`] is a builder that works
//! on the data directory named there until it is killed.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::*;
use crate::images::Filter;

const VARIABLE: &str = "IMAGEFORGE_STORE_TEST";

/// Not a promise: the program that the promises below start.
#[test]
fn child() {
    let Some(data_dir) = std::env::var_os(VARIABLE) else {
        return;
    };
    // A test that fails before it kills its child must not leave a builder behind.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
    let store = Store::open(Utf8Path::from_path(data_dir.as_ref()).unwrap()).unwrap();
    store.recover().unwrap();
    for round in 0_u64.. {
        let image = NewImage { reuse_key: Some(round.to_string()), ..base("debian") };
        let owned = store.create(image).unwrap();
        let id = owned.id();
        store.transition(id, Status::Pending, Update::default()).unwrap();
        store.transition(id, Status::Building, Update::default()).unwrap();
        let path = store.work_dir(id).join("body");
        fs_err::write(&path, id.to_string().repeat(1000)).unwrap();
        let body = Body { path, media_type: "text/plain".to_owned(), sha256: None };
        store.complete(id, Some(body), &Control::default()).unwrap();
        println!("complete {id}");
        store.release(owned).unwrap();
        if round % 3 == 2 {
            store.delete(id, super::super::DeleteMode::Refuse).unwrap();
            println!("deleted {id}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the test starts itself; no build is involved")]
fn start_child(data_dir: &Utf8Path) -> Child {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "images::store::tests::processes::child"])
        .env(VARIABLE, data_dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_kill_at_any_moment_loses_no_finished_image_and_leaves_no_scraps() {
    let store = Fixture::new();
    let mut alive = std::collections::BTreeSet::new();
    for kill in 0..8 {
        let mut child = start_child(store.data_dir());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Two images in, then at a moment that differs from kill to kill.
        let mut told: Vec<String> = Vec::new();
        while told.iter().filter(|line| line.starts_with("complete")).count() < 2 {
            told.push(lines.next().unwrap().unwrap());
        }
        std::thread::sleep(Duration::from_micros(700 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        told.extend(lines.map_while(Result::ok));
        for line in told {
            let mut words = line.split(' ');
            match (words.next(), words.next()) {
                (Some("complete"), Some(id)) => drop(alive.insert(id.to_owned())),
                (Some("deleted"), Some(id)) => drop(alive.remove(id)),
                _ => {},
            }
        }
        let recovery = store.recover().unwrap();
        assert!(recovery.problems.is_empty(), "{recovery:?}");
        // A deletion that was under way when the child died has not been told.
        for id in &recovery.deleted {
            alive.remove(&id.to_string());
        }
    }
    let records = store.list(&Filter::default()).unwrap();
    let mut complete = std::collections::BTreeSet::new();
    for record in &records {
        assert!(matches!(record.status, Status::Complete | Status::Failed), "{record:?}");
        if record.status == Status::Complete {
            let report = store.check(record.id, &Control::default()).unwrap();
            assert!(report.damage.is_empty(), "{report:?}");
            complete.insert(record.id.to_string());
        }
    }
    // At most one deletion per kill was done and not told.
    let lost: Vec<_> = alive.difference(&complete).collect();
    let ended = |id: &&&String| {
        let id: ImageId = id.parse().unwrap();
        store.events_since(&[id], 0, 10).unwrap().len() == 1
    };
    assert!(lost.iter().all(|id| ended(&id)), "lost {lost:?}");
    let scraps: Vec<String> = store
        .files()
        .into_iter()
        .filter(|name| name.starts_with("work/") || name.starts_with("tmp/"))
        .collect();
    assert!(scraps.is_empty(), "{scraps:?}");
}

#[test]
fn processes_and_threads_work_side_by_side_without_losing_a_change() {
    let store = Fixture::new();
    let shared = store.create(base("shared")).unwrap();
    let id = shared.id();
    let mut child = start_child(store.data_dir());
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let other = store.other();
            scope.spawn(move || {
                for number in 0..20 {
                    let key = format!("{worker}-{number}");
                    other.set_property(id, &key, number.into()).unwrap();
                    let recovery = other.recover().unwrap();
                    assert!(recovery.problems.is_empty(), "{recovery:?}");
                    assert!(recovery.interrupted.is_empty(), "{recovery:?}");
                }
            });
        }
    });
    assert!(child.try_wait().unwrap().is_none(), "the other process met an error");
    child.kill().unwrap();
    let output = std::io::read_to_string(child.stdout.take().unwrap()).unwrap();
    assert!(output.contains("complete "), "the other process did nothing");
    child.wait().unwrap();
    assert_eq!(store.get(id).unwrap().properties.len(), 80);
    assert_eq!(store.get(id).unwrap().status, Status::New);
}
