//! Slots: how many images are worked on at once, and whose turn it is.
//!
//! There is a number of slots for each kind of work. Who waits is served so that no user keeps the
//! others waiting: the user with the fewest slots comes first, then the one who was served longest
//! ago, then whoever came first.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::images::ImageId;
use crate::settings::SlotSettings;

/// Time between two looks of a waiter at whether it is still wanted.
const POLL: Duration = Duration::from_millis(200);

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SlotKind {
    /// Building a base image.
    Build,
    /// Making a target image.
    Convert,
    /// Delivering to a provider.
    Push,
}

impl SlotKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Build, Self::Convert, Self::Push];

    /// The kind as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Convert => "convert",
            Self::Push => "push",
        }
    }
}

/// Who has, or waits for, a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// What for.
    pub kind: SlotKind,
    /// The user who asked for the image.
    pub user: String,
    /// The image.
    pub image: ImageId,
}

/// The slots of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotCounts {
    /// The kind.
    pub kind: SlotKind,
    /// Images that have one.
    pub taken: usize,
    /// Images that wait for one.
    pub waiting: usize,
}

#[derive(Debug, Default)]
struct State {
    next_ticket: u64,
    waiting: Vec<(u64, Holder)>,
    taken: Vec<(u64, Holder)>,
    /// How many were served.
    served: u64,
    /// How many had been served when a user was, last.
    last_served: HashMap<String, u64>,
}

/// The slots of one host.
#[derive(Debug)]
pub struct Slots {
    limits: Mutex<SlotSettings>,
    state: Mutex<State>,
    changed: Condvar,
}

/// The right to work; given back when it is dropped.
#[derive(Debug)]
#[must_use = "the slot is free again once this is dropped"]
pub struct Slot<'a> {
    slots: &'a Slots,
    ticket: u64,
}

impl Slots {
    /// So many slots.
    pub fn new(limits: SlotSettings) -> Self {
        Self {
            limits: Mutex::new(limits),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        }
    }

    /// Changes the numbers. Work under way goes on.
    pub fn resize(&self, limits: SlotSettings) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
        self.changed.notify_all();
    }

    /// Waits for a slot; `None` once `unwanted` says so.
    pub fn take(&self, holder: Holder, unwanted: &dyn Fn() -> bool) -> Option<Slot<'_>> {
        let mut state = self.state();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push((ticket, holder.clone()));
        loop {
            let free = state.taken(holder.kind) < self.limit(holder.kind);
            if free && state.first(holder.kind) == Some(ticket) {
                state.waiting.retain(|(waiting, _)| *waiting != ticket);
                state.served += 1;
                let served = state.served;
                state.last_served.insert(holder.user.clone(), served);
                state.taken.push((ticket, holder));
                // There may be another free one for whoever is first now.
                self.changed.notify_all();
                return Some(Slot { slots: self, ticket });
            }
            let waited = self.changed.wait_timeout(state, POLL);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            // Asked without the lock: it may look into the store.
            drop(state);
            let is_unwanted = unwanted();
            state = self.state();
            if is_unwanted {
                state.waiting.retain(|(waiting, _)| *waiting != ticket);
                self.changed.notify_all();
                return None;
            }
        }
    }

    /// How many slots are taken, and how many images wait for one, by kind.
    pub fn counts(&self) -> [SlotCounts; 3] {
        let state = self.state();
        let of = |holders: &[(u64, Holder)], kind| {
            holders.iter().filter(|(_, holder)| holder.kind == kind).count()
        };
        SlotKind::ALL.map(|kind| SlotCounts {
            kind,
            taken: of(&state.taken, kind),
            waiting: of(&state.waiting, kind),
        })
    }

    /// Who works now.
    pub fn taken(&self) -> Vec<Holder> {
        self.state().taken.iter().map(|(_, holder)| holder.clone()).collect()
    }

    /// Who waits, those of one kind in the order in which they came.
    pub fn waiting(&self) -> Vec<Holder> {
        self.state().waiting.iter().map(|(_, holder)| holder.clone()).collect()
    }

    fn limit(&self, kind: SlotKind) -> usize {
        let limits = *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        match kind {
            SlotKind::Build => limits.build,
            SlotKind::Convert => limits.convert,
            SlotKind::Push => limits.push,
        }
        .max(1)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn taken(&self, kind: SlotKind) -> usize {
        self.taken.iter().filter(|(_, holder)| holder.kind == kind).count()
    }

    /// The ticket whose turn it is.
    fn first(&self, kind: SlotKind) -> Option<u64> {
        let has = |user: &str| {
            self.taken
                .iter()
                .filter(|(_, holder)| holder.kind == kind && holder.user == user)
                .count()
        };
        let waiting = self.waiting.iter().filter(|(_, holder)| holder.kind == kind);
        waiting
            .min_by_key(|(ticket, holder)| {
                (has(&holder.user), self.last_served.get(&holder.user).copied(), *ticket)
            })
            .map(|(ticket, _)| *ticket)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.slots.state().taken.retain(|(ticket, _)| *ticket != self.ticket);
        self.slots.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc;

    use super::*;

    fn slots(build: usize) -> Arc<Slots> {
        Arc::new(Slots::new(SlotSettings { build, ..SlotSettings::default() }))
    }

    fn holder(user: &str) -> Holder {
        Holder { kind: SlotKind::Build, user: user.to_owned(), image: ImageId::new() }
    }

    /// Waits in a thread of its own, tells when it is served, and gives the slot back at once.
    fn wait_in_line(slots: &Arc<Slots>, user: &str, served: &mpsc::Sender<String>) {
        let before = slots.waiting().len();
        let (their, user, served) = (Arc::clone(slots), user.to_owned(), served.clone());
        drop(std::thread::spawn(move || {
            let slot = their.take(holder(&user), &|| false);
            served.send(user).unwrap();
            drop(slot);
        }));
        while slots.waiting().len() == before {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_user_with_many_requests_does_not_keep_another_waiting() {
        let slots = slots(1);
        let (sender, served) = mpsc::channel();
        let first = slots.take(holder("ann"), &|| false);
        for user in ["ann", "ann", "ann", "bob", "bob"] {
            wait_in_line(&slots, user, &sender);
        }
        drop(first);
        let order: Vec<String> = served.iter().take(5).collect();
        assert_eq!(order, ["bob", "ann", "bob", "ann", "ann"]);
    }

    #[test]
    fn no_more_work_at_once_than_there_are_slots() {
        let slots = slots(2);
        let held = [slots.take(holder("ann"), &|| false), slots.take(holder("bob"), &|| false)];
        assert!(slots.take(holder("cyd"), &|| true).is_none());
        assert_eq!(slots.waiting(), []);
        drop(held);
        assert!(slots.take(holder("cyd"), &|| false).is_some());
    }
}
