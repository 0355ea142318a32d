//! `holdfast.admin.v1.Record`: the record as it is kept, for those who audit it.

use std::sync::Arc;

use holdfast_protocol::admin;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Admin;
use super::refusal::{Refusal, argument};
use crate::admin_stubs::record_server::Record;
use crate::record::Tile;
use crate::store::{LedgerEntry, Store};

/// Entries in one message of the stream.
const PAGE: u32 = 1000;
/// Checkpoints that an audit compares.
const CHECKPOINTS: u32 = 1000;
/// Tiles in one answer: 2 MiB.
const TILES_MAX: usize = 256;

#[tonic::async_trait]
impl Record for Admin {
    type EntriesStream = ReceiverStream<Result<admin::RecordEntries, Status>>;

    async fn entries(
        &self,
        request: Request<admin::RecordEntriesRequest>,
    ) -> Result<Response<Self::EntriesStream>, Status> {
        let admin::RecordEntriesRequest { from, limit } = request.into_inner();
        let size = self.store.head().await.map_err(Refusal::from)?.size;
        let end = if limit == 0 { size } else { size.min(from.saturating_add(limit)) };
        let (pages, stream) = mpsc::channel(2);
        tokio::spawn(send(self.store.clone(), from, end, pages));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn claims(&self, _: Request<admin::RecordClaimsRequest>) -> Result<Response<admin::RecordClaims>, Status> {
        // The serials first: what is issued in between is in the record that the head speaks of.
        let serials = self.store.node_serials().await.map_err(Refusal::from)?;
        let kept = self.store.checkpoints(CHECKPOINTS).await.map_err(Refusal::from)?;
        let head = self.store.head().await.map_err(Refusal::from)?;
        Ok(Response::new(admin::RecordClaims {
            size: head.size,
            root: head.root.0.to_vec(),
            node_serials: serials.into_iter().map(|serial| serial.to_vec()).collect(),
            checkpoints: kept.iter().map(|kept| kept.checkpoint.to_string()).collect(),
            vkeys: kept.iter().map(|kept| kept.log.to_string()).collect(),
        }))
    }

    async fn tiles(&self, request: Request<admin::RecordTilesRequest>) -> Result<Response<admin::RecordTiles>, Status> {
        let asked = request.into_inner().tiles;
        if asked.len() > TILES_MAX {
            return Err(argument("tiles", format!("{} tiles, limit {TILES_MAX}", asked.len())).into());
        }
        let tiles = asked.iter().map(tile).collect::<Result<Vec<_>, _>>()?;
        let tiles = self.store.tiles(tiles).await.map_err(Refusal::from)?;
        let tiles = tiles.into_iter().map(|(tile, hashes)| admin::RecordTile {
            level: u32::from(tile.level),
            index: tile.index,
            width: u32::from(tile.width),
            hashes: holdfast_record::tile::encode_tile(&hashes),
        });
        Ok(Response::new(admin::RecordTiles { tiles: tiles.collect() }))
    }

    async fn checkpoint(
        &self,
        request: Request<admin::RecordCheckpointRequest>,
    ) -> Result<Response<admin::RecordCheckpoint>, Status> {
        let signer = self.signer()?;
        let checkpoint = if request.into_inner().sign {
            signer.sign(crate::clock::now()).await.map_err(Refusal::from)?
        } else {
            signer.latest().await.map_err(Refusal::from)?
        };
        let (checkpoint, vkey) = (checkpoint.to_string(), signer.log().to_string());
        Ok(Response::new(admin::RecordCheckpoint { checkpoint, vkey }))
    }

    async fn prove(&self, request: Request<admin::ProveEntryRequest>) -> Result<Response<admin::ProvenEntry>, Status> {
        let signer = self.signer()?;
        let proven = signer.prove(request.into_inner().index).await.map_err(Refusal::from)?;
        Ok(Response::new(admin::ProvenEntry {
            index: proven.proof.index,
            leaf: proven.leaf,
            size: proven.proof.size,
            path: proven.proof.path.iter().map(|hash| hash.0.to_vec()).collect(),
            checkpoint: proven.checkpoint.to_string(),
            vkey: signer.log().to_string(),
        }))
    }
}

fn tile(asked: &admin::RecordTile) -> Result<Tile, Refusal> {
    let level = u8::try_from(asked.level).ok().filter(|level| *level < holdfast_record::tile::TILE_LEVELS);
    let width = u16::try_from(asked.width).ok().filter(|width| (1..=256).contains(width));
    let index = Some(asked.index).filter(|index| *index < 1 << 48);
    match (level, index, width) {
        (Some(level), Some(index), Some(width)) => Ok(Tile { level, index, width }),
        _ => Err(argument("tiles", "expected levels 0 to 7, indices below 2^48, widths 1 to 256")),
    }
}

async fn send(
    store: Arc<dyn Store>,
    mut from: u64,
    end: u64,
    pages: mpsc::Sender<Result<admin::RecordEntries, Status>>,
) {
    while from < end {
        let page = store.ledger_entries(from, PAGE).await.map_err(|fault| Refusal::from(fault).into());
        let page = page.map(|page| {
            let entries: Vec<_> = page.into_iter().filter(|entry| entry.index < end).map(message).collect();
            from = entries.last().map_or(end, |entry| entry.index.saturating_add(1));
            admin::RecordEntries { entries }
        });
        let failed = page.is_err();
        if pages.send(page).await.is_err() || failed {
            return;
        }
    }
}

fn message(entry: LedgerEntry) -> admin::RecordEntry {
    admin::RecordEntry { index: entry.index, leaf: entry.leaf, hash: entry.hash.0.to_vec() }
}
