//! AMQP frames as they pass by, and how a stream is cut into them. Pure: octets in, octets out.
//!
//! A frame is a type, a channel, a size, so many octets and an end mark (AMQP 0-9-1, 4.2.3). Bodies and heartbeats flow
//! through as they come. Methods and content headers are looked at whole, and are handed to whoever rewrites them.

use super::{
    header::{HEADER_START, bare},
    wire::put_long,
};

/// Cuts a stream into frames.
#[derive(Default)]
pub(super) struct Frames {
    /// The beginning of a frame whose end has not come; never more than [`LONGEST`].
    held: Vec<u8>,
    /// So many octets of the present frame flow through.
    pass: usize,
    /// So many octets of the present frame are dropped.
    skip: usize,
}

impl Frames {
    /// Takes octets in; methods and headers go through `rewrite`, everything else straight out.
    pub fn take(
        &mut self,
        mut input: &[u8],
        out: &mut Vec<u8>,
        mut rewrite: impl FnMut(&[u8], &mut Vec<u8>),
    ) {
        while !input.is_empty() {
            if self.pass > 0 {
                let (now, later) = input.split_at(self.pass.min(input.len()));
                out.extend_from_slice(now);
                self.pass -= now.len();
                input = later;
                continue;
            }
            if self.skip > 0 {
                let dropped = self.skip.min(input.len());
                self.skip -= dropped;
                input = &input[dropped..];
                continue;
            }
            // A frame that is here as a whole is not copied first.
            match extent(input).filter(|_| self.held.is_empty()) {
                Some(Extent::Whole(size)) if input.len() >= size => {
                    let (frame, later) = input.split_at(size);
                    rewrite(frame, out);
                    input = later;
                }
                Some(Extent::Passes(size)) => self.pass = size,
                _ => input = self.hold(input, out, &mut rewrite),
            }
        }
    }

    /// Adds to the held frame what belongs to it, and lets go of it once enough is there. What is left is given back.
    fn hold<'a>(
        &mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
        rewrite: &mut impl FnMut(&[u8], &mut Vec<u8>),
    ) -> &'a [u8] {
        let wanted = match extent(&self.held) {
            None => HEAD,
            Some(Extent::Whole(size)) => size,
            Some(Extent::Shortened(_)) => HEAD + HEADER_START,
            Some(Extent::Passes(size)) => {
                out.append(&mut self.held);
                self.pass = size.saturating_sub(HEAD);
                return input;
            }
        };
        let missing = wanted.saturating_sub(self.held.len());
        let (now, later) = input.split_at(missing.min(input.len()));
        self.held.extend_from_slice(now);
        match extent(&self.held) {
            Some(Extent::Whole(size)) if size == self.held.len() => rewrite(&self.held, out),
            Some(Extent::Shortened(size)) if self.held.len() == HEAD + HEADER_START => {
                self.held.push(END);
                write(&self.held, &bare(payload(&self.held)), out);
                self.skip = size - (HEAD + HEADER_START);
            }
            _ => return later,
        }
        self.held.clear();
        later
    }
}

enum Extent {
    /// To be looked at, so many octets with head and end mark.
    Whole(usize),
    Passes(usize),
    /// A content header longer than anything that is agreed on: the client library would give the connection up, so
    /// only its class and its body's size go on.
    Shortened(usize),
}

/// None: more octets are needed to tell.
fn extent(octets: &[u8]) -> Option<Extent> {
    let kind = *octets.first()?;
    if kind == PROTOCOL {
        return Some(Extent::Passes(PROTOCOL_HEADER));
    }
    let size = octets.get(3..HEAD)?.try_into().map(u32::from_be_bytes);
    let size = usize::try_from(size.ok()?).ok()?.saturating_add(HEAD + 1);
    Some(match kind {
        METHOD | HEADER if size <= LONGEST => Extent::Whole(size),
        HEADER => Extent::Shortened(size),
        _ => Extent::Passes(size),
    })
}

pub(super) fn payload(frame: &[u8]) -> &[u8] {
    frame.get(HEAD..frame.len() - 1).unwrap_or_default()
}

/// A frame with the head and end mark of this one, and another payload.
pub(super) fn write(like: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&like[..3]);
    put_long(out, payload);
    out.extend_from_slice(&like[like.len() - 1..]);
}

/// Frame types.
pub(super) const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
/// The first octet of the protocol header, which is no frame.
const PROTOCOL: u8 = b'A';
const PROTOCOL_HEADER: usize = 8;
/// Ends a frame.
const END: u8 = 0xCE;
/// Type, channel, size.
pub(super) const HEAD: usize = 7;
/// Longer methods and headers are not looked at: no longer frame is agreed on with the broker.
pub(super) const LONGEST: usize = 1 << 20;
