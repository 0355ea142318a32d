//! Certificates in whatever form and order they come, whom the report leads to, and when.

use std::path::Path;

use crate::line::{Run, TODAY, VLEK_DAY, cvm, milan, runs};
use crate::machine::result_of;

/// GUIDs of a certificate table.
const VCEK: [u8; 16] = [0x63, 0xda, 0x75, 0x8d, 0xe6, 0x64, 0x45, 0x64, 0xad, 0xc5, 0xf4, 0xb9, 0x3b, 0xe8, 0xac, 0xcd];
const VLEK: [u8; 16] = [0xa8, 0x07, 0x4b, 0xc2, 0xa2, 0x5a, 0x48, 0x3e, 0xaa, 0xe6, 0x39, 0xc0, 0x45, 0xa0, 0xb8, 0xa1];

fn table(entries: &[([u8; 16], &[u8])]) -> Vec<u8> {
    let (mut table, mut contents) = (Vec::new(), Vec::new());
    for (guid, entry) in entries {
        let at = 24 * (entries.len() + 1) + contents.len();
        table.extend_from_slice(guid);
        table.extend_from_slice(&u32::try_from(at).unwrap().to_le_bytes());
        table.extend_from_slice(&u32::try_from(entry.len()).unwrap().to_le_bytes());
        contents.extend_from_slice(entry);
    }
    [table, vec![0; 24], contents].concat()
}

fn read(cvm: &Path, file: &str) -> Vec<u8> {
    std::fs::read(cvm.join(file)).unwrap()
}

fn trustee(cvm: &Path) -> Run {
    let nonce = "ec6c52d7533cc2c4f45be7849cf112ab82b2009fe7bd43e71ed08c14400ad7e2";
    Run::new(cvm, "snp-milan/trustee-v2/report.bin", "vcek.der", TODAY).with("--nonce", nonce)
}

#[test]
fn without_roots_amds_own_are_at_hand() {
    let Some(cvm) = cvm() else { return };
    for run in runs() {
        let report = run.without("--roots").verified();
        assert_eq!(report["facts"]["snp.class"]["value"], "firmware");
    }
    // with whatever of the chain comes along
    for chain in [&["ask"][..], &["ark"], &["ask", "ark"], &["asvk", "ark", "ask"]] {
        let all: Vec<u8> = chain.iter().flat_map(|name| read(&cvm, &format!("roots/amd-milan-{name}.der"))).collect();
        trustee(&cvm).without("--roots").write("chain", &all).with_file("--chain", "chain").verified();
    }
}

#[test]
fn a_false_root_that_comes_along_counts_for_nothing() {
    let Some(cvm) = cvm() else { return };
    let mut ark = read(&cvm, "roots/amd-milan-ark.der");
    *ark.last_mut().unwrap() ^= 1;
    let run = trustee(&cvm).write("ark", &ark);
    // beside ours it does no harm, and in their place it is whatever its owner says
    let report = run.without("--roots").with_file("--chain", "ark").verified();
    assert_eq!(
        report["facts"]["snp.root.sha256"]["value"],
        "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd"
    );
    let report = trustee(&cvm).write("ark", &ark).with_file("--roots", "ark").verified();
    assert_eq!(report["facts"]["snp.class"]["value"], "simulated");
}

#[test]
fn with_roots_only_these_count() {
    let Some(cvm) = cvm() else { return };
    for (roots, code) in [
        ("amd-genoa-ark.der", "snp.chain.untrusted"),
        ("amd-turin-ark.der", "snp.chain.untrusted"),
        ("intel-sgx-root-ca.der", "snp.chain.untrusted"),
    ] {
        trustee(&cvm).with("--roots", &cvm.join("roots").join(roots).to_string_lossy()).refused(code);
    }
    // a root alone: AMD's intermediates help, and the fingerprint is the better word on its class
    let run = trustee(&cvm).with("--roots", &cvm.join("roots/amd-milan-ark.der").to_string_lossy());
    let report = run.with("--root-class", "simulated").verified();
    assert_eq!(report["facts"]["snp.class"]["value"], "firmware");
}

