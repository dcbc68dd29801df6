//! What of the frames is rewritten, on the way in and on the way out. Pure. Frames leave as they came unless something in
//! them must be changed.

use super::{
    frames::{HEAD, HEADER, METHOD, payload, write},
    header::{Header, bare},
    wire::{Octets, question_marks},
};

/// What comes from the broker: strings that are no UTF-8, and tables that the library can't or must not read, are
/// taken out. Notes the broker's version.
pub(super) struct Incoming {
    /// The first number of the server property `version`.
    pub version: Option<u32>,
    /// The broker has agreed to our end of the connection (`connection.close-ok`): nothing comes after it.
    pub closed: bool,
    /// The library gives the connection up over a longer frame, however well-formed.
    longest: usize,
}

impl Incoming {
    /// With the longest frame that is agreed on. Another client may have agreed on longer ones, and the broker passes its
    /// content headers on as they are.
    pub fn new(longest: usize) -> Incoming {
        Incoming {
            version: None,
            closed: false,
            longest,
        }
    }

    pub fn rewrite(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        match frame.first() {
            Some(&METHOD) => {
                out.extend_from_slice(frame);
                let mut payload = Octets(payload(frame));
                let method = payload.u16().zip(payload.u16());
                if method == Some(START) {
                    self.version = version(payload.0);
                }
                self.closed |= method == Some(CLOSE_OK);
                let fields = method.map_or("", fields);
                for (at, size) in strings(payload.0, fields) {
                    let at = from + HEAD + METHOD_ID + at;
                    if let Some(string) = out.get_mut(at..at + size) {
                        question_marks(string);
                    }
                }
            }
            _ => match Header::read(payload(frame)) {
                Some(header) if header.clean && frame.len() <= self.longest => {
                    out.extend_from_slice(frame);
                }
                Some(header) => write(frame, &header.mended(), out),
                // No content header at all: its class and size, as far as they are there, without properties.
                None => write(frame, &bare(payload(frame)), out),
            },
        }
    }
}

/// What goes to the broker: octets that the library could not carry come out of the headers, to where they belong.
pub(super) fn outgoing(frame: &[u8], out: &mut Vec<u8>) {
    if frame.first() == Some(&HEADER)
        && let Some(header) = Header::read(payload(frame)).filter(|header| header.carries)
    {
        write(frame, &header.uncarried(), out);
    } else {
        out.extend_from_slice(frame);
    }
}

/// The strings of a method, by place and size, as its fields tell. What is too short has none.
fn strings(arguments: &[u8], fields: &str) -> Vec<(usize, usize)> {
    let mut octets = Octets(arguments);
    let mut found = Vec::new();
    for field in fields.bytes() {
        let read = match field {
            b's' => {
                let at = arguments.len() - octets.0.len() + 1;
                octets.short().map(|text| {
                    if std::str::from_utf8(text).is_err() {
                        found.push((at, text.len()));
                    }
                })
            }
            b'L' => octets.take(8).map(|_| ()),
            b'H' => octets.take(2).map(|_| ()),
            _ => octets.take(1).map(|_| ()),
        };
        if read.is_none() {
            break;
        }
    }
    found
}

/// Fields of the broker's methods up to their last short string: `s` one of these, `o` one octet, `H` two, `L` eight.
fn fields(method: (u16, u16)) -> &'static str {
    match method {
        // connection: close, open-ok, blocked; channel: close
        (10, 50) | (20, 40) => "Hs",
        (10, 41) | (10, 60) => "s",
        // queue: declare-ok; basic: consume-ok, cancel, cancel-ok, get-empty
        (50, 11) | (60, 21) | (60, 30) | (60, 31) | (60, 72) => "s",
        // basic: return, deliver, get-ok
        (60, 50) => "Hsss",
        (60, 60) => "sLoss",
        (60, 71) => "Loss",
        _ => "",
    }
}

/// From `connection.start`: the server property `version`, a long string; its first number.
fn version(arguments: &[u8]) -> Option<u32> {
    let at = arguments
        .windows(VERSION.len())
        .position(|o| o == VERSION)?;
    let text = Octets(&arguments[at + VERSION.len()..]).long()?;
    let text = std::str::from_utf8(text).ok()?;
    text.split('.').next()?.parse().ok()
}

/// Class and method.
const METHOD_ID: usize = 4;
const START: (u16, u16) = (10, 10);
const CLOSE_OK: (u16, u16) = (10, 51);
/// The property's name and type as they stand in a table.
const VERSION: &[u8] = b"\x07versionS";

#[cfg(test)]
mod tests;
