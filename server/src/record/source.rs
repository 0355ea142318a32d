//! Where a log is read from: a running server, the database of one that is down, a directory of tiles, or their URL.
//!
//! Believes none of them: what comes out is for [`verify`](super::verify) to check.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use holdfast_protocol::admin;
use holdfast_record::tile::{self, BUNDLE_BYTES_MAX, TILE_WIDTH};
use holdfast_record::{Hash, Resource, SignedCheckpoint, Tile, VerifierKey, note};
use tonic::transport::Channel;

use crate::admin_clients::record_client::RecordClient;
use crate::http::Http;
use crate::store::sqlite::Archive;

/// Entries read at a time: four bundles.
const PAGE: u64 = 4 * TILE_WIDTH;
/// Tiles asked for at a time.
const TILES_AT_ONCE: usize = 256;
/// Checkpoints that are compared.
const CHECKPOINTS: u32 = 1000;
/// How long a web server may take for one file.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A log to read.
pub enum Source {
    /// Over the admin socket.
    Server(RecordClient<Channel>),
    /// A database file.
    Archive(Archive),
    /// A directory of tiles.
    Directory(PathBuf),
    /// Tiles below a URL.
    Url(Web),
}

/// Tiles below a URL.
pub struct Web {
    prefix: String,
    http: Http,
}

/// One entry as it is kept.
#[derive(Debug)]
pub struct Kept {
    /// Its index as it is kept.
    pub index: u64,
    /// Its bytes.
    pub leaf: Vec<u8>,
    /// The hash beside it, where one is kept there.
    pub hash: Option<Hash>,
}

/// What a source says of its log.
#[derive(Debug, Default)]
pub struct Claims {
    /// Entries, and the root over them; of tiles the checkpoint says it.
    pub head: Option<(u64, Hash)>,
    /// Newest first, with the key that is kept beside it.
    pub checkpoints: Vec<(SignedCheckpoint, Option<VerifierKey>)>,
    /// Serial numbers of the node SVIDs that nodes hold.
    pub serials: Vec<[u8; 16]>,
}

impl Source {
    /// Tiles below `url`, which is reached over TLS by the certificates of `ca_file`.
    #[must_use]
    pub fn url(url: &str, ca_file: &std::path::Path) -> Self {
        let prefix = url.trim_end_matches('/').to_owned();
        Self::Url(Web { prefix, http: Http::new(ca_file, ANSWER_WITHIN) })
    }

    /// What the log is said to be. What is recorded later is not looked at.
    ///
    /// # Errors
    /// If it cannot be read.
    pub async fn claims(&mut self) -> anyhow::Result<Claims> {
        match self {
            Self::Server(client) => {
                let claims = client.claims(admin::RecordClaimsRequest {}).await?.into_inner();
                let root = Hash::from_bytes(&claims.root).context("the server's root has not 32 bytes")?;
                if claims.checkpoints.len() != claims.vkeys.len() {
                    bail!("the server names {} checkpoints and {} keys", claims.checkpoints.len(), claims.vkeys.len());
                }
                let pairs = claims.checkpoints.iter().zip(&claims.vkeys);
                let checkpoints = pairs.map(|(text, vkey)| Ok((text.parse()?, Some(vkey.parse()?))));
                let serials = claims.node_serials.iter().filter_map(|serial| serial.as_slice().try_into().ok());
                Ok(Claims {
                    head: Some((claims.size, root)),
                    checkpoints: checkpoints.collect::<anyhow::Result<_>>()?,
                    serials: serials.collect(),
                })
            }
            Self::Archive(archive) => {
                let serials = archive.node_serials().await?;
                let kept = archive.checkpoints(CHECKPOINTS).await?;
                let head = archive.head().await?;
                let checkpoints = kept.into_iter().map(|kept| (kept.checkpoint, Some(kept.log)));
                Ok(Claims { head: Some((head.size, head.root)), checkpoints: checkpoints.collect(), serials })
            }
            Self::Directory(_) | Self::Url(_) => {
                let bytes = self.file(Resource::Checkpoint).await?.context("there is no checkpoint")?;
                let text = String::from_utf8(bytes).context("checkpoint")?;
                Ok(Claims { checkpoints: vec![(text.parse()?, None)], ..Claims::default() })
            }
        }
    }

    /// A checkpoint of the log as it is now, with its key.
    ///
    /// # Errors
    /// If there is none, or none may be signed.
    pub async fn checkpoint(&mut self, sign: bool) -> anyhow::Result<(SignedCheckpoint, Option<VerifierKey>)> {
        if let Self::Server(client) = self {
            let signed = client.checkpoint(admin::RecordCheckpointRequest { sign }).await?.into_inner();
            return Ok((signed.checkpoint.parse()?, Some(signed.vkey.parse()?)));
        }
        let newest = self.claims().await?.checkpoints.into_iter().next();
        newest.context("no checkpoint was signed yet")
    }

