//! Jobs that wait, and whose turn it is.
//!
//! A job whose first image is made from one that is not finished stands aside until that one has ended.
//! It takes no place among the running jobs meanwhile: what it waits for may still be behind it.

use std::collections::{BTreeMap, VecDeque};

use crate::images::{ImageId, JobId, Store, StoreError};

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) id: JobId,
    pub(super) user: String,
    /// Those that are to be made, lowest tier first.
    pub(super) images: Vec<ImageId>,
    /// An image of another job that the first of them is made from, and that has not ended.
    pub(super) parent: Option<ImageId>,
}

/// Whose turn it is: the user with the fewest running jobs, then whoever came first.
pub(super) fn first<'w>(waiting: &'w [Waiting], busy: &[&'w str]) -> Option<usize> {
    Turns::new(waiting, busy).next()
}

/// All of them in the order of their turns; last those that have a parent.
pub(super) fn order<'w>(waiting: &'w [Waiting], busy: &[&'w str]) -> Vec<JobId> {
    let turns = Turns::new(waiting, busy).filter_map(|position| waiting.get(position));
    let standing_aside = waiting.iter().filter(|job| job.parent.is_some());
    turns.chain(standing_aside).map(|job| job.id).collect()
}

/// The positions of those that may start, in the order of their turns.
struct Turns<'w> {
    /// For each user, how many jobs run, and which wait.
    users: BTreeMap<&'w str, (usize, VecDeque<usize>)>,
}

impl<'w> Turns<'w> {
    fn new(waiting: &'w [Waiting], busy: &[&'w str]) -> Self {
        let mut users: BTreeMap<&str, (usize, VecDeque<usize>)> = BTreeMap::new();
        let ready = waiting.iter().enumerate().filter(|(_, job)| job.parent.is_none());
        for (position, job) in ready {
            users.entry(&job.user).or_default().1.push_back(position);
        }
        for user in busy {
            if let Some((running, _)) = users.get_mut(user) {
                *running += 1;
            }
        }
        Self { users }
    }
}

impl Iterator for Turns<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let waiting = self.users.values_mut().filter(|(_, jobs)| !jobs.is_empty());
        let (running, jobs) =
            waiting.min_by_key(|(running, jobs)| (*running, jobs.front().copied()))?;
        *running += 1;
        jobs.pop_front()
    }
}

/// The image that the first of `images` is made from, when it is none of them and has not ended.
pub(super) fn parent_of(store: &Store, images: &[ImageId]) -> Result<Option<ImageId>, StoreError> {
    let Some(first) = images.first() else { return Ok(None) };
    let record = store.get(*first)?;
    let parent = record.target_image_id.or(record.base_image_id);
    match parent.filter(|parent| !images.contains(parent)) {
        Some(parent) if is_under_way(store, parent)? => Ok(Some(parent)),
        _ => Ok(None),
    }
}

/// Whether somebody is still to bring the image to an end. One that is gone has ended.
pub(super) fn is_under_way(store: &Store, id: ImageId) -> Result<bool, StoreError> {
    match store.get(id) {
        Ok(record) => Ok(record.status.is_under_way()),
        Err(StoreError::NotFound { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(users: &str) -> Vec<Waiting> {
        let job = |user: char| Waiting {
            id: JobId::new(),
            user: user.to_string(),
            images: Vec::new(),
            parent: user.is_uppercase().then(ImageId::new),
        };
        users.chars().map(job).collect()
    }

    fn order_of(users: &str, busy: &[&str]) -> String {
        let waiting = waiting(users);
        let order = order(&waiting, busy);
        let user =
            |id: &JobId| waiting.iter().find(|job| job.id == *id).map(|job| job.user.as_str());
        order.iter().filter_map(user).collect()
    }

    #[test]
    fn users_take_turns_and_those_who_have_much_under_way_come_later() {
        assert_eq!(order_of("aaabbc", &[]), "abcaba");
        assert_eq!(order_of("aaabbc", &["c", "c", "b"]), "aababc");
    }

    #[test]
    fn what_waits_for_an_image_stands_aside() {
        assert_eq!(order_of("Xab", &[]), "abX");
        assert_eq!(first(&waiting("XY"), &[]), None);
    }
}
