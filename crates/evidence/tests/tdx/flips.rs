//! No byte of anything that is signed may change: of a real quote, of its certificates, of its collateral.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_evidence::tdx::{
    CollateralParts, KnownCollateral, Quote, TdxEndorsements, Unverified, VerifiedQuote, certificates, pck_chain,
    verify_quote,
};
use serde_json::Value;

use crate::intel::pem;
use crate::real::{Real, WHOLE};
use crate::td::{NOW, Td};

/// Flips one bit of every byte, another one from byte to byte.
fn flipped(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len()).map(|at| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 7);
        (at, changed)
    })
}

/// Up to the certificates every byte is signed, or is a length or a signature; behind them is padding.
fn quote_of(
    bytes: &[u8],
    name: &str,
    good: &VerifiedQuote,
    verify: impl Fn(&[u8]) -> Result<VerifiedQuote, Unverified>,
) {
    let quote = Quote::parse(bytes).unwrap();
    let certificates_at = quote.exact.len() - quote.pck_chain.len();
    // the four reserved bytes of the header are signed as well: nothing is left out
    for (at, changed) in flipped(&bytes[..certificates_at]) {
        let changed = [&changed, &bytes[certificates_at..]].concat();
        assert!(verify(&changed).is_err(), "{name} byte {at:#x}");
    }
    let padding = (quote.exact.len()..bytes.len()).step_by(97);
    for at in (certificates_at..quote.exact.len()).step_by(5).chain(padding) {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 7);
        // text around the certificates, and padding, is nobody's; whatever still verifies says the same
        if let Ok(verified) = verify(&changed) {
            assert_eq!(verified, *good, "{name} byte {at:#x}");
        }
    }
}

#[test]
fn no_byte_of_a_real_quote_may_change() {
    for real in WHOLE.iter().filter_map(Real::load) {
        let good = real.verify(&real.quote, real.from).unwrap();
        // checked collateral is kept, so that each flip costs what a quote costs
        let checked = Arc::new(real.collateral.check(&real.roots, real.from).unwrap());
        let endorsements = TdxEndorsements {
            roots: Arc::clone(&real.roots),
            collateral: KnownCollateral::Checked(checked),
            service_tds: Vec::new(),
            pck: None,
        };
        quote_of(&real.quote, real.name, &good, |quote| verify_quote(quote, &endorsements, real.from));
    }
}

#[test]
fn no_byte_of_a_made_quote_may_change() {
    for td in [Td::v5(), Td::v5_extended()] {
        let (good, endorsements) = (td.verify().unwrap(), td.endorsements());
        quote_of(&td.quote(), "made", &good, |quote| verify_quote(quote, &endorsements, NOW));
    }
}

#[test]
fn no_byte_of_a_real_pck_certificate_or_its_ca_may_change() {
    let Some(real) = WHOLE.iter().find_map(Real::load) else { return };
    let quote = Quote::parse(&real.quote).unwrap();
    let chain = certificates(&quote);
    let head = &quote.exact[..quote.exact.len() - quote.pck_chain.len()];
    let verify = |leaf: &[u8], ca: &[u8]| {
        let pem = [pem(leaf), pem(ca)].concat();
        // the lengths around the certificates change with them
        let mut bytes = [head, pem.as_bytes()].concat();
        let grown = pem.len() as i64 - quote.pck_chain.len() as i64;
        for at in [48 + 584, 48 + 584 + 4 + 128 + 2, head.len() - 4] {
            let length = i64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())) + grown;
            bytes[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        }
        real.verify(&bytes, real.from)
    };
    assert!(verify(&chain[0], &chain[1]).is_ok());
    for (at, changed) in flipped(&chain[0]) {
        assert!(verify(&changed, &chain[1]).is_err(), "PCK byte {at}");
    }
    for (at, changed) in flipped(&chain[1]) {
        assert!(verify(&chain[0], &changed).is_err(), "CA byte {at}");
    }
}

