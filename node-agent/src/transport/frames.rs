//! Walks the frames that an HTTP/2 client sends (RFC 9113, 4.1), and hands each whole header block to [`super::hpack`].
//! Judges nothing: what is no HTTP/2 goes through untouched, for the server behind to refuse.

use std::ops::Range;

use super::hpack;

/// What every client sends first (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame header.
const FRAME_HEADER_BYTES: usize = 9;
/// Bytes of frames that are held back until their header block is whole. A block that needs more is passed on as it
/// is: the server behind refuses header lists of this size.
const HELD_BYTES_MAX: usize = 16 << 10;

const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// Where the walk stands in the bytes that one client sends.
#[derive(Debug)]
pub(super) struct Walk {
    /// Bytes of the preface that are still to come.
    preface_left: usize,
    /// Bytes of a frame's payload that pass without a look.
    skip: usize,
    /// How far the bytes in hand have been walked.
    at: usize,
    /// The header block that is being gathered.
    block: Option<Block>,
    /// Nothing is looked at any more.
    through: bool,
}

/// A header block, spread over frames that all are in hand.
#[derive(Debug)]
struct Block {
    /// Where its first frame starts in the bytes in hand.
    start: usize,
    stream: u32,
    /// Its fragments in the bytes in hand.
    fragments: Vec<Range<usize>>,
}

/// The header of one frame.
struct Frame {
    length: usize,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [l0, l1, l2, kind, flags, stream @ ..] = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
        let length = u32::from_be_bytes([0, *l0, *l1, *l2]);
        Some(Self {
            length: usize::try_from(length).ok()?,
            kind: *kind,
            flags: *flags,
            stream: u32::from_be_bytes(*stream) & 0x7fff_ffff,
        })
    }

    /// The part of `payload` that belongs to the header block; `None` where padding or priority exceed it.
    fn fragment(&self, payload: &[u8]) -> Option<Range<usize>> {
        let mut range = 0..self.length;
        if self.kind == HEADERS {
            if self.flags & PADDED != 0 {
                range.end = range.end.checked_sub(usize::from(*payload.first()?))?;
                range.start += 1;
            }
            if self.flags & PRIORITY != 0 {
                range.start += 5;
            }
        }
        (range.start <= range.end).then_some(range)
    }
}

impl Walk {
    /// At the start of a connection.
    pub(super) fn new() -> Self {
        Self { preface_left: PREFACE.len(), skip: 0, at: 0, block: None, through: false }
    }

    /// Whether the client has shown that it speaks HTTP/2 (or that it does not).
    pub(super) fn has_begun(&self) -> bool {
        self.preface_left == 0 || self.through
    }

    /// Looks at `held` (what is in hand: the bytes not settled by the last call, and new ones behind them), repairs
    /// whole header blocks in place, and says how many bytes from the start are settled. The caller takes these away.
    pub(super) fn settle(&mut self, held: &mut [u8]) -> usize {
        while !self.through && self.step(held).is_some() {}
        let settled = if self.through { held.len() } else { self.block_start() };
        // What is settled goes, so places count from there.
        self.at = self.at.saturating_sub(settled);
        if let Some(block) = &mut self.block {
            block.start = 0;
            for fragment in &mut block.fragments {
                *fragment = fragment.start.saturating_sub(settled)..fragment.end.saturating_sub(settled);
            }
        }
        settled
    }

    /// The first byte that is not settled.
    fn block_start(&self) -> usize {
        self.block.as_ref().map_or(self.at, |block| block.start)
    }

    /// One step over `held`; `None` where more bytes are needed.
    fn step(&mut self, held: &mut [u8]) -> Option<()> {
        let rest = held.get(self.at..).filter(|rest| !rest.is_empty())?;
        if self.preface_left > 0 {
            let expected = PREFACE.get(PREFACE.len() - self.preface_left)?;
            self.through = rest.first() != Some(expected);
            self.preface_left -= 1;
            self.at += 1;
            return Some(());
        }
        if self.skip > 0 {
            let passed = self.skip.min(rest.len());
            self.skip -= passed;
            self.at += passed;
            return Some(());
        }
        let frame = Frame::read(rest)?;
        let first = frame.kind == HEADERS && self.block.is_none();
        let next = frame.kind == CONTINUATION && self.block.as_ref().is_some_and(|block| block.stream == frame.stream);
        if !first && !next {
            // Inside a header block any other frame is an error of the client's, which the server behind names.
            self.through = self.block.is_some();
            self.skip = frame.length;
            self.at += FRAME_HEADER_BYTES;
            return Some(());
        }
        let end = self.at + FRAME_HEADER_BYTES + frame.length;
        if end - self.block_start() > HELD_BYTES_MAX {
            self.block = None;
            self.skip = frame.length;
            self.at += FRAME_HEADER_BYTES;
            return Some(());
        }
        let payload = rest.get(FRAME_HEADER_BYTES..FRAME_HEADER_BYTES + frame.length)?;
        let Some(fragment) = frame.fragment(payload) else {
            self.through = true;
            return Some(());
        };
        let from = self.at + FRAME_HEADER_BYTES;
        let start = self.at;
        let block = self.block.get_or_insert_with(|| Block { start, stream: frame.stream, fragments: Vec::new() });
        block.fragments.push(from + fragment.start..from + fragment.end);
        self.at = end;
        if frame.flags & END_HEADERS != 0 {
            self.repair(held);
        }
        Some(())
    }

    /// Repairs the block, which is whole, where it lies.
    fn repair(&mut self, held: &mut [u8]) {
        let Some(block) = self.block.take() else { return };
        let mut whole = Vec::new();
        for fragment in &block.fragments {
            whole.extend_from_slice(held.get(fragment.clone()).unwrap_or_default());
        }
        hpack::repair(&mut whole);
        let mut repaired = whole.as_slice();
        for fragment in &block.fragments {
            if let Some(place) = held.get_mut(fragment.clone())
                && let Some((part, rest)) = repaired.split_at_checked(place.len())
            {
                place.copy_from_slice(part);
                repaired = rest;
            }
        }
    }
}
