//! Simulated guests before judges that are not the simulator: other people's verifiers, and our own, which shares no code
//! with it. Every attack is a test of its own: refused by the code that the simulator promises.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod azure;
mod gcp;
mod nitro;
mod nitrotpm;
mod policy;
mod service;
mod snp;
mod stage;
mod tdx;
mod tpm;

use std::path::Path;
use std::sync::OnceLock;

use holdfast_tpm_sim::guest::Lab;

/// A lab whose vendors have their keys already, kept for the next run: they take a second to make.
fn lab() -> &'static Lab {
    static LAB: OnceLock<Lab> = OnceLock::new();
    LAB.get_or_init(|| Lab::open(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("guests-lab")))
}

/// One test an attack, named after it, and one that says whether an attack has none.
macro_rules! refused {
    ($kind:expr, $check:path; $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $check(stringify!($name).replace('_', "-").as_str());
            }
        )*

        #[test]
        fn every_attack_is_tested() {
            let tested: Vec<String> = [$(stringify!($name)),*].iter().map(|name| name.replace('_', "-")).collect();
            let known = holdfast_tpm_sim::guest::attacks_of($kind).iter().map(|attack| attack.name);
            let missing: Vec<&str> = known.filter(|name| !tested.iter().any(|tested| tested == name)).collect();
            assert!(missing.is_empty(), "without a test: {missing:?}");
        }
    };
}
use refused;