/// Texts and signatures byte by byte; lists and certificates in their DER.
#[test]
fn no_byte_of_real_collateral_may_change() {
    let Some(real) = WHOLE.iter().find_map(Real::load) else { return };
    let document: Value = serde_json::from_slice(&real.collateral.encode()).unwrap();
    let pck = pck_chain(&Quote::parse(&real.quote).unwrap(), &real.roots, real.from).unwrap();
    let refused = |names: &[&str], value: Vec<u8>, at: usize| {
        let mut changed = document.clone();
        let Ok(text) = String::from_utf8(value) else { return };
        for name in names {
            changed[*name] = text.clone().into();
        }
        let mut parts = CollateralParts::new();
        let checked = parts.add(changed.to_string().as_bytes()).map_err(Unverified::from).and_then(|()| {
            let checked = Arc::new(parts.collateral(real.collateral.kind())?).check(&real.roots, real.from)?;
            checked.admits(&pck)?;
            // of what nobody signed, the encoding of an algorithm's name say, dcap-qvl is the stricter reader
            let (roots, collateral) = (Arc::clone(&real.roots), KnownCollateral::Checked(Arc::new(checked)));
            verify_quote(
                &real.quote,
                &TdxEndorsements { roots, collateral, service_tds: Vec::new(), pck: None },
                real.from,
            )
        });
        assert!(checked.is_err(), "{names:?} byte {at}");
    };
    for name in ["tcb_info", "qe_identity"] {
        for (at, changed) in flipped(document[name].as_str().unwrap().as_bytes()) {
            // a letter in the other case is another text
            refused(&[name], changed, at);
        }
        let signature = hex::decode(document[format!("{name}_signature")].as_str().unwrap()).unwrap();
        for (at, changed) in flipped(&signature) {
            refused(&[&format!("{name}_signature")], hex::encode(changed).into_bytes(), at);
        }
    }
    // one signer for both documents: of two, the good one would be found
    let chains = ["tcb_info_issuer_chain", "qe_identity_issuer_chain"];
    let signer = pem::parse(document[chains[0]].as_str().unwrap()).unwrap().into_contents();
    for (at, changed) in flipped(&signer) {
        refused(&chains, pem(&changed).into_bytes(), at);
    }
    for name in ["root_ca_crl", "pck_crl"] {
        let list = hex::decode(document[name].as_str().unwrap()).unwrap();
        for (at, changed) in flipped(&list) {
            refused(&[name], hex::encode(changed).into_bytes(), at);
        }
    }
}

/// A file as a tool wrote it. Nothing that is signed may change, nor a signature, nor any copy of the root. What is left
/// is how the file is written: the name of a chain's member, without which it is as if it had not come along, and the line
/// ends within PEM.
#[test]
fn no_byte_of_a_real_file_of_collateral_may_change() {
    let Some(real) = WHOLE.iter().find_map(Real::load) else { return };
    let pck = pck_chain(&Quote::parse(&real.quote).unwrap(), &real.roots, real.from).unwrap();
    let verify = |file: &[u8]| {
        let mut parts = CollateralParts::new();
        parts.add(file)?;
        let checked = Arc::new(parts.check_for(&pck, &real.roots, real.from)?);
        let (roots, collateral) = (Arc::clone(&real.roots), KnownCollateral::Checked(checked));
        verify_quote(&real.quote, &TdxEndorsements { roots, collateral, ..TdxEndorsements::default() }, real.from)
    };
    let good = verify(&real.file).unwrap();
    let members = |file: &[u8]| serde_json::from_slice::<BTreeMap<String, String>>(file).unwrap();
    let own = members(&real.file);
    let mut accepted = 0;
    for (at, changed) in flipped(&real.file) {
        let Ok(verified) = verify(&changed) else { continue };
        accepted += 1;
        assert_eq!(verified, good, "byte {at}");
        let changed = members(&changed);
        for (name, value) in &own {
            let is_chain = name.ends_with("_issuer_chain");
            match changed.get(name) {
                Some(changed) if is_chain => {
                    let lines = |text: &str| text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
                    assert_eq!(lines(changed), lines(value), "byte {at} of {name}");
                }
                Some(changed) => assert_eq!(changed, value, "byte {at} of {name}"),
                None => assert!(is_chain, "byte {at}: without {name}"),
            }
        }
    }
    assert!(accepted < 100, "{accepted} of {}", real.file.len());
}
