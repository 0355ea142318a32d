//! Enclave images that the test writes by the letter of the format.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use holdfast_evidence::crypto::HashAlg;
use holdfast_measurement::eif::Eif;

const KERNEL: u16 = 1;
const COMMAND_LINE: u16 = 2;
const RAM_DISK: u16 = 3;
const SIGNATURE: u16 = 4;
const METADATA: u16 = 5;

/// A self-signed certificate, and its PEM.
fn certificate() -> (Vec<u8>, String) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let made = rcgen::CertificateParams::new(vec!["signer.example".to_owned()]).unwrap().self_signed(&key).unwrap();
    (made.der().to_vec(), made.pem())
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(u32::MAX, step)
}

fn eif(sections: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut header = [&b".eif"[..], &[0, 4, 0, 0], &[0; 16], &[0, 0]].concat();
    header.extend(u16::try_from(sections.len()).unwrap().to_be_bytes());
    let (mut offsets, mut sizes, mut body) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, contents) in sections {
        offsets.extend(u64::try_from(548 + body.len()).unwrap().to_be_bytes());
        sizes.extend(u64::try_from(contents.len()).unwrap().to_be_bytes());
        body.extend(kind.to_be_bytes());
        body.extend([0, 0]);
        body.extend(u64::try_from(contents.len()).unwrap().to_be_bytes());
        body.extend(contents);
    }
    offsets.resize(256, 0);
    sizes.resize(256, 0);
    header.extend([offsets, sizes, vec![0; 4]].concat());
    let checksum = crc32(&[&header[..], &body].concat());
    header.extend(checksum.to_be_bytes());
    [header, body].concat()
}

/// The signature section as serde_cbor writes it: bytes as lists of numbers.
fn signature(pem: &str) -> Vec<u8> {
    let text = |text: &str| [&[0x78, u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
    let list = |bytes: &[u8]| {
        let mut list = vec![0x99];
        list.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
        for byte in bytes {
            if *byte >= 24 {
                list.push(0x18);
            }
            list.push(*byte);
        }
        list
    };
    [&[0x81, 0xa2][..], &text("signing_certificate"), &list(pem.as_bytes()), &text("signature"), &list(&[1, 200])]
        .concat()
}

fn parts() -> Vec<(u16, Vec<u8>)> {
    vec![
        (KERNEL, b"kernel".to_vec()),
        (COMMAND_LINE, b"reboot=k".to_vec()),
        (METADATA, b"{}".to_vec()),
        (RAM_DISK, b"init".to_vec()),
        (RAM_DISK, b"application".to_vec()),
    ]
}

fn once(contents: &[u8]) -> String {
    let inner = HashAlg::Sha384.digest(&[contents]);
    HashAlg::Sha384.digest(&[&[0; 48], inner.as_bytes()]).to_string()
}

#[test]
fn each_register_measures_its_sections() {
    let file = eif(&parts());
    let eif = Eif::parse(&file).unwrap();
    let pcrs = eif.pcrs();
    assert_eq!(pcrs.image.value().to_string(), once(b"kernelreboot=kinitapplication"));
    assert_eq!(pcrs.boot.value().to_string(), once(b"kernelreboot=kinit"));
    assert_eq!(pcrs.application.value().to_string(), once(b"application"));
    assert!(pcrs.signer.is_none() && eif.signer().is_none());
    // printf kernelreboot=kinitapplication | openssl dgst -sha384 -binary, behind 48 zeros, once more
    assert_eq!(
        pcrs.image.value().to_string(),
        "9d1b3748fb2a95829f1b2cdd4fdc3a8c4d6d8d02b15dabd91d63feca53bfad5bcaae228d4618564c72d04296d059210c"
    );
}

#[test]
fn the_signer_is_measured_by_its_certificate() {
    let (der, pem) = certificate();
    let mut sections = parts();
    let unsigned = Eif::parse(&eif(&sections)).unwrap().pcrs();
    sections.push((SIGNATURE, signature(&pem)));
    let file = eif(&sections);
    let eif = Eif::parse(&file).unwrap();
    assert_eq!(eif.signer().unwrap().certificate, der);
    let pcrs = eif.pcrs();
    assert_eq!(pcrs.signer.unwrap().value().to_string(), once(&der));
    assert_eq!((pcrs.image, pcrs.boot), (unsigned.image, unsigned.boot), "a signature changes nothing else");
}

#[test]
fn an_image_without_its_parts_or_with_others_is_refused() {
    let code = |sections: &[(u16, Vec<u8>)]| Eif::parse(&eif(sections)).unwrap_err().code();
    let parts = parts();
    assert_eq!(code(&parts[1..]), "measure.missing", "no kernel");
    assert_eq!(code(&parts[..3]), "measure.missing", "no RAM disk");
    assert_eq!(code(&[&parts[..], &parts[..1]].concat()), "measure.twice", "two kernels");
    let (_, pem) = certificate();
    let signed = (SIGNATURE, signature(&pem));
    assert_eq!(code(&[&parts[..], &[signed.clone(), signed.clone()]].concat()), "measure.twice");
    let mut broken = signed;
    broken.1[0] = 0x80;
    assert_eq!(code(&[&parts[..], &[broken]].concat()), "measure.missing", "a signature section without one");
    assert_eq!(code(&[&parts[..], &[(9, vec![])]].concat()), "measure.value", "an unknown section");
}

#[test]
fn every_flipped_byte_is_noticed() {
    let file = eif(&parts());
    for at in 0..file.len() {
        let mut bad = file.clone();
        bad[at] ^= 0x10;
        assert!(Eif::parse(&bad).is_err(), "byte {at}");
    }
    for length in 0..file.len() {
        assert!(Eif::parse(&file[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn sections_that_lie_about_their_size_are_refused() {
    // with a checksum that fits
    let good = eif(&parts());
    let resealed = |at: usize, value: u64| {
        let mut bad = good.clone();
        bad[at..at + 8].copy_from_slice(&value.to_be_bytes());
        let checksum = crc32(&[&bad[..544], &bad[548..]].concat());
        bad[544..548].copy_from_slice(&checksum.to_be_bytes());
        bad
    };
    for value in [0, 1, u64::MAX, 1 << 40] {
        for at in [28, 28 + 256, 548 + 4] {
            assert!(Eif::parse(&resealed(at, value)).is_err(), "{value} at {at}");
        }
        let mut both = resealed(28 + 256, value);
        both[552..560].copy_from_slice(&value.to_be_bytes());
        let checksum = crc32(&[&both[..544], &both[548..]].concat());
        both[544..548].copy_from_slice(&checksum.to_be_bytes());
        assert!(Eif::parse(&both).is_err(), "{value} in both places");
    }
}
