//! What a bundle endpoint of another trust domain sends. Nothing may panic, and what is read keeps to its bounds.
#![no_main]

use holdfast_server::federation::EndpointUrl;
use holdfast_svid::bundle::{AUTHORITIES_BYTES_MAX, Bundle, check_authority, read_map};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let domain = "other.org".parse().expect("a trust domain");
    if let Ok(bundle) = Bundle::read(&domain, bytes) {
        assert!(bundle.x509_authorities.iter().map(Vec::len).sum::<usize>() <= AUTHORITIES_BYTES_MAX);
        Bundle::read(&domain, bundle.to_json().as_bytes()).expect("what is written is a bundle");
    }
    let _ = read_map(bytes);
    let _ = check_authority(bytes, &domain);
    if let Ok(location) = std::str::from_utf8(bytes) {
        let from: EndpointUrl = "https://other.org/".parse().expect("a URL");
        let _ = from.redirected(location);
    }
});
