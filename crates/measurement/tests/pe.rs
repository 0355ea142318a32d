//! The Authenticode digest, over images in which every byte is known.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod image;

use holdfast_evidence::crypto::HashAlg;
use holdfast_measurement::pe::Image;
use image::{CHECKSUM, HEADERS, SECURITY};

fn digest(file: &[u8]) -> String {
    Image::parse(file).unwrap().authenticode(HashAlg::Sha256).unwrap().to_string()
}

/// A `WIN_CERTIFICATE` of PKCS#7 with `contents`.
fn certificate(contents: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + contents.len()).unwrap();
    [&length.to_le_bytes()[..], &[0, 2, 2, 0], contents].concat()
}

#[test]
fn the_digest_is_that_of_everything_but_checksum_and_signature() {
    let signature = certificate(&[7; 24]);
    let file = image::image(&[(".text", &[1; 700]), (".data", &[2; 3])], b"symbols.", &signature);
    let end = file.len() - signature.len();
    let parts = [&file[..CHECKSUM], &file[CHECKSUM + 4..SECURITY], &file[SECURITY + 8..end]];
    assert_eq!(digest(&file), HashAlg::Sha256.digest(&parts).to_string());
}

#[test]
fn a_byte_counts_unless_it_is_checksum_or_signature() {
    let signature = certificate(&[7; 24]);
    let file = image::image(&[(".text", &[1; 700])], b"symbols.", &signature);
    let end = file.len() - signature.len();
    let whole = digest(&file);
    for at in [2, 0x60, CHECKSUM + 4, SECURITY + 8, HEADERS - 1, HEADERS, HEADERS + 699, HEADERS + 701, end - 1] {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert_ne!(digest(&changed), whole, "byte {at:#x}");
    }
    for at in [CHECKSUM, CHECKSUM + 3, end + 8, file.len() - 1] {
        let mut changed = file.clone();
        changed[at] ^= 1;
        assert_eq!(digest(&changed), whole, "byte {at:#x}");
    }
}

#[test]
fn sections_are_hashed_in_the_order_of_the_file() {
    let file = image::image(&[(".one", &[1; 512]), (".two", &[2; 512])], b"", b"");
    let mut swapped = file.clone();
    let table = 0x80 + 24 + 240;
    let (one, two) = (file[table..table + 40].to_vec(), file[table + 40..table + 80].to_vec());
    swapped[table..table + 40].copy_from_slice(&two);
    swapped[table + 40..table + 80].copy_from_slice(&one);
    let parts = [&swapped[..CHECKSUM], &swapped[CHECKSUM + 4..SECURITY], &swapped[SECURITY + 8..]];
    assert_eq!(digest(&swapped), HashAlg::Sha256.digest(&parts).to_string());
}

#[test]
fn parts_outside_the_file_are_refused() {
    let file = image::image(&[(".text", &[1; 700])], b"", b"");
    let section = 0x80 + 24 + 240;
    for (at, value) in [
        (0x3c, u32::MAX),         // PE header
        (section + 16, u32::MAX), // raw size
        (section + 20, u32::MAX), // offset
        (0x80 + 24 + 60, 16),     // headers that end before the section table
        (0x80 + 24 + 60, u32::MAX),
        (0x80 + 24 + 108, 99), // data directory beyond the optional header
    ] {
        let mut bad = file.clone();
        bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
        let refused = Image::parse(&bad).unwrap_err().code();
        assert!(["measure.truncated", "measure.value", "measure.missing"].contains(&refused), "{at:#x} {value:#x}");
    }
    let mut bad = file.clone();
    bad[SECURITY + 4..SECURITY + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    let parsed = Image::parse(&bad).unwrap();
    assert_eq!(parsed.authenticode(HashAlg::Sha256).unwrap_err().code(), "measure.value");
    assert!(parsed.signatures().is_err());
    for length in [0, 1, 0x3f, 0x100, HEADERS - 1, file.len() - 1] {
        assert!(Image::parse(&file[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn certificates_are_found_in_a_signature() {
    // ContentInfo { signedData, [0] SignedData { version, digests, content, [0] { two certificates }, … } }
    let signed =
        [&[0x02, 1, 1][..], &[0x31, 0], &[0x30, 2, 0x06, 0], &[0xa0, 7, 0x30, 2, 5, 0, 0x30, 1, 9], &[0x31, 0]]
            .concat();
    let wrap = |tag: u8, contents: &[u8]| [&[tag, u8::try_from(contents.len()).unwrap()][..], contents].concat();
    let content = [&[0x06, 1, 42][..], &wrap(0xa0, &wrap(0x30, &signed))].concat();
    let pkcs7 = wrap(0x30, &content);
    let file = image::image(&[(".text", b"code")], b"", &certificate(&pkcs7));
    let image = Image::parse(&file).unwrap();
    let signatures = image.signatures().unwrap();
    assert_eq!(signatures.len(), 1);
    assert_eq!(signatures[0].certificates, [&[0x30, 2, 5, 0][..], &[0x30, 1, 9]]);
    let broken = image::image(&[(".text", b"code")], b"", &certificate(&pkcs7[..9]));
    assert_eq!(Image::parse(&broken).unwrap().signatures().unwrap_err().code(), "measure.missing");
}
