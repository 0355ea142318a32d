//! DER as PEM text, for files and for those who want it on the wire. Keys are wiped when they are dropped.

use base64::Engine;
use zeroize::Zeroizing;

/// Characters of one line of PEM.
const LINE: usize = 64;

/// Each of `ders` as a certificate.
pub(crate) fn certificates(ders: &[Vec<u8>]) -> String {
    ders.iter().map(|der| block("CERTIFICATE", der).to_string()).collect()
}

/// Each of `ders` as a revocation list.
pub(crate) fn revocation_lists(ders: &[Vec<u8>]) -> String {
    ders.iter().map(|der| block("X509 CRL", der).to_string()).collect()
}

/// PKCS#8 as a private key.
pub(crate) fn private_key(pkcs8: &[u8]) -> Zeroizing<String> {
    block("PRIVATE KEY", pkcs8)
}

fn block(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(der));
    let lines = body.len() + body.len() / LINE + 1;
    // As large as it becomes: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(lines + 2 * (label.len() + 20)));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_what_a_reader_of_pem_reads() {
        for length in [0, 1, 47, 48, 49, 1000] {
            let der: Vec<u8> = (0..length).map(|n| u8::try_from(n % 256).unwrap()).collect();
            let text = block("X509 CRL", &der);
            assert!(text.lines().all(|line| line.len() <= LINE) && text.capacity() >= text.len());
            let (label, read) = pem_of(&text);
            assert_eq!((label.as_str(), read), ("X509 CRL", der));
        }
    }

    fn pem_of(text: &str) -> (String, Vec<u8>) {
        let (_, read) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
        (read.label, read.contents)
    }
}
