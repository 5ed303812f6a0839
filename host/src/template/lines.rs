//! From byte offsets to lines and columns.

/// Lines of a text, to turn offsets into places.
#[derive(Debug)]
pub(super) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let starts =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The line of `offset`, counted from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// The column of `offset` in characters, counted from 1.
    pub(super) fn column(&self, offset: usize) -> usize {
        let start = self.starts[self.line(offset) - 1];
        let before = self.text.get(start..offset.min(self.text.len()));
        before.map_or(1, |before| before.chars().count() + 1)
    }
}
