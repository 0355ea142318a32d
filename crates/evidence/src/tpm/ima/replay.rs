//! Replays a list to the quoted PCR 10, exactly. What stands behind the prefix that leads there is not attested yet, and
//! is dropped.

use super::entry::{Entries, Entry, SHA1_BYTES, Template};
use super::refused::{Counters, ImaRefused};
use super::resume::{Hashing, Resume};
use crate::crypto::{Digest, HashAlg, sha256};
use crate::tpm::clock::ClockInfo;
use crate::tpm::pcr::{PcrIndex, PcrSelection, PcrValues};

/// Most bytes of a list that are replayed at once: some 500,000 files, or 150,000 with signatures. A list that is longer
/// than that before its first attestation cannot be judged.
pub const LOG_BYTES_MAX: usize = 64 << 20;

/// The PCRs that say what was started before the kernel measured its first file: those of `boot_aggregate`.
const BOOT_PCRS: u32 = 10;

/// What a verified quote says of PCR 10, and of the boot that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The bank.
    pub bank: HashAlg,
    /// Its value.
    pub pcr: Digest,
    /// Resets and restarts.
    pub counters: Counters,
    /// The quoted PCRs 0 to 9 as one hash: [`boot`](Self::boot).
    pub boot: [u8; 32],
}

impl Quoted {
    /// Takes it from the claims of a verified quote.
    ///
    /// # Errors
    /// [`ImaRefused::NotQuoted`] if the quote does not cover PCR 10.
    pub fn of(selection: &PcrSelection, pcrs: &PcrValues, clock: &ClockInfo) -> Result<Self, ImaRefused> {
        let pcr = super::PCR;
        let value = pcrs.get(pcr).filter(|_| selection.pcrs.contains(pcr)).ok_or(ImaRefused::NotQuoted)?;
        let counters = Counters { resets: clock.reset_count, restarts: clock.restart_count };
        Ok(Self { bank: selection.bank, pcr: *value, counters, boot: Self::boot(pcrs) })
    }

    /// SHA-256 over the values of PCRs 0 to 9, a byte before each that says whether it was quoted. Counters alone do not
    /// name a boot: TPM2_Clear begins them anew.
    #[must_use]
    pub fn boot(pcrs: &PcrValues) -> [u8; 32] {
        let values = (0..BOOT_PCRS).map(|index| PcrIndex::new(index).and_then(|index| pcrs.get(index)));
        let mut parts: Vec<&[u8]> = Vec::with_capacity(2 * BOOT_PCRS as usize);
        for value in values {
            parts.push(if value.is_some() { &[1] } else { &[0] });
            parts.push(value.map_or(&[], Digest::as_bytes));
        }
        sha256(&parts)
    }
}

/// Entries that the quote proves, and how to go on from there.
#[derive(Clone, Copy, Debug)]
pub struct Replayed<'a> {
    proven: &'a [u8],
    first: u64,
    not_attested: usize,
    resume: Resume,
}

impl<'a> Replayed<'a> {
    /// The proven entries that were not proven before.
    #[must_use]
    pub const fn entries(&self) -> Entries<'a> {
        Entries::new(self.proven, self.first)
    }

    /// From where the next replay goes on.
    #[must_use]
    pub const fn resume(&self) -> &Resume {
        &self.resume
    }

    /// Bytes behind the proven prefix: not attested yet.
    #[must_use]
    pub const fn not_attested(&self) -> usize {
        self.not_attested
    }

    /// Whether the first of these entries is the list's first.
    #[must_use]
    pub const fn is_from_the_start(&self) -> bool {
        self.first == 0
    }

    /// How many entries were proven now.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.resume.entries.saturating_sub(self.first)
    }
}

/// The value to which the whole of `log` leads in a bank that is extended with its own template hashes, quoted by nobody:
/// for those who ask what a policy would say to a list.
///
/// # Errors
/// [`ImaRefused`] for an entry that is none, or of another PCR.
pub fn leads_to(log: &[u8], bank: HashAlg) -> Result<Digest, ImaRefused> {
    let mut chain = Chain::new(bank, Digest::zero(bank));
    for entry in Entries::new(log, 0) {
        chain.extend(&own(entry?)?, Hashing::OfBank)?;
    }
    Ok(chain.value())
}

/// Hears the entries of a list while it is replayed, so that whoever judges them need not read them a second time. They
/// are claims: only when [`replay_to`] returns are they proven, and without that nothing heard may count.
pub trait Listener<'a> {
    /// The next entry.
    fn entry(&mut self, entry: &Entry<'a>);

    /// The list begins anew: what was heard so far leads nowhere.
    fn forget(&mut self);
}

/// Listens to nothing.
struct Nobody;

impl Listener<'_> for Nobody {
    fn entry(&mut self, _: &Entry<'_>) {}

    fn forget(&mut self) {}
}

/// Replays `log`, the list from its first entry, or from the offset of `from`.
///
/// # Errors
/// [`ImaRefused`]; nothing of the list is proven then.
pub fn replay<'a>(log: &'a [u8], from: Option<&Resume>, quoted: &Quoted) -> Result<Replayed<'a>, ImaRefused> {
    replay_to(&mut Nobody, log, from, quoted)
}

