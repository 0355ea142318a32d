//! Writes lists as a kernel does, with the PCR that it would leave; an encoder of its own, so that it finds the reader's
//! mistakes.

use holdfast_evidence::crypto::{Digest, HashAlg};
use holdfast_evidence::tpm::ima::{Counters, Quoted};
use holdfast_evidence::tpm::{Bank, PcrIndex, PcrValues};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// One entry: template, data as it stands in the list, data as it is hashed.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) template: &'static str,
    pub(crate) data: Vec<u8>,
    pub(crate) hashed: Vec<u8>,
    pub(crate) violation: bool,
}

pub(crate) fn field(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
}

fn named(algorithm: &str, digest: &[u8], name: &str) -> Vec<u8> {
    let digest = [algorithm.as_bytes(), b":\0", digest].concat();
    [field(&digest), field(&[name.as_bytes(), b"\0"].concat())].concat()
}

impl Written {
    fn plain(template: &'static str, data: Vec<u8>) -> Self {
        Self { template, hashed: data.clone(), data, violation: false }
    }

    pub(crate) fn ng(digest: &[u8; 32], path: &str) -> Self {
        Self::plain("ima-ng", named("sha256", digest, path))
    }

    pub(crate) fn ng_of(algorithm: &str, digest: &[u8], path: &str) -> Self {
        Self::plain("ima-ng", named(algorithm, digest, path))
    }

    pub(crate) fn sig(algorithm: &str, digest: &[u8], path: &str, signature: &[u8]) -> Self {
        Self::plain("ima-sig", [named(algorithm, digest, path), field(signature)].concat())
    }

    pub(crate) fn buf(algorithm: &str, digest: &[u8], name: &str, content: &[u8]) -> Self {
        Self::plain("ima-buf", [named(algorithm, digest, name), field(content)].concat())
    }

    pub(crate) fn ima(digest: &[u8; 20], path: &str) -> Self {
        let data = [&digest[..], &field(path.as_bytes())].concat();
        let mut hashed = [&digest[..], path.as_bytes()].concat();
        hashed.resize(20 + 256, 0);
        Self { template: "ima", data, hashed, violation: false }
    }

    pub(crate) fn violation(path: &str) -> Self {
        Self { violation: true, ..Self::ng(&[0; 32], path) }
    }

    pub(crate) fn column(&self) -> [u8; 20] {
        if self.violation {
            return [0; 20];
        }
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &self.hashed).as_ref().try_into().unwrap()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let data = if self.template == "ima" { self.data.clone() } else { field(&self.data) };
        [&10u32.to_le_bytes()[..], &self.column(), &field(self.template.as_bytes()), &data].concat()
    }
}

pub(crate) fn bytes(entries: &[Written]) -> Vec<u8> {
    entries.iter().flat_map(Written::bytes).collect()
}

/// PCR 10 after these entries.
pub(crate) fn pcr(bank: HashAlg, entries: &[Written], padded: bool) -> Digest {
    entries.iter().fold(Digest::zero(bank), |pcr, entry| {
        let mut value =
            if padded { entry.column().to_vec() } else { bank.digest(&[&entry.hashed]).as_bytes().to_vec() };
        value.resize(bank.size(), 0);
        if entry.violation {
            value.fill(0xff);
        }
        pcr.extended(bank, &value)
    })
}

pub(crate) const COUNTERS: Counters = Counters { resets: 7, restarts: 1 };

pub(crate) fn quoted(entries: &[Written]) -> Quoted {
    Quoted {
        bank: Bank::Sha256,
        pcr: pcr(Bank::Sha256, entries, false),
        counters: COUNTERS,
        boot: Quoted::boot(&boot_pcrs()),
    }
}

/// PCRs 0 to 9 of some boot.
pub(crate) fn boot_pcrs() -> PcrValues {
    let mut values = PcrValues::new(Bank::Sha256);
    for index in 0..10 {
        values.set(PcrIndex::new(index).unwrap(), Bank::Sha256.digest(&[&index.to_le_bytes()]));
    }
    values
}

pub(crate) fn aggregate(count: u32) -> [u8; 32] {
    let values = boot_pcrs();
    let pcrs: Vec<u8> =
        (0..count).flat_map(|index| values.get(PcrIndex::new(index).unwrap()).unwrap().as_bytes().to_vec()).collect();
    holdfast_evidence::crypto::sha256(&[&pcrs])
}

/// A list of every template that has a form.
pub(crate) fn sample() -> Vec<Written> {
    vec![
        Written::ng(&aggregate(10), "boot_aggregate"),
        Written::ng(&[1; 32], "/usr/bin/init"),
        Written::sig("sha384", &[2; 48], "/usr/bin/sh", &[3, 2, 5, 0, 0, 0, 1, 0, 2, 9, 9]),
        Written::buf("sha256", &[3; 32], "kexec-cmdline", b"quiet"),
        Written::violation("/var/log/journal"),
        Written::ima(&[4; 20], "/old"),
        Written::ng_of("sha1", &[5; 20], "/weak"),
        Written::plain("d-ngv2|n-ng", [field(b"ima:sha256:\0x"), field(b"/new\0")].concat()),
        Written::ng(&[6; 32], "/usr/lib/libc.so"),
    ]
}
