//! The bytes of one file, in pages: a file grows without its bytes being moved.

use bytes::{Bytes, BytesMut};

/// Bytes of a page. A multiple of a sector, so that no sector lies in two pages.
const PAGE: usize = 4096;

/// The bytes of a file. What lies behind its end within the last page is zero.
#[derive(Default)]
pub(super) struct Content {
    pages: Vec<Box<[u8]>>,
    len: usize,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Cuts the file, or extends it with zeros.
    pub(super) fn resize(&mut self, len: usize) {
        if len < self.len
            && let Some(last) = self.pages.get_mut(len / PAGE)
        {
            last[len % PAGE..].fill(0);
        }
        self.pages.resize_with(len.div_ceil(PAGE), || vec![0; PAGE].into_boxed_slice());
        self.len = len;
    }

    /// The pieces of a range, page by page: where each lies.
    fn pieces(start: usize, end: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
        (start / PAGE..end.div_ceil(PAGE)).map(move |page| {
            let first = page * PAGE;
            (page, start.max(first) - first..end.min(first + PAGE) - first)
        })
    }

    /// A copy of a range that lies within the file.
    pub(super) fn read(&self, start: usize, end: usize) -> Bytes {
        assert!(start <= end && end <= self.len, "{start}..{end} of {}", self.len);
        let mut bytes = BytesMut::with_capacity(end - start);
        for (page, range) in Self::pieces(start, end) {
            bytes.extend_from_slice(&self.pages[page][range]);
        }
        bytes.freeze()
    }

    /// Writes; the file grows where it must.
    pub(super) fn write(&mut self, start: usize, mut bytes: &[u8]) {
        let end = start + bytes.len();
        if self.len < end {
            self.resize(end);
        }
        for (page, range) in Self::pieces(start, end) {
            let (now, rest) = bytes.split_at(range.len());
            self.pages[page][range].copy_from_slice(now);
            bytes = rest;
        }
    }

    /// A range that lies within the file and within one page.
    pub(super) fn slice(&self, start: usize, end: usize) -> &[u8] {
        match self.pages.get(start / PAGE) {
            Some(page) => &page[start % PAGE..end - start / PAGE * PAGE],
            None => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Write(usize, Vec<u8>),
        Resize(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let bytes = proptest::collection::vec(1..=255_u8, 0..6000);
        prop_oneof![
            (0..12_000_usize, bytes).prop_map(|(start, bytes)| Step::Write(start, bytes)),
            (0..16_000_usize).prop_map(Step::Resize),
        ]
    }

    proptest! {
        #[test]
        fn pages_hold_what_one_buffer_would(
            steps in proptest::collection::vec(step(), 1..12), from in 0..16_000_usize, len in 0..9000_usize,
        ) {
            let (mut content, mut model) = (Content::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Write(start, bytes) => {
                        model.resize(model.len().max(start + bytes.len()), 0);
                        model[start..start + bytes.len()].copy_from_slice(&bytes);
                        content.write(start, &bytes);
                    }
                    Step::Resize(len) => {
                        model.resize(len, 0);
                        content.resize(len);
                    }
                }
                prop_assert_eq!(content.len(), model.len());
                let start = from.min(model.len());
                let end = (start + len).min(model.len());
                prop_assert_eq!(&content.read(start, end)[..], &model[start..end]);
                let sector = start / 512 * 512;
                let sector_end = (sector + 512).min(model.len());
                prop_assert_eq!(content.slice(sector, sector_end), &model[sector..sector_end]);
            }
        }
    }
}
