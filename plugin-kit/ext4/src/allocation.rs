//! Hands out blocks from the start of the file system to its end, around the group metadata.
//!
//! Nothing is ever freed, so one cursor says what is taken. It may run past the end: the plan is then made
//! to the end, to say how much is missing.

use crate::geometry::Run;

#[derive(Debug)]
pub(crate) struct Allocator<'g> {
    /// Sorted; the first one that does not lie before the cursor comes first.
    metadata: &'g [Run],
    cursor: u64,
}

impl<'g> Allocator<'g> {
    pub(crate) fn new(metadata: &'g [Run]) -> Self {
        Self { metadata, cursor: 0 }
    }

    /// The next `count` blocks, in as few runs as the metadata allows.
    pub(crate) fn take(&mut self, mut count: u64) -> Vec<Run> {
        let mut runs = Vec::new();
        while count > 0 {
            let room = self.free_run();
            let run = Run { start: self.cursor, count: count.min(room) };
            self.cursor = run.end();
            count -= run.count;
            runs.push(run);
        }
        runs
    }

    /// The next single block.
    pub(crate) fn take_one(&mut self) -> u64 {
        self.free_run();
        self.cursor += 1;
        self.cursor - 1
    }

    /// The first block that was not handed out.
    pub(crate) fn end(&self) -> u64 {
        self.cursor
    }

    /// Moves the cursor to a free block and says how many follow, it included.
    fn free_run(&mut self) -> u64 {
        while let Some((first, rest)) = self.metadata.split_first() {
            if first.start > self.cursor {
                return first.start - self.cursor;
            }
            self.cursor = self.cursor.max(first.end());
            self.metadata = rest;
        }
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_go_around_metadata() {
        let metadata =
            [Run { start: 0, count: 4 }, Run { start: 4, count: 2 }, Run { start: 8, count: 1 }];
        let mut allocator = Allocator::new(&metadata);
        assert_eq!(allocator.take_one(), 6);
        assert_eq!(allocator.take(3), [Run { start: 7, count: 1 }, Run { start: 9, count: 2 }]);
        assert_eq!(allocator.take(0), []);
        assert_eq!(allocator.end(), 11);
    }
}
