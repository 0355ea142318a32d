//! A service on a Unix socket for tests: answers each question as it is told, and counts them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use super::http::Address;

/// A service, gone when dropped.
pub(super) struct Service {
    folder: tempfile::TempDir,
    asked: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    /// Answers with the status line and body that `answer` gives for the how-manieth question and the path.
    pub(super) fn answering(answer: impl Fn(usize, &str) -> (&'static str, String) + Send + 'static) -> Self {
        Self::slow(Duration::ZERO, answer)
    }

    /// As [`Self::answering`], after a while each.
    pub(super) fn slow(
        after: Duration,
        answer: impl Fn(usize, &str) -> (&'static str, String) + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 8192];
                let length = stream.read(&mut request).await.unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default();
                let (status, body) = answer(count.fetch_add(1, Ordering::SeqCst) + 1, path);
                tokio::time::sleep(after).await;
                let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
            }
        });
        Self { folder, asked, task }
    }

    pub(super) fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("s")
    }

    pub(super) fn address(&self) -> Address {
        Address::Unix(self.socket())
    }

    /// How many questions there were.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}
