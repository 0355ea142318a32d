//! What Holdfast costs, as figures beside the floor that the same run measured. `make bench` runs all of them and
//! writes target/bench/results.json; `make bench ONLY=name` runs one. No figure fails anything.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark stops at a surprise"
)]
#![allow(missing_docs, unreachable_pub, reason = "a program")]
#![allow(clippy::cast_precision_loss, reason = "figures of a benchmark are far below 2^52")]

#[path = "../../../node-agent/src/generated/agent.rs"]
#[allow(clippy::all, missing_docs, unreachable_pub, unused_qualifications, dead_code)]
#[rustfmt::skip]
mod agent_stubs;
mod admin;
#[path = "../../../server/src/generated/admin_client.rs"]
#[allow(clippy::all, missing_docs, unreachable_pub, unused_qualifications, dead_code)]
#[rustfmt::skip]
mod admin_stubs;
mod appraise;
mod attest;
mod azure;
mod changes;
mod connected;
mod crowd;
/// As the made-up Azure finds it.
mod firmware {
    pub(crate) use crate::virtual_tpm::Firmware;
}
mod fleet;
mod floor;
mod gcp;
mod growth;
mod guests;
#[path = "../../../crates/evidence/tests/nitro/hypervisor.rs"]
#[allow(dead_code, reason = "the tests of documents use all of it")]
mod hypervisor;
mod ima;
mod issue;
mod link;
mod machine;
mod nitro;
#[path = "../../../crates/evidence/tests/azure/paravisor.rs"]
#[allow(dead_code, reason = "the tests of the verifier use all of it")]
mod paravisor;
#[path = "../../../crates/evidence/tests/pki/mod.rs"]
mod pki;
mod power;
mod processes;
mod pushes;
mod report;
mod snp;
mod stage;
mod start;
mod tdx;
#[path = "../../../crates/evidence/tests/virtual_tpm/mod.rs"]
mod virtual_tpm;
mod what_if;

use std::path::PathBuf;

use clap::Parser;
use holdfast_evidence::EvidenceKind;

use report::Row;
// The made-up Azure stands on the made-up AMD and Intel, by these names.
use snp::guest;
use tdx::td;

#[derive(Parser)]
struct Arguments {
    /// Where results.json goes
    #[arg(long, default_value = "results.json")]
    out: PathBuf,
    /// One row; all if absent
    only: Option<String>,
    /// Cargo says so
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

/// A group of rows that one measurement yields.
type Measurement = fn() -> anyhow::Result<Vec<Row>>;

const MEASUREMENTS: &[(&[&str], Measurement)] = &[
    (&["what_if"], what_if::measure),
    (&["appraise_enrol", "appraise_reattest", "appraise_reattest_unchanged"], appraise::measure),
    (&["appraise_snp", "appraise_snp_reattest"], snp::measure),
    (&["appraise_tdx", "appraise_tdx_reattest", "dcap_qvl_alone"], tdx::measure),
    (&["appraise_nitro", "appraise_nitro_reattest"], nitro::enclaves),
    (&["appraise_nitrotpm", "appraise_nitrotpm_reattest"], nitro::instances),
    (&["appraise_azure", "appraise_azure_reattest"], azure::measure),
    (&["appraise_gcp", "appraise_gcp_reattest"], gcp::measure),
    (&["ima_100k", "ima_100k_replay", "ima_unchanged", "ima_digest_bytes", "ima_digests_read"], ima::measure),
    (&["issue_x509", "issue_x509_recorded", "issue_x509_of_signing", "record_workload_svids"], issue::measure),
    (&["tpm_commands_enrol", "tpm_commands_reattest", "entry_to_svid_p99", "rss_agent"], machine::measure),
    (
        &[
            "enrol",
            "enrol_server_cpu",
            "reattest",
            "reattest_server_cpu",
            "reattest_new_connection",
            "reattest_new_connection_server_cpu",
            "rss_server",
            "rss_per_connected_agent",
        ],
        fleet::measure,
    ),
    (&["attest_snp", "reattest_snp"], || attest::measure(EvidenceKind::Snp, guests::snp)),
    (&["attest_tdx", "reattest_tdx"], || attest::measure(EvidenceKind::Tdx, guests::tdx)),
    (&["attest_nitro", "reattest_nitro"], || attest::measure(EvidenceKind::Nitro, guests::nitro)),
    (&["attest_nitrotpm", "reattest_nitrotpm"], || attest::measure(EvidenceKind::NitroTpm, guests::nitrotpm)),
    (&["attest_azure", "reattest_azure"], || attest::measure(EvidenceKind::Azure, guests::azure)),
    (&["attest_gcp", "reattest_gcp"], || attest::measure(EvidenceKind::Gcp, guests::gcp)),
    (&["power_on_1000"], power::rack),
    (&["entry_for_one_of_1000", "entry_for_all_1000"], pushes::thousand),
    (
        &["bundle_change_1000_p50", "bundle_change_1000_p99", "revocation_1000_p50", "revocation_1000_p99"],
        changes::measure,
    ),
    (&["change_cost_100k", "change_time_100k"], pushes::change),
    (&["rss_agent_per_1000_svids", "first_message_1000_streams"], crowd::measure),
    (&["first_svid_after_start"], start::measure),
    (&["disk_per_renewal"], growth::measure),
    (&["rss_server_10k_nodes"], power::fleet),
];

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = |name: &&&str| arguments.only.as_deref().is_none_or(|only| only == **name);
    let mut rows = Vec::new();
    for (names, measure) in MEASUREMENTS {
        if names.iter().any(|name| wanted(&name)) {
            eprintln!("measuring {}", names.join(", "));
            rows.extend(measure()?.into_iter().filter(|row| wanted(&&row.name.as_str())));
        }
    }
    anyhow::ensure!(
        !rows.is_empty(),
        "no such row; known: {:?}",
        MEASUREMENTS.iter().flat_map(|m| m.0).collect::<Vec<_>>()
    );
    report::print(&rows);
    match arguments.only {
        None => report::write(&rows, &arguments.out),
        Some(_) => report::merge(&rows, &arguments.out),
    }
}
