//! A socket that gives and takes as it likes: nothing is lost, nothing turns up twice.

use std::{collections::VecDeque, future::poll_fn};

use super::*;

/// A socket that gives and takes a few octets at a time, and now and then none.
struct Slow {
    gives: VecDeque<u8>,
    took: Vec<u8>,
    turn: usize,
}

impl Slow {
    fn count(&mut self, cx: &Context<'_>) -> Option<usize> {
        self.turn += 1;
        if self.turn.is_multiple_of(3) {
            cx.waker().wake_by_ref();
            return None;
        }
        Some(1 + self.turn * 7 % 50)
    }
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(count) = self.count(cx) else {
            return Poll::Pending;
        };
        let count = count.min(self.gives.len()).min(buf.len());
        for octet in &mut buf[..count] {
            *octet = self.gives.pop_front().unwrap();
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(count) = self.count(cx) else {
            return Poll::Pending;
        };
        let count = count.min(buf.len());
        self.took.extend_from_slice(&buf[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A body frame as long as they get, and a heartbeat.
fn stream() -> Vec<u8> {
    let body: Vec<u8> = (0..131_064_u32).map(|n| n as u8).collect();
    let mut stream = vec![3, 0, 1];
    stream.extend_from_slice(&(body.len() as u32).to_be_bytes());
    stream.extend_from_slice(&body);
    stream.extend_from_slice(b"\xce\x08\0\0\0\0\0\0\xce");
    stream
}

#[tokio::test]
async fn all_of_it_passes_however_slow_the_socket_is() {
    let stream = stream();
    let socket = Slow {
        gives: stream.iter().copied().collect(),
        took: Vec::new(),
        turn: 0,
    };
    let mut mended = Mended::new(socket, Version::default(), Cut::default(), FRAME);
    let mut read = Vec::new();
    let mut part = [0; 10_000];
    loop {
        let count = poll_fn(|cx| Pin::new(&mut mended).poll_read(cx, &mut part));
        match count.await.unwrap() {
            0 => break,
            count => read.extend_from_slice(&part[..count]),
        }
    }
    assert!(read == stream);
    let mut rest = &stream[..];
    while !rest.is_empty() {
        let count = poll_fn(|cx| Pin::new(&mut mended).poll_write(cx, rest));
        rest = &rest[count.await.unwrap()..];
    }
    poll_fn(|cx| Pin::new(&mut mended).poll_flush(cx))
        .await
        .unwrap();
    assert!(mended.socket.took == stream);
}