    /// At most 1024 entries from `from`, for tiles a multiple of 256, up to `end`. Fewer means that there are no more.
    ///
    /// # Errors
    /// If they cannot be read, or a bundle is malformed.
    pub async fn entries(&mut self, from: u64, end: u64) -> anyhow::Result<Vec<Kept>> {
        let end = end.min(from.saturating_add(PAGE));
        let limit = u32::try_from(end.saturating_sub(from))?;
        match self {
            Self::Server(client) => {
                let mut stream =
                    client.entries(admin::RecordEntriesRequest { from, limit: u64::from(limit) }).await?.into_inner();
                let mut entries = Vec::new();
                while let Some(batch) = stream.message().await? {
                    entries.extend(batch.entries.into_iter().map(|entry| Kept {
                        index: entry.index,
                        leaf: entry.leaf,
                        hash: Hash::from_bytes(&entry.hash),
                    }));
                }
                entries.retain(|entry: &Kept| entry.index < end);
                Ok(entries)
            }
            Self::Archive(archive) => {
                let entries = archive.ledger_entries(from, limit).await?;
                let before = entries.into_iter().filter(|entry| entry.index < end);
                let kept = before.map(|e| Kept { index: e.index, leaf: e.leaf, hash: Some(e.hash) });
                Ok(kept.collect())
            }
            Self::Directory(_) | Self::Url(_) => {
                let mut entries = Vec::new();
                for bundle in from / TILE_WIDTH..end.div_ceil(TILE_WIDTH) {
                    let Some(tile) = Tile::of_tree(0, bundle, end) else { break };
                    let Some(bytes) = self.file(Resource::Entries(tile)).await? else { break };
                    let name = Resource::Entries(tile);
                    let leaves = tile::decode_bundle(tile.width, &bytes);
                    let leaves = leaves.with_context(|| format!("{name} is no bundle of {} entries", tile.width))?;
                    entries.extend((tile.start()..).zip(leaves).map(|(index, leaf)| Kept { index, leaf, hash: None }));
                }
                Ok(entries)
            }
        }
    }

    /// The hashes of tiles as they are kept; `None` for one that is not there or not of its size.
    ///
    /// # Errors
    /// If they cannot be read.
    pub async fn tiles(&mut self, tiles: &[Tile]) -> anyhow::Result<Vec<Option<Vec<Hash>>>> {
        let mut found = Vec::with_capacity(tiles.len());
        for tiles in tiles.chunks(TILES_AT_ONCE) {
            match self {
                Self::Server(client) => {
                    let asked = tiles.iter().map(|tile| admin::RecordTile {
                        level: u32::from(tile.level),
                        index: tile.index,
                        width: u32::from(tile.width),
                        hashes: Vec::new(),
                    });
                    let asked = admin::RecordTilesRequest { tiles: asked.collect() };
                    let answer = client.tiles(asked).await?.into_inner().tiles;
                    if answer.len() != tiles.len() {
                        bail!("the server answered {} tiles, expected {}", answer.len(), tiles.len());
                    }
                    found.extend(tiles.iter().zip(answer).map(|(tile, kept)| tile::decode_tile(*tile, &kept.hashes)));
                }
                Self::Archive(archive) => {
                    let kept = archive.tiles(tiles.to_vec()).await?;
                    let whole =
                        |(tile, hashes): (Tile, Vec<Hash>)| (hashes.len() == usize::from(tile.width)).then_some(hashes);
                    found.extend(kept.into_iter().map(whole));
                }
                Self::Directory(_) | Self::Url(_) => {
                    for tile in tiles {
                        let bytes = self.file(Resource::Tile(*tile)).await?;
                        found.push(bytes.and_then(|bytes| tile::decode_tile(*tile, &bytes)));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Whether the hashes of leaves are kept beside the leaves, and not in tiles of their own.
    #[must_use]
    pub const fn has_hashes_beside_leaves(&self) -> bool {
        matches!(self, Self::Server(_) | Self::Archive(_))
    }

    /// A file among tiles; `None` if there is none.
    async fn file(&self, resource: Resource) -> anyhow::Result<Option<Vec<u8>>> {
        let limit = match resource {
            Resource::Checkpoint => note::NOTE_BYTES_MAX,
            Resource::Tile(_) => TILE_WIDTH as usize * 32,
            Resource::Entries(_) => BUNDLE_BYTES_MAX,
        };
        match self {
            Self::Directory(directory) => {
                let path = directory.join(resource.to_string());
                match tokio::fs::metadata(&path).await {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error).with_context(|| path.display().to_string()),
                    Ok(found) if found.len() > limit as u64 => bail!("{}: {} bytes", path.display(), found.len()),
                    Ok(_) => tokio::fs::read(&path).await.map(Some).with_context(|| path.display().to_string()),
                }
            }
            Self::Url(web) => {
                let url = format!("{}/{resource}", web.prefix);
                let answer = web.http.get(&url, limit).await.map_err(|why| anyhow!("{url}: {why}"))?;
                match answer.status.as_u16() {
                    200 => Ok(Some(answer.body)),
                    404 => Ok(None),
                    status => bail!("{url}: status {status}"),
                }
            }
            Self::Server(_) | Self::Archive(_) => Ok(None),
        }
    }
}
