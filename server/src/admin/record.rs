//! `holdfast.admin.v1.Record`: the record as it is kept, for those who audit it.

use std::sync::Arc;

use holdfast_protocol::admin;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Admin;
use super::refusal::Refusal;
use crate::admin_stubs::record_server::Record;
use crate::store::{LedgerEntry, Store};

/// Entries in one message of the stream.
const PAGE: u32 = 1000;

#[tonic::async_trait]
impl Record for Admin {
    type EntriesStream = ReceiverStream<Result<admin::RecordEntries, Status>>;

    async fn entries(
        &self,
        request: Request<admin::RecordEntriesRequest>,
    ) -> Result<Response<Self::EntriesStream>, Status> {
        let end = self.store.head().await.map_err(Refusal::from)?.size;
        let (pages, stream) = mpsc::channel(2);
        tokio::spawn(send(self.store.clone(), request.into_inner().from, end, pages));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn claims(&self, _: Request<admin::RecordClaimsRequest>) -> Result<Response<admin::RecordClaims>, Status> {
        // The serials first: what is issued in between is in the record that the head speaks of.
        let serials = self.store.node_serials().await.map_err(Refusal::from)?;
        let head = self.store.head().await.map_err(Refusal::from)?;
        Ok(Response::new(admin::RecordClaims {
            size: head.size,
            hash: head.hash.to_vec(),
            node_serials: serials.into_iter().map(|serial| serial.to_vec()).collect(),
        }))
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
    admin::RecordEntry { index: entry.index, leaf: entry.leaf, hash: entry.hash.to_vec() }
}
