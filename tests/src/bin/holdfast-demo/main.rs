//! The main job of Holdfast on a software TPM, told step by step. Every step runs the programs that an operator, a
//! machine and a workload would run; nothing is inside this program but the story.

#![expect(clippy::indexing_slicing, reason = "the demo made two of each and asks for the first or the second")]

mod guests;
mod story;
mod tale;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::Parser;
use holdfast_tests::Programs;
use story::{INTERRUPTED, Story};

#[derive(Parser)]
#[command(about = "Two machines prove what they are; one changes and is refused")]
struct Arguments {
    /// Folder of the built programs
    #[arg(long)]
    bin: PathBuf,
    /// Folder for the artefacts
    #[arg(long)]
    out: PathBuf,
    /// The evidence that the story is about
    #[arg(long, default_value = "tpm", value_parser = ["tpm", "snp", "tdx", "nitro", "nitrotpm", "azure", "gcp"])]
    kind: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(why) = watch_signals() {
        eprintln!("demo: {why:#}");
        return ExitCode::from(2);
    }
    let mut story = Story::new();
    let programs = Programs::at(&arguments.bin);
    let told = match arguments.kind.as_str() {
        "tpm" => tale::tell(&mut story, &programs, &arguments.out),
        kind => guests::tell(&mut story, &programs, &arguments.out, kind),
    };
    match told {
        Ok(()) => {
            story.end();
            println!("Artefacts: {}", arguments.out.display());
            ExitCode::SUCCESS
        }
        Err(_) if INTERRUPTED.load(Ordering::Relaxed) => {
            eprintln!("\ninterrupted; nothing was left running");
            ExitCode::from(130)
        }
        Err(why) => {
            eprintln!("\nfailed: {}\n  {why:#}\n  logs: {}", story.broken_step(), arguments.out.display());
            ExitCode::FAILURE
        }
    }
}

/// From now on SIGINT and SIGTERM only leave a note; the story ends at its next step and drops what it started.
fn watch_signals() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _guard = runtime.enter();
        use tokio::signal::unix::{SignalKind, signal};
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        });
        INTERRUPTED.store(true, Ordering::Relaxed);
        holdfast_tests::interrupt();
    });
    Ok(())
}
