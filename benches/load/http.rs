//! A minimal HTTP/1.1 client on one kept connection: the load must cost less than what it measures.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    pub async fn connect(address: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client {
            stream,
            buffer: Vec::with_capacity(4_096),
        })
    }

    /// Status and body.
    pub async fn ask(&mut self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await?;
        tokio::time::timeout(PATIENCE, self.answer())
            .await
            .map_err(|_| io::Error::other("no HTTP answer in time"))?
    }

    async fn answer(&mut self) -> io::Result<(u16, String)> {
        self.buffer.clear();
        let (head, length) = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break (end + 4, content_length(&self.buffer[..end])?);
            }
            self.more().await?;
        };
        while self.buffer.len() < head + length {
            self.more().await?;
        }
        let status = self
            .buffer
            .get(9..12)
            .and_then(|s| std::str::from_utf8(s).ok()?.parse().ok());
        let body = String::from_utf8_lossy(&self.buffer[head..head + length]).into_owned();
        Ok((
            status.ok_or_else(|| io::Error::other("no HTTP status"))?,
            body,
        ))
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }
}

/// One question on a connection of its own.
pub async fn once(address: &str, method: &str, path: &str) -> io::Result<(u16, String)> {
    Client::connect(address).await?.ask(method, path, "").await
}

fn content_length(head: &[u8]) -> io::Result<usize> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    value
        .and_then(|v| v.trim().parse().ok())
        .ok_or_else(|| io::Error::other("an answer without content-length"))
}

const PATIENCE: Duration = Duration::from_secs(30);
