//! The reader beside another one: what ours accepts, `ciborium` reads as the same document.

use ciborium::Value;
use holdfast_evidence::nitro::{Document, DocumentKind};
use proptest::prelude::*;

use crate::hypervisor::Hypervisor;
use crate::judge::folder;

fn read(bytes: &[u8]) -> Value {
    ciborium::from_reader(bytes).unwrap()
}

fn assert_same(kind: DocumentKind, bytes: &[u8]) {
    let Ok(document) = Document::parse(kind, bytes) else { return };
    let parts = match read(bytes) {
        Value::Tag(18, inside) => inside.into_array().unwrap(),
        untagged => untagged.into_array().unwrap(),
    };
    let part = |at: usize| parts[at].as_bytes().unwrap().as_slice();
    assert_eq!(
        (part(0), part(2), part(3)),
        (document.envelope.protected, document.envelope.payload, document.envelope.signature)
    );
    let payload = read(document.envelope.payload).into_map().unwrap();
    let field = |key: &str| payload.iter().find(|(found, _)| found.as_text() == Some(key)).map(|(_, value)| value);
    assert_eq!(field("module_id").unwrap().as_text(), Some(document.module_id));
    assert_eq!(field("digest").unwrap().as_text(), Some(document.digest));
    assert_eq!(field("timestamp").unwrap().as_integer(), Some(document.timestamp.into()));
    assert_eq!(field("certificate").unwrap().as_bytes().unwrap(), document.certificate);
    let bundle = field("cabundle").unwrap().as_array().unwrap();
    assert!(bundle.iter().map(|der| der.as_bytes().unwrap().as_slice()).eq(document.cabundle.iter().copied()));
    for (key, value) in
        [("public_key", document.public_key), ("user_data", document.user_data), ("nonce", document.nonce)]
    {
        assert_eq!(field(key).and_then(Value::as_bytes).map(Vec::as_slice), value, "{key}");
    }
    let pcrs = field(document.pcrs.kind.pcrs_key()).unwrap().as_map().unwrap();
    assert_eq!(pcrs.len(), document.pcrs.iter().count());
    for (number, value) in pcrs {
        let number: u8 = number.as_integer().unwrap().try_into().unwrap();
        assert_eq!(document.pcrs.get(number), value.as_bytes().map(Vec::as_slice));
    }
}

#[test]
fn real_documents_read_as_another_library_reads_them() {
    let Some(folder) = folder() else { return };
    let mut read = 0;
    for (kind, name) in [(DocumentKind::Enclave, "nitro"), (DocumentKind::Tpm, "nitrotpm")] {
        for file in crate::vectors::files_below(&folder.join(name)) {
            if file.extension().is_some_and(|extension| extension == "cose") {
                let bytes = std::fs::read(&file).unwrap();
                assert!(Document::parse(kind, &bytes).is_ok(), "{}", file.display());
                assert_same(kind, &bytes);
                read += 1;
            }
        }
    }
    assert_eq!(read, 8);
}

fn document() -> &'static [u8] {
    static DOCUMENT: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let hypervisor = Hypervisor::new(DocumentKind::Enclave);
        hypervisor.sign(&hypervisor.fields(&[1; 32], &[2; 32]))
    })
}

proptest! {
    #[test]
    fn spoiled_documents_are_refused_or_read_as_another_library_reads_them(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = document().to_vec();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes[at] ^= 1 << (byte % 8),
            }
        }
        assert_same(DocumentKind::Enclave, &bytes);
    }

    #[test]
    fn no_bytes_panic_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        for kind in [DocumentKind::Enclave, DocumentKind::Tpm] {
            assert_same(kind, &bytes);
        }
    }
}
