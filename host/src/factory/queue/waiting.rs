//! Jobs that wait, and whose turn it is.
//!
//! A job whose first image is made from one that is not finished stands aside until that one has ended.
//! It takes no place among the running jobs meanwhile: what it waits for may still be behind it.

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
pub(super) fn first(waiting: &[&Waiting], busy: &[&str]) -> Option<usize> {
    let has = |user: &str| busy.iter().filter(|busy| **busy == user).count();
    let ready = waiting.iter().enumerate().filter(|(_, job)| job.parent.is_none());
    ready.min_by_key(|(position, job)| (has(&job.user), *position)).map(|(position, _)| position)
}

/// All of them in the order of their turns; last those that have a parent.
pub(super) fn order<'w>(waiting: &'w [Waiting], mut busy: Vec<&'w str>) -> Vec<JobId> {
    let mut left: Vec<&Waiting> = waiting.iter().collect();
    let mut order = Vec::with_capacity(left.len());
    while let Some(next) = first(&left, &busy) {
        let job = left.remove(next);
        busy.push(&job.user);
        order.push(job.id);
    }
    order.extend(left.iter().map(|job| job.id));
    order
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