/// The same, with a listener to each entry up to the quoted value and none behind it.
///
/// # Errors
/// [`ImaRefused`]; nothing of the list is proven then, and nothing that was heard.
pub fn replay_to<'a>(
    listener: &mut impl Listener<'a>,
    log: &'a [u8],
    from: Option<&Resume>,
    quoted: &Quoted,
) -> Result<Replayed<'a>, ImaRefused> {
    if log.len() > LOG_BYTES_MAX {
        return Err(ImaRefused::TooLarge { found: log.len(), limit: LOG_BYTES_MAX });
    }
    if let Some(from) = from {
        from.check(quoted)?;
        return run(listener, log, from, quoted);
    }
    let start = |hashing| Resume {
        bank: quoted.bank,
        hashing,
        counters: quoted.counters,
        boot: quoted.boot,
        offset: 0,
        entries: 0,
        pcr: Digest::zero(quoted.bank),
    };
    match run(listener, log, &start(Hashing::OfBank), quoted) {
        // The two never meet: no entry has the same hash in both.
        Err(refused @ ImaRefused::NoPrefix { .. }) => {
            listener.forget();
            run(listener, log, &start(Hashing::Sha1Padded), quoted).map_err(|other| match other {
                ImaRefused::TemplateHash { .. }
                    if padded_values_lead_there(log, &start(Hashing::Sha1Padded), quoted) =>
                {
                    other
                }
                _ => refused,
            })
        }
        result => result,
    }
}

fn run<'a>(
    listener: &mut impl Listener<'a>,
    log: &'a [u8],
    from: &Resume,
    quoted: &Quoted,
) -> Result<Replayed<'a>, ImaRefused> {
    let mut entries = Entries::new(log, from.entries);
    let mut chain = Chain::new(from.bank, from.pcr);
    let mut count = from.entries;
    while !chain.is_at(&quoted.pcr) {
        let Some(entry) = entries.next() else {
            return Err(ImaRefused::NoPrefix { entries: count, quoted: quoted.pcr });
        };
        let entry = own(entry?)?;
        chain.extend(&entry, from.hashing)?;
        listener.entry(&entry);
        count = count.saturating_add(1);
    }
    let read = entries.position();
    let (proven, rest) = log.split_at_checked(read).unwrap_or((log, &[]));
    let resume = Resume { offset: from.offset.saturating_add(read as u64), entries: count, pcr: quoted.pcr, ..*from };
    Ok(Replayed { proven, first: from.entries, not_attested: rest.len(), resume })
}

/// Whether the padded column alone leads to the quoted value: then what differs from it is somebody's lie about data, and
/// not a list of another machine.
fn padded_values_lead_there(log: &[u8], from: &Resume, quoted: &Quoted) -> bool {
    let mut chain = Chain::new(from.bank, from.pcr);
    for entry in Entries::new(log, 0) {
        let Ok(entry) = entry else { return false };
        chain.extend_column(&entry);
        if chain.is_at(&quoted.pcr) {
            return true;
        }
    }
    false
}

fn own(entry: Entry<'_>) -> Result<Entry<'_>, ImaRefused> {
    match entry.pcr {
        10 => Ok(entry),
        found => Err(ImaRefused::OtherPcr { index: entry.index, found }),
    }
}

/// A PCR and what it is about to be extended with, in one buffer, so that each extend is one call to the hash.
struct Chain {
    bank: HashAlg,
    buffer: [u8; 128],
}

impl Chain {
    fn new(bank: HashAlg, pcr: Digest) -> Self {
        let mut chain = Self { bank, buffer: [0; 128] };
        chain.put(0, pcr.as_bytes());
        chain
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }

    fn value(&self) -> Digest {
        Digest::copied(self.buffer.get(..self.bank.size()).unwrap_or_default())
    }

    fn is_at(&self, value: &Digest) -> bool {
        self.buffer.get(..self.bank.size()).is_some_and(|pcr| pcr == value.as_bytes())
    }

    fn extend(&mut self, entry: &Entry<'_>, hashing: Hashing) -> Result<(), ImaRefused> {
        match (entry.is_violation(), hashing) {
            (false, Hashing::OfBank) => {
                match (entry.template, self.buffer.get_mut(self.bank.size()..)) {
                    // Of this one more is hashed than stands in the list.
                    (Template::Ima, _) => {
                        let digest = entry.template_hash(self.bank);
                        self.put(self.bank.size(), digest.as_bytes());
                    }
                    (_, Some(behind)) => self.bank.digest_to(entry.data, behind),
                    (_, None) => {}
                }
                self.bank.extend_in(&mut self.buffer);
                Ok(())
            }
            (false, Hashing::Sha1Padded) if entry.sha1_template_hash() != *entry.column => {
                Err(ImaRefused::TemplateHash { index: entry.index })
            }
            (true, _) | (false, Hashing::Sha1Padded) => {
                self.extend_column(entry);
                Ok(())
            }
        }
    }

    /// Extends with the list's column: padded with zeros, or `FF…FF` for a violation.
    fn extend_column(&mut self, entry: &Entry<'_>) {
        let size = self.bank.size();
        if entry.is_violation() {
            self.put(size, Digest::ones(self.bank).as_bytes());
        } else {
            self.put(size, Digest::zero(self.bank).as_bytes());
            self.put(size, entry.column.get(..SHA1_BYTES).unwrap_or_default());
        }
        self.bank.extend_in(&mut self.buffer);
    }
}
