//! The standard's own examples, and everything that is no note and no key.

use super::*;

const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

fn signing(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, Zeroizing::new([seed; 32])).unwrap()
}

#[test]
fn the_example_of_the_standard_verifies() {
    let (note, key): (_, VerifierKey) = (Note::parse(NOTE).unwrap(), KEY.parse().unwrap());
    assert!(note.is_signed_by(&key));
    assert_eq!((note.to_string().as_str(), key.to_string().as_str()), (NOTE, KEY));
}

#[test]
fn a_changed_byte_anywhere_in_a_note_is_found() {
    let key: VerifierKey = KEY.parse().unwrap();
    for place in 0..NOTE.len() {
        let mut bytes = NOTE.as_bytes().to_vec();
        bytes[place] ^= 1;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let signed = Note::parse(&text).is_ok_and(|note| note.is_signed_by(&key));
        assert!(!signed, "byte {place}");
    }
}

#[test]
fn lines_of_unknown_keys_are_carried_along_and_a_bad_line_of_a_known_one_spoils_the_note() {
    let (one, other) = (signing("log.example", 1), signing("log.example", 2));
    let mut note = one.sign("text\n").unwrap();
    note.signatures.push(Signature { name: "post.quantum".into(), key_id: [1; 4], bytes: vec![7; 2428] });
    note.signatures.extend(other.sign("text\n").unwrap().signatures);
    let note = Note::parse(&note.to_string()).unwrap();
    assert_eq!(note.signatures.len(), 3);
    assert!(note.is_signed_by(one.verifier()) && note.is_signed_by(other.verifier()));
    assert!(!note.is_signed_by(signing("log.example", 3).verifier()));
    let mut spoilt = note;
    let mut bad = spoilt.signatures[0].clone();
    bad.bytes[9] ^= 1;
    spoilt.signatures.push(bad);
    assert!(!spoilt.is_signed_by(one.verifier()), "one good line and one bad");
    assert!(spoilt.is_signed_by(other.verifier()));
}

#[test]
fn what_is_no_note_is_refused() {
    let line = "\u{2014} a AAAAAAA=\n";
    assert!(Note::parse(&format!("text\n\n{line}")).is_ok());
    let sixteen = line.repeat(16);
    assert!(Note::parse(&format!("text\n\n{sixteen}")).is_ok());
    for bad in [
        String::new(),
        "text\n".to_owned(),
        "text\n\n".to_owned(),
        format!("text\n{line}"),
        format!("text\n\n{}", line.trim_end()),
        format!("text\n\n{line}more\n"),
        format!("te\rxt\n\n{line}"),
        format!("text\n\n{}", line.replace("\u{2014}", "-")),
        format!("text\n\n{}", line.replace(" a ", "  ")),
        format!("text\n\n{}", line.replace("AAAAAAA=", "AAAA")),
        format!("text\n\n{}", line.replace("AAAAAAA=", "AAAAAA")),
        format!("text\n\n{}", line.repeat(SIGNATURES_MAX + 1)),
        format!("{}\n\n{line}", "a".repeat(NOTE_BYTES_MAX)),
    ] {
        assert!(Note::parse(&bad).is_err(), "{}", &bad[..bad.len().min(60)]);
    }
    // The blank line is the last one: text may have others.
    assert_eq!(Note::parse(&format!("a\n\nb\n\n{line}")).unwrap().text, "a\n\nb\n");
}

#[test]
fn a_key_reads_back_and_a_changed_one_does_not() {
    let key = signing("td.example/log/1", 5);
    let text = key.encode();
    assert_eq!(SigningKey::parse(&text).unwrap().verifier(), key.verifier());
    let vkey = key.verifier().to_string();
    assert_eq!(vkey.parse::<VerifierKey>().as_ref(), Ok(key.verifier()));
    for place in 0..vkey.len() {
        let mut bytes = vkey.clone().into_bytes();
        bytes[place] ^= 1;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        assert_ne!(text.parse::<VerifierKey>().as_ref(), Ok(key.verifier()), "byte {place}");
    }
    for bad in ["", "PRIVATE+KEY+", "PRIVATE+KEY+a+00000000+AQ==", &vkey, &text.replace("td.", "tt.")] {
        assert!(SigningKey::parse(bad).is_err(), "{bad}");
    }
    assert!(!format!("{key:?}").contains(&STANDARD.encode([5; 8])[..8]), "its seed stays its own");
    for name in ["", "two words", "a+b", "line\nbreak", "thin\u{2009}space", &"a".repeat(NAME_BYTES_MAX + 1)] {
        assert!(SigningKey::from_seed(name, Zeroizing::new([1; 32])).is_err(), "{name:?}");
    }
}

/// The example of `c2sp.org/tlog-cosignature` names no keys, so a witness of our own signs as it describes.
#[test]
fn a_cosignature_covers_its_time_and_the_whole_text() {
    let log = signing("log.example", 1);
    let witness = signing("witness.example/w1", 2);
    let text = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let key = VerifierKey::new("witness.example/w1", Kind::CosignatureV1, *witness.key.public());
    let cosigned = |time: u64, text: &str| {
        let signature = witness.key.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes()).unwrap();
        [time.to_be_bytes().as_slice(), &signature].concat()
    };
    let with = |bytes: Vec<u8>| {
        let mut note = log.sign(text).unwrap();
        note.signatures.push(Signature { name: key.name.clone(), key_id: key.id, bytes });
        Note::parse(&note.to_string()).unwrap()
    };
    let good = cosigned(1_679_315_147, text);
    assert!(with(good.clone()).is_signed_by(&key) && with(good.clone()).is_signed_by(log.verifier()));
    assert!(key.is_witness() && !log.verifier().is_witness());
    assert_eq!(key.to_string().parse::<VerifierKey>().unwrap(), key);
    for place in 0..good.len() {
        let mut changed = good.clone();
        changed[place] ^= 1;
        assert!(!with(changed).is_signed_by(&key), "byte {place}");
    }
    assert!(!with(cosigned(1, "log.example\n1\n")).is_signed_by(&key));
    assert!(!with(cosigned(1 << 63, text)).is_signed_by(&key), "no time of this epoch");
    assert!(!log.sign(text).unwrap().is_signed_by(&key));
}
