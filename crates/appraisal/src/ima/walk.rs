//! Looks up what a list measured while it is replayed, many digests at once. What no set settles is put down by its place,
//! and judged when the whole list is proven: `judge` does.

use holdfast_evidence::crypto::HashAlg;
use holdfast_evidence::tpm::ima::{Entry, FileDigest, Listener, Measured};

use super::look_up::{LOOK_UP_MAX, LookUp};
use super::rule::ImaRule;

/// Where an entry stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) offset: usize,
    pub(super) index: u64,
}

/// One rule's part of the walk.
#[derive(Debug)]
pub(super) struct Pass<'r> {
    pub(super) name: &'r str,
    pub(super) rule: &'r ImaRule,
    /// Files that its sets list.
    pub(super) listed: u64,
    /// Everything else.
    pub(super) unsettled: Vec<Place>,
}

/// A walk over the entries of a list that is not proven yet.
#[derive(Debug)]
pub(super) struct Walk<'r> {
    pub(super) passes: Vec<Pass<'r>>,
    pub(super) violations: u64,
    pub(super) aggregates: u64,
    places: Vec<Place>,
    digests: Vec<[u8; 32]>,
    look_up: LookUp,
}

impl<'r> Walk<'r> {
    pub(super) fn new(rules: impl Iterator<Item = (&'r str, &'r ImaRule)>) -> Self {
        Self {
            passes: rules.map(|(name, rule)| Pass { name, rule, listed: 0, unsettled: Vec::new() }).collect(),
            violations: 0,
            aggregates: 0,
            places: Vec::new(),
            digests: Vec::new(),
            look_up: LookUp::default(),
        }
    }

    /// The end of the list: looks up what still waits, and orders what no set settled as the list has it.
    pub(super) fn finish(&mut self) {
        self.look_up();
        for pass in &mut self.passes {
            pass.unsettled.sort_unstable_by_key(|place| place.index);
        }
    }

    fn look_up(&mut self) {
        let Self { passes, places, digests, look_up, .. } = self;
        for pass in passes {
            let found = look_up.find(pass.rule.digests.iter().map(AsRef::as_ref), digests);
            for (place, found) in places.iter().zip(found) {
                if *found {
                    pass.listed += 1;
                } else {
                    pass.unsettled.push(*place);
                }
            }
        }
        places.clear();
        digests.clear();
    }
}

impl<'a> Listener<'a> for Walk<'_> {
    fn entry(&mut self, entry: &Entry<'a>) {
        let place = Place { offset: entry.offset, index: entry.index };
        if entry.is_violation() {
            self.violations = self.violations.saturating_add(1);
        } else {
            let measured = Measured::of(entry);
            if measured.is_boot_aggregate() {
                self.aggregates = self.aggregates.saturating_add(1);
            } else if let Measured::File { digest: FileDigest::Strong(HashAlg::Sha256, digest), .. } = measured
                && let Ok(digest) = digest.try_into()
                && entry.index > 0
            {
                self.places.push(place);
                self.digests.push(digest);
                if self.digests.len() >= LOOK_UP_MAX {
                    self.look_up();
                }
                return;
            }
        }
        self.passes.iter_mut().for_each(|pass| pass.unsettled.push(place));
    }

    fn forget(&mut self) {
        (self.violations, self.aggregates) = (0, 0);
        self.places.clear();
        self.digests.clear();
        for pass in &mut self.passes {
            pass.listed = 0;
            pass.unsettled.clear();
        }
    }
}
