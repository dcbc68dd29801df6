//! The stream between the AMQP client and the broker's socket, plain or TLS: octets pass through [`super::frames`].

use std::{
    io::{self, IoSliceMut, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::AsyncTcpStream;

use super::{
    FRAME,
    cut::Cut,
    frames::Frames,
    rewrite::{Incoming, outgoing},
    ring::Behind,
};

/// The broker's socket, as the client library makes it.
pub(in crate::broker) type Socket = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;
/// The runtime to give to the library, so that its streams are ours.
pub(in crate::broker) type MendedRuntime = Runtime<RuntimeParts<Tokio, MendedReactor>>;

/// Tokio, but for the streams.
pub(in crate::broker) fn runtime(tokio: &Tokio) -> MendedRuntime {
    Runtime::new(RuntimeParts::new(
        tokio.clone(),
        MendedReactor(tokio.clone()),
    ))
}

/// The broker's major version, once it has greeted.
#[derive(Clone, Debug, Default)]
pub(in crate::broker) struct Version(Arc<AtomicU32>);

impl Version {
    /// None where it can't be told.
    pub fn major(&self) -> Option<u32> {
        Some(self.0.load(Ordering::Acquire)).filter(|major| *major > 0)
    }
}

/// A stream whose frames the client library can read.
pub(in crate::broker) struct Mended<S> {
    socket: S,
    version: Version,
    cut: Cut,
    /// Where the socket is read into.
    buffer: Box<[u8]>,
    incoming: (Frames, Incoming),
    /// For the library, from this place on.
    readable: (Vec<u8>, usize),
    /// What of it is read and still lies in the library's buffer.
    behind: Behind,
    outgoing: Frames,
    /// For the socket, from this place on.
    writable: (Vec<u8>, usize),
}

impl<S> Mended<S> {
    /// `longest`: no frame from the broker may be longer for the library.
    pub fn new(socket: S, version: Version, cut: Cut, longest: u32) -> Mended<S> {
        Mended {
            socket,
            version,
            cut,
            buffer: vec![0; CHUNK].into(),
            incoming: (Frames::default(), Incoming::new(longest as usize)),
            readable: Default::default(),
            behind: Behind::default(),
            outgoing: Default::default(),
            writable: Default::default(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mended<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.behind.forget(buf.len(), std::iter::once(&mut *buf));
        this.poll_frames(cx, buf)
    }

    /// Into the first of them that has room; all of them are the library's free room.
    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = bufs.iter().map(|buf| buf.len()).sum();
        let from_the_end = bufs.iter_mut().rev().map(|buf| &mut **buf);
        this.behind.forget(length, from_the_end);
        match bufs.iter_mut().find(|buf| !buf.is_empty()) {
            Some(buf) => this.poll_frames(cx, buf),
            None => Poll::Ready(Ok(0)),
        }
    }
}

impl<S: AsyncRead + Unpin> Mended<S> {
    fn poll_frames(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self;
        if let Poll::Ready(error) = this.cut.poll(cx) {
            return Poll::Ready(Err(error));
        }
        loop {
            let (octets, at) = &mut this.readable;
            if *at < octets.len() {
                let count = (octets.len() - *at).min(buf.len());
                buf[..count].copy_from_slice(&octets[*at..*at + count]);
                *at += count;
                this.behind.handed(count);
                return Poll::Ready(Ok(count));
            }
            forget(octets);
            *at = 0;
            let (frames, incoming) = &mut this.incoming;
            let count = ready!(Pin::new(&mut this.socket).poll_read(cx, &mut this.buffer))?;
            if count == 0 && incoming.closed {
                // Both sides have agreed on the end. The library hears of that by its own task; told of the socket's end
                // first, it would call it an error.
                return Poll::Pending;
            }
            if count == 0 {
                return Poll::Ready(Ok(0));
            }
            let came = &mut this.buffer[..count];
            frames.take(came, octets, |frame, out| incoming.rewrite(frame, out));
            came.fill(0);
            if let Some(major) = incoming.version.take() {
                this.version.0.store(major, Ordering::Release);
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Mended<S> {
    /// Everything that waits for the socket goes to it.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (octets, at) = &mut self.writable;
        while *at < octets.len() {
            match ready!(Pin::new(&mut self.socket).poll_write(cx, &octets[*at..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => *at += count,
            }
        }
        forget(octets);
        *at = 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mended<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        let taken = &buf[..buf.len().min(CHUNK)];
        this.outgoing.take(taken, &mut this.writable.0, outgoing);
        // What the socket doesn't take now goes with the next write or flush; the library flushes after each write.
        match this.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(taken.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.socket).poll_close(cx)
    }
}

/// Codes and numbers pass here: nothing of them stays behind in memory.
fn forget(octets: &mut Vec<u8>) {
    octets.fill(0);
    octets.clear();
}

/// Tokio's reactor, with streams of ours.
#[derive(Clone, Debug)]
pub(in crate::broker) struct MendedReactor(Tokio);

impl Reactor for MendedReactor {
    type TcpStream = Mended<Socket>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, dur: Duration) -> Self::Sleep {
        self.0.sleep(dur)
    }

    fn interval(&self, dur: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(dur)
    }

    fn tcp_connect_addr(
        &self,
        addr: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(addr);
        async move {
            let socket = AsyncTcpStream::Plain(connecting.await?);
            Ok(Mended::new(
                socket,
                Version::default(),
                Cut::default(),
                FRAME,
            ))
        }
    }
}

/// Octets read from the socket, and taken from the library, at once.
const CHUNK: usize = 64 * 1024;

#[cfg(test)]
mod tests;
