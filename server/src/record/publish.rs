//! Writes a log into a directory of tiles, or goes on with one: any web server can show it, any mirror copy it.
//!
//! Everything is computed from the entries, and the checkpoint is put in place last, when what was computed is what it
//! says: a reader who has a checkpoint finds every file that it needs.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use holdfast_record::tile::{self, TILE_WIDTH};
use holdfast_record::{Hash, Resource, SignedCheckpoint, Tile, TileHashes, Tiler, VerifierKey, proof};
use serde::Serialize;

use super::Source;

/// What was published.
#[derive(Debug, Serialize)]
pub struct Published {
    /// Which log.
    pub origin: String,
    /// Entries that were there before.
    pub before: u64,
    /// Entries that are there now.
    pub size: u64,
    /// Root of their tree.
    pub root: Hash,
    /// Files written.
    pub files: u64,
}

/// Brings `directory` up to a checkpoint of now.
///
/// # Errors
/// If something cannot be read or written, if the directory holds another log or another history of this one, or if
/// the entries are not what the checkpoint says; the directory's own checkpoint is then as it was.
pub async fn publish(source: &mut Source, directory: &Path) -> anyhow::Result<Published> {
    let (checkpoint, key) = source.checkpoint(true).await?;
    let key = key.context("the source names no key")?;
    let claimed = checkpoint.verify(&key)?.clone();
    let mut tiler = resume(directory, &checkpoint, &key).await?;
    let before = tiler.frontier().size();
    let mut files = 0;
    if claimed.size < before {
        bail!("{} has {before} entries already, the log has {}", directory.display(), claimed.size);
    }
    let mut put = |resource: Resource, bytes: &[u8]| -> anyhow::Result<()> {
        files += 1;
        write(&directory.join(resource.to_string()), bytes)
    };
    let mut from = before - before % TILE_WIDTH;
    while from < claimed.size {
        let page = source.entries(from, claimed.size).await?;
        let mut full = Vec::new();
        for entry in &page {
            if entry.index >= before {
                tiler.append(Hash::leaf(&entry.leaf), |tile, hashes| full.push((tile, hashes)));
            }
        }
        for bundle in page.chunks(TILE_WIDTH as usize) {
            let first = bundle.first().map_or(0, |entry| entry.index);
            let tile = Tile { level: 0, index: first / TILE_WIDTH, width: u16::try_from(bundle.len())? };
            let bytes = tile::encode_bundle(bundle.iter().map(|entry| entry.leaf.as_slice()));
            put(Resource::Entries(tile), &bytes.context("an entry is too long for a bundle")?)?;
        }
        for (tile, hashes) in full {
            put(Resource::Tile(tile), &tile::encode_tile(&hashes))?;
        }
        let next = page.last().map_or(from, |entry| entry.index + 1);
        if next <= from || next != from + page.len() as u64 {
            bail!("entries from {from} on are missing: see `holdfast-server audit verify`");
        }
        from = next;
    }
    for (tile, hashes) in tiler.partial() {
        put(Resource::Tile(tile), &tile::encode_tile(hashes))?;
    }
    if tiler.frontier().root() != claimed.root {
        bail!("entries are not those of the checkpoint: see `holdfast-server audit verify`; it was not published");
    }
    put(Resource::Checkpoint, checkpoint.to_string().as_bytes())?;
    Ok(Published { origin: claimed.origin, before, size: claimed.size, root: claimed.root, files })
}

/// The tree as the directory has it; an empty one if it has none.
async fn resume(directory: &Path, now: &SignedCheckpoint, key: &VerifierKey) -> anyhow::Result<Tiler> {
    let mut there = Source::Directory(directory.to_owned());
    if !directory.join(Resource::Checkpoint.to_string()).exists() {
        return Ok(Tiler::default());
    }
    let (old, _) = there.checkpoint(false).await.with_context(|| directory.display().to_string())?;
    if old.claimed().origin != now.claimed().origin {
        bail!("{} holds another log, {:?}", directory.display(), old.claimed().origin);
    }
    let old = old.verify(key).with_context(|| directory.display().to_string())?;
    let mut nodes = proof::root_nodes(old.size);
    let partial = (0..tile::TILE_LEVELS).filter_map(|level| {
        let hashes = old.size >> (u32::from(level) * u32::from(tile::TILE_HEIGHT));
        Tile::of_tree(level, hashes / TILE_WIDTH, old.size)
    });
    let mut needed = TileHashes::needed(&nodes, old.size);
    needed.extend(partial);
    nodes.clear();
    let needed: Vec<Tile> = needed.into_iter().collect();
    let mut held = TileHashes::default();
    for (tile, hashes) in needed.iter().zip(there.tiles(&needed).await?) {
        held.insert(*tile, hashes.with_context(|| format!("{} is missing", Resource::Tile(*tile)))?);
    }
    let tiler = Tiler::resumed(old.size, &held);
    match tiler.filter(|tiler| tiler.frontier().root() == old.root) {
        Some(tiler) => Ok(tiler),
        None => bail!("{}: its tiles are not those of its checkpoint", directory.display()),
    }
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let directory = path.parent().context("a file without a directory")?;
    fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(directory)?.sync_all()
    });
    written.with_context(|| path.display().to_string())
}
