//! Promises about reserved disk space.

use super::*;
use crate::images::{Room, StoreError};

const MIB: u64 = 1 << 20;

fn reserving(bytes: u64) -> NewImage {
    NewImage { reserved_bytes: Some(bytes), ..base("debian") }
}

#[test]
fn a_reservation_is_outstanding_until_it_is_used_or_its_image_ends() {
    let store = Fixture::new();
    let owned = store.building(reserving(4 * MIB));
    let all = store.outstanding_bytes(None).unwrap();
    assert!(all > 3 * MIB && all <= 4 * MIB, "{all}");
    assert_eq!(store.outstanding_bytes(Some(owned.id())).unwrap(), 0);

    let body = store.body(owned.id(), &vec![7; 3 << 20]);
    let left = store.outstanding_bytes(None).unwrap();
    assert!(left > 0 && left <= MIB, "{left}");
    let record = store.complete(owned.id(), Some(body), &Control::default()).unwrap();
    assert_eq!((record.reserved_bytes, store.outstanding_bytes(None).unwrap()), (None, 0));
    store.release(owned).unwrap();
}

#[test]
fn a_build_that_used_more_than_it_reserved_is_promised_nothing_more() {
    let store = Fixture::new();
    let owned = store.building(reserving(MIB));
    store.body(owned.id(), &vec![7; 2 << 20]);
    assert_eq!(store.outstanding_bytes(None).unwrap(), 0);
    drop(owned);
}

#[test]
fn the_reservation_of_a_dead_owner_does_not_count() {
    let store = Fixture::new();
    let owned = store.create(reserving(4 * MIB)).unwrap();
    assert!(store.outstanding_bytes(None).unwrap() > 0);
    let id = owned.id();
    drop(owned);
    assert_eq!(store.outstanding_bytes(None).unwrap(), 0);
    store.recover().unwrap();
    assert_eq!(store.get(id).unwrap().reserved_bytes, None);
}

#[test]
fn what_does_not_fit_beside_what_is_promised_is_refused_with_the_figures() {
    let store = Fixture::new();
    let free = store.free_bytes().unwrap();
    let owned = store.create(reserving(free / 2)).unwrap();
    let wanted = free / 4 * 3;
    let error = store.room_for(wanted).unwrap_err();
    let StoreError::NoRoom { room: Room { wanted_bytes, outstanding_bytes, free_bytes }, .. } =
        &error
    else {
        unreachable!("{error:?}");
    };
    assert_eq!(*wanted_bytes, wanted);
    assert!(*outstanding_bytes > free / 3 && *free_bytes > 0, "{error:?}");
    assert!(error.hints().iter().any(|hint| hint.contains("reserve_mib")), "{error:?}");
    // Whoever reserves nothing is never refused.
    store.room_for(0).unwrap();
    drop(owned);
    store.room_for(wanted).unwrap();
}
