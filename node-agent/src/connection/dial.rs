//! A byte stream to the server, by whichever way its address names. Everything above is the same for all of them.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as BlockingStream;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, connect, socket};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::{ConnectionFault, ServerAddress};

/// How long an address may take to accept.
const CONNECT: Duration = Duration::from_secs(10);

/// A stream of bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Whatever kind of stream it is.
pub(super) type Stream = Box<dyn Duplex>;

/// Connects to the server.
pub(super) async fn dial(server: &ServerAddress) -> Result<Stream, ConnectionFault> {
    let unreachable = |source| ConnectionFault::Unreachable { server: server.to_string(), source };
    let late = || ConnectionFault::Timeout { server: server.to_string(), seconds: CONNECT.as_secs() };
    let connected: io::Result<Stream> = match server {
        ServerAddress::Tcp { host, port } => {
            let addresses = tokio::net::lookup_host((host.as_str(), *port)).await.map_err(unreachable)?;
            let mut last = unreachable(io::ErrorKind::NotFound.into());
            for address in addresses {
                match timeout(CONNECT, TcpStream::connect(address)).await {
                    Ok(Ok(stream)) => {
                        // Small messages, one after the other.
                        stream.set_nodelay(true).map_err(unreachable)?;
                        return Ok(Box::new(stream));
                    }
                    Ok(Err(source)) => last = unreachable(source),
                    Err(_) => last = late(),
                }
            }
            return Err(last);
        }
        ServerAddress::Vsock { cid, port } => {
            let address = VsockAddr::new(*cid, *port);
            // The call blocks for two seconds at most: the kernel's own limit for these sockets.
            let opened = tokio::task::spawn_blocking(move || vsock(&address));
            match timeout(CONNECT, opened).await.map_err(|_| late())? {
                Ok(opened) => opened.and_then(|stream| Ok(Box::new(UnixStream::from_std(stream)?) as Stream)),
                Err(ended) => Err(io::Error::other(ended)),
            }
        }
        ServerAddress::Unix(path) => timeout(CONNECT, UnixStream::connect(path))
            .await
            .map_err(|_| late())?
            .map(|stream| Box::new(stream) as Stream),
    };
    connected.map_err(unreachable)
}

/// A connected stream socket of the vsock family. It travels in the type of a Unix socket: both read, write and shut down
/// by the same calls on a descriptor, and neither the standard library nor tokio has a type of its own for vsock.
fn vsock(address: &VsockAddr) -> io::Result<BlockingStream> {
    let descriptor: OwnedFd = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&descriptor), address)?;
    let stream = BlockingStream::from(descriptor);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_unix_socket_carries_bytes_both_ways() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("s");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4];
            stream.read_exact(&mut asked).await.unwrap();
            stream.write_all(&asked).await.unwrap();
        });
        let mut stream = dial(&ServerAddress::Unix(path)).await.unwrap();
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"ping");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_unreachable() {
        let place = tempfile::tempdir().unwrap();
        for address in [
            ServerAddress::Unix(place.path().join("s")),
            ServerAddress::Tcp { host: "127.0.0.1".to_owned(), port: 1 },
            // Nobody has this context id: either no such device, or no such peer.
            ServerAddress::Vsock { cid: 0x7fff_fff0, port: 1 },
        ] {
            let fault = dial(&address).await.err().unwrap();
            assert_eq!(fault.code(), "agent.connection.unreachable", "{address}");
        }
    }

    /// Where the kernel has the loopback transport; elsewhere it says so.
    #[tokio::test]
    async fn a_vsock_carries_bytes_where_the_kernel_has_one() {
        use nix::sys::socket::{Backlog, accept, bind, listen};
        use std::io::Write as _;
        use std::os::fd::{AsRawFd as _, FromRawFd as _};
        const LOCAL: u32 = 1;
        let Ok(listener) = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::SOCK_CLOEXEC, None) else {
            println!("skipped: this kernel has no vsock");
            return;
        };
        if bind(listener.as_raw_fd(), &VsockAddr::new(LOCAL, 48_441)).is_err() {
            println!("skipped: this kernel has no vsock loopback");
            return;
        }
        listen(&listener, Backlog::new(1).unwrap()).unwrap();
        let server = std::thread::spawn(move || {
            let accepted = accept(listener.as_raw_fd()).unwrap();
            #[expect(unsafe_code, reason = "nix hands out accepted sockets as plain numbers")]
            // SAFETY: just accepted, and nobody else's.
            let mut stream = unsafe { BlockingStream::from_raw_fd(accepted) };
            stream.write_all(b"pong").unwrap();
        });
        let mut stream = dial(&ServerAddress::Vsock { cid: LOCAL, port: 48_441 }).await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"pong");
        server.join().unwrap();
    }
}
