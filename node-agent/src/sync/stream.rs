//! Follows the server's push stream on one connection until it ends.

use holdfast_protocol::agent::SyncRequest;
use tonic::Status;

use super::book::{Book, Change};
use crate::connection::Connection;

/// Why the stream ended.
#[derive(Debug)]
pub enum SyncEnd {
    /// The server closed it without a word: it is going down, or is tired of us.
    Closed,
    /// It said why.
    Status(Box<Status>),
}

/// Reads changes into `book` and hands each complete one to `changed`. Returns when the stream ends.
pub async fn follow(
    connection: &Connection,
    book: &tokio::sync::Mutex<Book>,
    mut changed: impl FnMut(&Book, Change),
) -> SyncEnd {
    let (holds, holds_lists) = {
        let mut book = book.lock().await;
        book.abandon();
        (book.revision(), book.list_numbers())
    };
    let mut messages = match connection.node().sync(SyncRequest { holds, holds_lists }).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return SyncEnd::Status(Box::new(status)),
    };
    loop {
        match messages.message().await {
            Ok(Some(message)) => {
                let mut book = book.lock().await;
                if let Some(change) = book.apply(message) {
                    changed(&book, change);
                }
            }
            Ok(None) => return SyncEnd::Closed,
            Err(status) => return SyncEnd::Status(Box::new(status)),
        }
    }
}
