//! The policy language, with the files that a policy names: whatever the text, the reader answers with findings, and what
//! it reads can be asked about a machine. Starts from `fuzz/seeds/policy`.
#![no_main]

use holdfast_appraisal::decision::{Appraiser, Ownership};
use holdfast_appraisal::policy::referenced_files;
use holdfast_appraisal::{Document, Facts, Policy, ReferenceValues};
use holdfast_identity::UnixTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let document = Document { name: "fuzz.toml", text };
    let _ = referenced_files(document);
    let _ = ReferenceValues::parse(document);
    let digests = "5151515151515151515151515151515151515151515151515151515151515151  /bin/true\n";
    let files = [
        Document { name: "k.toml", text: include_str!("../seeds/policy/k.toml") },
        Document { name: "k.toml.sig", text },
        Document { name: "vendor.pem", text: include_str!("../seeds/policy/vendor.pem") },
        Document { name: "d.digests", text: digests },
    ];
    // The text as a policy, and as each of the files that one names.
    if let Ok(policy) = Policy::parse(document, &files) {
        let (now, ownership) = (UnixTime(1_780_272_000), Ownership::unknown());
        let appraiser = Appraiser::new("example.org".parse().expect("a trust domain"));
        let verdict = appraiser.judge(&policy, &Facts::new(), &ownership, now);
        let _ = Appraiser::explain(&policy, &Facts::new(), &ownership, now, &verdict).to_string();
        let _ = policy.findings_at(now);
    }
    for seed in [include_str!("../seeds/policy/everything.toml"), include_str!("../seeds/policy/signed.toml")] {
        for name in files.map(|file| file.name) {
            let changed = files.map(|file| if file.name == name { Document { name, text } } else { file });
            let _ = Policy::parse(Document { name: "seed.toml", text: seed }, &changed);
        }
    }
});
