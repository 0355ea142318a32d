//! `ima` of the benchmarks alone, without the programs that the others build: the same rows.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a benchmark reads a clock and stops at a surprise"
)]
#![allow(missing_docs, unreachable_pub, reason = "a program")]
#![allow(clippy::cast_precision_loss, reason = "figures of a benchmark are far below 2^52")]

#[path = "../../../tests/benches/holdfast/ima.rs"]
mod ima;
#[path = "../../../tests/benches/holdfast/report.rs"]
#[allow(dead_code, reason = "the other benchmarks use all of it")]
mod report;

fn main() -> anyhow::Result<()> {
    report::print(&ima::measure()?);
    Ok(())
}
