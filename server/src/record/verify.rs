//! Audits a whole log from its source, entry by entry, in bounded memory but for the serial numbers.

use holdfast_record::tile::TILE_WIDTH;
use holdfast_record::{Audit, AuditReport, Claim, FoundCertificate, Hash, SignedCheckpoint, Tile, VerifierKey};

use super::Source;

/// What an auditor brings.
#[derive(Debug, Default)]
pub struct Held {
    /// The log's key, from a place of his own; without it the key that is kept beside the checkpoint is taken, and
    /// proves only that the log agrees with itself.
    pub log: Option<VerifierKey>,
    /// Checkpoints of earlier days, with the names of their files.
    pub earlier: Vec<(String, SignedCheckpoint)>,
}

/// Reads and checks everything; `progress` hears of entries looked at, and of how many there are.
///
/// # Errors
/// If the log cannot be read to its end for a reason that is no finding.
pub async fn verify(
    source: &mut Source,
    held: &Held,
    mut progress: impl FnMut(u64, u64),
) -> anyhow::Result<AuditReport> {
    let claims = source.claims().await?;
    let serials = claims.serials.iter();
    let certificates =
        serials.map(|serial| FoundCertificate { whence: "node on record".to_owned(), serial: *serial, content: None });
    let mut audit = Audit::of(certificates);
    let mut end = 0;
    if let Some((size, root)) = claims.head {
        end = size;
        audit.claim(size, root, Claim::Head, "the store");
    }
    let newest_key = claims.checkpoints.first().and_then(|(_, kept)| kept.clone());
    for (place, (checkpoint, kept)) in claims.checkpoints.iter().enumerate() {
        let claim = if place == 0 { Claim::Checkpoint } else { Claim::Earlier };
        // What the auditor's key must have signed is the newest; a log may have had another key before.
        let key = if place == 0 { held.log.as_ref().or(kept.as_ref()) } else { kept.as_ref() };
        let size = checkpoint.claimed().size;
        let Some(key) = key else { anyhow::bail!("the log's key is needed: give --vkey") };
        audit.checkpoint(checkpoint, key, claim, &format!("checkpoint of {size} entries"));
        if claims.head.is_none() {
            end = size;
        }
    }
    for (name, checkpoint) in &held.earlier {
        let Some(key) = held.log.as_ref().or(newest_key.as_ref()) else {
            anyhow::bail!("the log's key is needed: give --vkey")
        };
        audit.checkpoint(checkpoint, key, Claim::Earlier, name);
    }
    if held.log.is_some() && claims.checkpoints.is_empty() && held.earlier.is_empty() {
        // Whoever rewrites a record leaves out what he cannot sign: that it agrees with itself is not what was asked.
        audit.missing("checkpoint", "there is none for the key that was given to verify");
    }
    let beside = source.has_hashes_beside_leaves();
    let mut full = Vec::new();
    let mut from = 0;
    while from < end {
        progress(from, end);
        let page = source.entries(from, end).await?;
        if page.is_empty() {
            break;
        }
        for entry in &page {
            audit.entry(entry.index, &entry.leaf, entry.hash, |tile, hashes| full.push((tile, hashes)));
        }
        compare(source, &mut audit, std::mem::take(&mut full), beside).await?;
        from = audit.size().max(from.saturating_add(1));
        // Of files the next ones begin where a bundle does: after a short one there is nothing that could be asked for.
        if !beside && !from.is_multiple_of(TILE_WIDTH) {
            break;
        }
    }
    let partial = audit.partial_tiles();
    compare(source, &mut audit, partial, beside).await?;
    progress(end, end);
    Ok(audit.finish())
}

async fn compare(
    source: &mut Source,
    audit: &mut Audit,
    computed: Vec<(Tile, Vec<Hash>)>,
    beside: bool,
) -> anyhow::Result<()> {
    // Hashes beside leaves were compared with their leaves.
    let computed: Vec<_> = computed.into_iter().filter(|(tile, _)| tile.level > 0 || !beside).collect();
    let tiles: Vec<Tile> = computed.iter().map(|(tile, _)| *tile).collect();
    for ((tile, hashes), kept) in computed.iter().zip(source.tiles(&tiles).await?) {
        audit.tile(*tile, hashes, kept.as_deref());
    }
    Ok(())
}
