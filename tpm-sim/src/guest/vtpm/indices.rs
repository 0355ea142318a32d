//! NV indices that a provider's front serves in place of the TPM: larger than swtpm's may be, and another at once when the
//! guest is changed. They read like any other: listed, with a public area and a Name, by their own empty password.

use std::collections::BTreeMap;

use super::command::{Passing, RC_HANDLE, RC_NV_RANGE, RC_VALUE, code, in_session, plain, short};
use crate::digest::Bank;

/// Bytes that one NV_Read may ask for, as of libtpms.
const READ_MAX: usize = 1024;
/// platformCreate | authRead | ownerRead | ppRead | noDA | writeDefine | ppWrite | written.
const ATTRIBUTES: u32 = 0x6207_2001;
const ALG_SHA256: [u8; 2] = [0x00, 0x0b];
const CAPABILITY_HANDLES: u32 = 1;
/// The type of handles of NV indices.
const NV: u32 = 0x01;

/// Indices and what they hold.
pub(super) type Indices = BTreeMap<u32, Vec<u8>>;

/// The answer to a command about these indices; `None` if it is for the TPM.
pub(super) fn answer(indices: &Indices, command: Passing<'_>) -> Option<Vec<u8>> {
    match command.code() {
        code::NV_READ_PUBLIC => {
            let index = command.word(0)?;
            let contents = indices.get(&index)?;
            let (public, name) = public(index, contents.len());
            Some(plain(0, &[&short(public.len()), &public[..], &short(name.len()), &name].concat()))
        }
        code::NV_READ => {
            let contents = indices.get(&command.word(1)?)?;
            Some(read(contents, command).unwrap_or_else(|code| plain(code, &[])))
        }
        _ => None,
    }
}

/// Part of the contents of an index.
pub(super) fn read(contents: &[u8], command: Passing<'_>) -> Result<Vec<u8>, u32> {
    let parameters = command.parameters(2).and_then(|range| command.bytes().get(range)).ok_or(RC_HANDLE)?;
    let (size, offset) = match parameters {
        [a, b, c, d] => (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])),
        _ => return Err(RC_VALUE),
    };
    let (size, offset) = (usize::from(size), usize::from(offset));
    if size > READ_MAX {
        return Err(RC_VALUE);
    }
    let part = contents.get(offset..offset + size).ok_or(RC_NV_RANGE)?;
    Ok(in_session(&[&short(part.len()), part].concat(), &[], &[]))
}

/// The answer to a question for handles, with ours among those of the TPM; as it is for any other question.
pub(super) fn listed(indices: &Indices, command: Passing<'_>, answer: Vec<u8>) -> Vec<u8> {
    if command.code() != code::GET_CAPABILITY || command.word(0) != Some(CAPABILITY_HANDLES) {
        return answer;
    }
    let (Some(first), Some(count)) = (command.word(1), command.word(2)) else { return answer };
    if first >> 24 != NV {
        return answer;
    }
    // header 10, more 1, capability 4, count 4
    let Some(theirs) = answer.get(19..).filter(|_| answer.get(6..10) == Some(&[0; 4])) else { return answer };
    let theirs = theirs.chunks_exact(4).filter_map(|handle| handle.first_chunk()).map(|one| u32::from_be_bytes(*one));
    let mut all: Vec<u32> = theirs.chain(indices.keys().copied()).filter(|index| *index >= first).collect();
    all.sort_unstable();
    all.dedup();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let more = answer.get(10) == Some(&1) || all.len() > count;
    all.truncate(count);
    let mut body = vec![u8::from(more)];
    body.extend(CAPABILITY_HANDLES.to_be_bytes());
    body.extend(u32::try_from(all.len()).unwrap_or_default().to_be_bytes());
    body.extend(all.iter().flat_map(|index| index.to_be_bytes()));
    plain(0, &body)
}

/// TPMS_NV_PUBLIC and the Name.
fn public(index: u32, size: usize) -> (Vec<u8>, Vec<u8>) {
    let mut public = index.to_be_bytes().to_vec();
    public.extend(ALG_SHA256);
    public.extend(ATTRIBUTES.to_be_bytes());
    public.extend([0; 2]);
    public.extend(short(size));
    let name = [&ALG_SHA256[..], &Bank::Sha256.hash(&[&public])].concat();
    (public, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices() -> Indices {
        BTreeMap::from([(0x0140_0001, (0..200).collect::<Vec<u8>>())])
    }

    fn nv_read(size: u16, offset: u16) -> Option<Vec<u8>> {
        let mut bytes = hex::decode("8002000000230000014e0140000101400001000000094000000900000000").unwrap();
        bytes.push(0);
        bytes.extend(size.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        answer(&indices(), Passing::new(&bytes))
    }

    #[test]
    fn an_index_is_read_in_pieces_and_not_beyond_its_end() {
        let answer = nv_read(4, 100).unwrap();
        assert_eq!(hex::encode(answer), "80020000001900000000000000060004646566670000010000");
        assert_eq!(nv_read(4, 197).unwrap(), plain(RC_NV_RANGE, &[]));
        assert_eq!(nv_read(2000, 0).unwrap(), plain(RC_VALUE, &[]));
    }

    #[test]
    fn ours_stand_among_those_of_the_tpm() {
        let command = hex::decode("8001000000160000017a000000010140000000000002").unwrap();
        let theirs = hex::decode("80010000001b0000000000000000010000000201c0000201c0000a").unwrap();
        let all = listed(&indices(), Passing::new(&command), theirs.clone());
        assert_eq!(hex::encode(all), "80010000001b000000000100000001000000020140000101c00002");
        let persistent = hex::decode("8001000000160000017a000000018100000000000002").unwrap();
        assert_eq!(listed(&indices(), Passing::new(&persistent), theirs.clone()), theirs);
    }

    #[test]
    fn others_are_left_to_the_tpm() {
        let command = hex::decode("80010000000e0000016901c00002").unwrap();
        assert_eq!(answer(&indices(), Passing::new(&command)), None);
    }
}
