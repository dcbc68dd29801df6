//! Framing of a stream (RFC 3261 18.3): messages follow one another, each as long as its Content-Length says.
//!
//! Pure: the driver reads from its connection into [`Framer::push`] and takes frames until there is none.

use super::value::number;
use super::{HeaderName, MAX_MESSAGE};

/// A stream that cannot be cut any further: close the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameFault {
    #[error("a message longer than {MAX_MESSAGE} octets")]
    TooLong,
    #[error("Content-Length missing, malformed or repeated")]
    ContentLength,
}

/// Collects octets of one connection; holds at most [`MAX_MESSAGE`] of them plus one read.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Octets already searched for the end of the head.
    searched: usize,
}

impl Framer {
    pub fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// Octets of an unfinished message are waiting: the driver bounds how long.
    pub fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next whole message.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, FrameFault> {
        let blank = self
            .buffer
            .iter()
            .take_while(|b| matches!(b, b'\r' | b'\n'))
            .count();
        if blank > 0 && self.searched == 0 {
            // Keep-alives between messages (RFC 5626 4.4.1).
            self.buffer.drain(..blank);
        }
        let Some(head) = self.head_length() else {
            return if self.buffer.len() > MAX_MESSAGE {
                Err(FrameFault::TooLong)
            } else {
                Ok(None)
            };
        };
        let total = head + content_length(&self.buffer[..head])?;
        if total > MAX_MESSAGE {
            return Err(FrameFault::TooLong);
        }
        if self.buffer.len() < total {
            return Ok(None);
        }
        self.searched = 0;
        let rest = self.buffer.split_off(total);
        Ok(Some(std::mem::replace(&mut self.buffer, rest)))
    }

    fn head_length(&mut self) -> Option<usize> {
        let from = self.searched.saturating_sub(3);
        let found = self.buffer[from..]
            .windows(4)
            .position(|w| w == b"\r\n\r\n");
        self.searched = found.map_or(self.buffer.len(), |at| from + at);
        found.map(|at| from + at + 4)
    }
}

fn content_length(head: &[u8]) -> Result<usize, FrameFault> {
    let mut length = None;
    for line in head.split(|b| *b == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let name = std::str::from_utf8(&line[..colon]).unwrap_or("").trim();
        if HeaderName::of(name) != HeaderName::ContentLength {
            continue;
        }
        let value = std::str::from_utf8(&line[colon + 1..]).unwrap_or("").trim();
        let value = number(value, MAX_MESSAGE as u64).ok_or(FrameFault::ContentLength)?;
        if length.replace(value as usize).is_some() {
            return Err(FrameFault::ContentLength);
        }
    }
    length.ok_or(FrameFault::ContentLength)
}