#[test]
fn roots_are_files_and_folders_in_pem_and_der() {
    let Some(cvm) = cvm() else { return };
    let (ark, asvk) = (read(&cvm, "roots/amd-milan-ark.der"), read(&cvm, "roots/amd-milan-asvk.der"));
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("amd");
    let vlek = || Run::new(&cvm, "snp-milan-vlek-aws/report.bin", "vlek.der", VLEK_DAY);
    vlek().write("roots", &[ark, asvk].concat()).with_file("--roots", "roots").verified();
    vlek().with("--roots", &shipped.to_string_lossy()).verified();
    vlek().with("--roots", &shipped.join("milan-ark.pem").to_string_lossy()).verified();
    vlek().with("--roots", &cvm.join("roots").to_string_lossy()).verified();
    let text = vlek().write("roots", b"nothing").with_file("--roots", "roots");
    text.usage("no certificate in ");
    let empty = text.folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    text.with("--roots", &empty.to_string_lossy()).usage("no certificate in ");
}

#[test]
fn certificates_in_der_stand_one_behind_the_other() {
    let Some(cvm) = cvm() else { return };
    let (ark, ask) = (read(&cvm, "roots/amd-milan-ark.der"), read(&cvm, "roots/amd-milan-ask.der"));
    let vcek = read(&cvm, "snp-milan/trustee-v2/vcek.der");
    trustee(&cvm).write("chain", &[ask.clone(), ark.clone()].concat()).with_file("--chain", "chain").verified();
    trustee(&cvm).write("vek", &[vcek, ask, ark].concat()).without("--roots").verified();
}

#[test]
fn a_chain_without_a_certificate_is_usage() {
    let Some(cvm) = cvm() else { return };
    for content in
        [&b""[..], b"see the other folder\n", b"-----BEGIN PUBLIC KEY-----\nAAEC\n-----END PUBLIC KEY-----\n"]
    {
        trustee(&cvm).write("chain", content).with_file("--chain", "chain").usage("no certificate in ");
    }
}

#[test]
fn pem_may_begin_with_text() {
    let Some(run) = milan() else { return };
    let pem =
        [&b"subject=CN = SEV-VCEK\nissuer=CN = SEV-Milan\n"[..], &std::fs::read(run.path("vek")).unwrap()].concat();
    run.write("vek", &pem).verified();
}

#[test]
fn a_key_that_is_over_is_refused_whoever_is_trusted() {
    let Some(cvm) = cvm() else { return };
    let vlek = |roots: &str| {
        let run = Run::new(&cvm, "snp-milan-vlek-aws/report.bin", "vlek.der", TODAY);
        if roots.is_empty() {
            run.without("--roots")
        } else {
            run.with("--roots", &cvm.join("roots").join(roots).to_string_lossy())
        }
    };
    for roots in ["", "amd-milan-ark.der", "amd-genoa-ark.der", "intel-sgx-root-ca.der"] {
        let report = vlek(roots).refused("snp.chain.expired");
        assert_eq!(result_of(&report, "signature"), "passed");
    }
}

#[test]
fn of_several_keys_the_one_that_fits_is_judged() {
    let Some(cvm) = cvm() else { return };
    let vcek = read(&cvm, "snp-milan/trustee-v2/vcek.der");
    let vlek = read(&cvm, "snp-milan-vlek-aws/vlek.der");
    // of another TCB and chip
    let other = read(&cvm, "snp-milan/trustee-v2/NEG-vcek-hwid-legacy-encoding.der");
    let run = |entries: &[([u8; 16], &[u8])]| trustee(&cvm).write("vek", &table(entries));
    run(&[(VLEK, &vlek), (VCEK, &vcek)]).verified();
    run(&[(VCEK, &other), (VCEK, &vcek)]).verified();
    run(&[(VLEK, &[0xff; 32]), (VCEK, &vcek)]).verified();
    // none fits: what is wrong with the first
    run(&[(VLEK, &vlek), (VCEK, &other)]).refused("snp.vek.kind");
    run(&[(VCEK, &other), (VLEK, &vlek)]).refused("snp.tcb.certificate_mismatch");
    run(&[(VLEK, &[0xff; 32])]).refused("snp.vek.malformed");
}
