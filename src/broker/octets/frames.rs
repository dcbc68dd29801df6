//! AMQP frames as they pass by, and what of them is rewritten. Pure: octets in, octets out.
//!
//! A frame is a type, a channel, a size, so many octets and an end mark (AMQP 0-9-1, 4.2.3). Bodies and heartbeats flow
//! through as they come. Methods and content headers are looked at whole, and leave as they came unless something in
//! them must be rewritten.

use std::collections::BTreeMap;

use super::{CARRIED, CORRELATION_ID, ELSEWHERE, REPLY_TO, ROUTING_KEY};

/// Cuts a stream into frames.
#[derive(Default)]
pub(super) struct Frames {
    /// The beginning of a frame whose end has not come.
    held: Vec<u8>,
    /// So many octets of the present frame flow through.
    pass: usize,
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
            } else if self.held.is_empty() {
                input = self.start(input, out, &mut rewrite);
            } else {
                input = self.go_on(input, out, &mut rewrite);
            }
        }
    }

    /// At a frame's beginning: where the whole frame is here it is not copied first.
    fn start<'a>(
        &mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
        rewrite: &mut impl FnMut(&[u8], &mut Vec<u8>),
    ) -> &'a [u8] {
        match extent(input) {
            Some(Extent::Whole(size)) if input.len() >= size => {
                let (frame, later) = input.split_at(size);
                rewrite(frame, out);
                later
            }
            Some(Extent::Passes(size)) => {
                self.pass = size;
                input
            }
            Some(Extent::Whole(_)) | None => {
                self.held.extend_from_slice(input);
                &[]
            }
        }
    }

    fn go_on<'a>(
        &mut self,
        input: &'a [u8],
        out: &mut Vec<u8>,
        rewrite: &mut impl FnMut(&[u8], &mut Vec<u8>),
    ) -> &'a [u8] {
        let wanted = match extent(&self.held) {
            None => HEAD,
            Some(Extent::Whole(size)) => size,
            Some(Extent::Passes(size)) => {
                out.extend_from_slice(&self.held);
                self.pass = size - self.held.len();
                self.held.clear();
                return input;
            }
        };
        let (now, later) = input.split_at((wanted - self.held.len()).min(input.len()));
        self.held.extend_from_slice(now);
        if matches!(extent(&self.held), Some(Extent::Whole(size)) if size == self.held.len()) {
            rewrite(&self.held, out);
            self.held.clear();
        }
        later
    }
}

enum Extent {
    /// To be looked at, so many octets with head and end mark.
    Whole(usize),
    Passes(usize),
}

/// None: more octets are needed to tell.
fn extent(octets: &[u8]) -> Option<Extent> {
    let kind = *octets.first()?;
    if kind == PROTOCOL {
        return Some(Extent::Passes(PROTOCOL_HEADER));
    }
    let size = octets.get(3..HEAD)?.try_into().map(u32::from_be_bytes);
    let size = HEAD + usize::try_from(size.ok()?).ok()? + 1;
    match kind {
        METHOD | HEADER if size <= LONGEST => Some(Extent::Whole(size)),
        _ => Some(Extent::Passes(size)),
    }
}

/// What comes from the broker: strings that are no UTF-8, and tables that the library can't or must not read, are
/// taken out. Notes the broker's version.
#[derive(Default)]
pub(super) struct Incoming {
    /// The first number of the server property `version`.
    pub version: Option<u32>,
}

impl Incoming {
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
                let fields = method.map_or("", fields);
                for (at, size) in strings(payload.0, fields) {
                    let at = from + HEAD + METHOD_ID + at;
                    if let Some(string) = out.get_mut(at..at + size) {
                        question_marks(string);
                    }
                }
            }
            _ => match Header::read(payload(frame)) {
                Some(header) if header.clean => out.extend_from_slice(frame),
                Some(header) => write(frame, &header.mended(), out),
                // No content header at all: its class and size, as far as they are there, without properties.
                None => write(frame, &bare(payload(frame)), out),
            },
        }
    }
}

/// What goes to the broker: octets that the library could not carry come out of the headers, to where they belong.
#[derive(Default)]
pub(super) struct Outgoing {
    /// By channel: `basic.publish` whose routing key comes with the header.
    waiting: BTreeMap<[u8; 2], Vec<u8>>,
}

impl Outgoing {
    pub fn rewrite(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        let channel = [frame[1], frame[2]];
        if frame[0] == METHOD {
            match routing_key(payload(frame)) {
                Some((_, key)) if key == ELSEWHERE.as_bytes() => {
                    self.waiting.insert(channel, frame.to_vec());
                }
                _ => out.extend_from_slice(frame),
            }
            return;
        }
        let header = Header::read(payload(frame));
        let key = header
            .as_ref()
            .and_then(|header| header.carried(ROUTING_KEY));
        if let Some(publish) = self.waiting.remove(&channel) {
            match (key, routing_key(payload(&publish))) {
                (Some(key), Some((at, old))) => {
                    let (before, after) = payload(&publish).split_at(at);
                    let mut changed = before.to_vec();
                    put_short(&mut changed, key);
                    changed.extend_from_slice(&after[1 + old.len()..]);
                    write(&publish, &changed, out);
                }
                _ => out.extend_from_slice(&publish),
            }
        }
        match header {
            Some(header) if header.carries => write(frame, &header.uncarried(), out),
            _ => out.extend_from_slice(frame),
        }
    }
}

/// A content header (AMQP 0-9-1, 2.3.5.2), its properties in their order.
struct Header<'a> {
    /// Class, weight, body size.
    start: &'a [u8],
    properties: Vec<(usize, Property<'a>)>,
    table: Vec<Entry<'a>>,
    /// The library can read it as it is.
    clean: bool,
    /// Some entry carries octets.
    carries: bool,
}

#[derive(Clone, Copy)]
enum Property<'a> {
    Short(&'a [u8]),
    Table,
    /// Of fixed size.
    Plain(&'a [u8]),
}

/// One entry of the headers: its name, and name and value as they stand.
#[derive(Clone, Copy)]
struct Entry<'a> {
    name: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(payload: &'a [u8]) -> Option<Header<'a>> {
        let mut octets = Octets(payload);
        let start = octets.take(HEADER_START)?;
        let flags = octets.u16()?;
        let mut header = Header {
            start,
            properties: Vec::with_capacity(PROPERTIES.len()),
            table: Vec::new(),
            clean: flags & RESERVED == 0,
            carries: false,
        };
        for (place, kind) in PROPERTIES.bytes().enumerate() {
            if flags & (1 << (15 - place)) == 0 {
                continue;
            }
            let property = match kind {
                b's' => {
                    let text = octets.short()?;
                    header.clean &= std::str::from_utf8(text).is_ok();
                    Property::Short(text)
                }
                b't' => {
                    let table = octets.long()?;
                    header.entries(table);
                    Property::Table
                }
                b'L' => Property::Plain(octets.take(8)?),
                _ => Property::Plain(octets.take(1)?),
            };
            header.properties.push((place, property));
        }
        header.clean &= octets.0.is_empty();
        Some(header)
    }

    /// As many entries as can be read.
    fn entries(&mut self, table: &'a [u8]) {
        let mut octets = Octets(table);
        while !octets.0.is_empty() {
            let before = octets.0;
            let Some(name) = octets.short() else {
                break;
            };
            let Some(good) = value(&mut octets, DEPTH) else {
                break;
            };
            let carries = name.starts_with(CARRIED.as_bytes());
            self.carries |= carries;
            self.clean &= good && !carries && std::str::from_utf8(name).is_ok();
            let whole = &before[..before.len() - octets.0.len()];
            self.table.push(Entry { name, whole });
        }
        self.clean &= octets.0.is_empty();
    }

    /// What an entry of ours carries.
    fn carried(&self, name: &str) -> Option<&'a [u8]> {
        let entry = self.table.iter().find(|e| e.name == name.as_bytes())?;
        let mut octets = Octets(entry.whole.get(1 + name.len()..)?);
        (octets.u8()? == b'S').then(|| octets.long())?
    }

    /// Readable: of the headers only what is used here, the two strings that must survive among them.
    fn mended(&self) -> Vec<u8> {
        let mut table = Vec::new();
        if let Some(count) = self.table.iter().find(|e| e.name == DELIVERY_COUNT) {
            if matches!(
                count.whole.get(1 + DELIVERY_COUNT.len()),
                Some(b'b' | b's' | b'I' | b'l')
            ) {
                table.extend_from_slice(count.whole);
            }
        }
        let mut kept = Vec::new();
        for (place, property) in &self.properties {
            match (*place, *property) {
                (_, Property::Table) => {}
                (place, Property::Short(text)) if std::str::from_utf8(text).is_err() => {
                    let name = match place {
                        PLACE_CORRELATION_ID => CORRELATION_ID,
                        PLACE_REPLY_TO => REPLY_TO,
                        _ => {
                            let mut text = text.to_vec();
                            question_marks(&mut text);
                            kept.push((place, Written::Short(text)));
                            continue;
                        }
                    };
                    put_short(&mut table, name.as_bytes());
                    table.push(b'S');
                    put_long(&mut table, text);
                }
                (place, Property::Short(text)) => kept.push((place, Written::Short(text.to_vec()))),
                (place, Property::Plain(octets)) => kept.push((place, Written::Plain(octets))),
            }
        }
        written(self.start, kept, &table)
    }

    /// Without the entries of ours, and with what they carry.
    fn uncarried(&self) -> Vec<u8> {
        let mut table = Vec::new();
        for entry in &self.table {
            if !entry.name.starts_with(CARRIED.as_bytes()) {
                table.extend_from_slice(entry.whole);
            }
        }
        let mut kept = Vec::new();
        if let Some(octets) = self.carried(CORRELATION_ID) {
            kept.push((PLACE_CORRELATION_ID, Written::Short(octets.to_vec())));
        }
        for (place, property) in &self.properties {
            match *property {
                Property::Table => {}
                Property::Short(text) => kept.push((*place, Written::Short(text.to_vec()))),
                Property::Plain(octets) => kept.push((*place, Written::Plain(octets))),
            }
        }
        written(self.start, kept, &table)
    }
}

enum Written<'a> {
    Short(Vec<u8>),
    Plain(&'a [u8]),
    Table(&'a [u8]),
}

fn written<'a>(
    start: &[u8],
    mut properties: Vec<(usize, Written<'a>)>,
    table: &'a [u8],
) -> Vec<u8> {
    if !table.is_empty() {
        properties.push((PLACE_HEADERS, Written::Table(table)));
    }
    properties.sort_by_key(|(place, _)| *place);
    let flags = properties
        .iter()
        .fold(0_u16, |flags, (place, _)| flags | 1 << (15 - place));
    let mut payload = start.to_vec();
    payload.extend_from_slice(&flags.to_be_bytes());
    for (_, property) in &properties {
        match property {
            Written::Short(text) => put_short(&mut payload, text),
            Written::Plain(octets) => payload.extend_from_slice(octets),
            Written::Table(table) => put_long(&mut payload, table),
        }
    }
    payload
}

fn bare(payload: &[u8]) -> Vec<u8> {
    let mut bare = payload[..payload.len().min(HEADER_START)].to_vec();
    bare.resize(HEADER_START + 2, 0);
    bare
}

/// A value of a table: false where the library can't read it or should not (RabbitMQ's list of field types; names
/// inside are UTF-8; nested no deeper). None: its end can't be found.
fn value(octets: &mut Octets<'_>, depth: usize) -> Option<bool> {
    let fixed = match octets.u8()? {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'L' | b'l' | b'd' | b'T' => 8,
        b'S' | b'x' => return octets.long().map(|_| true),
        kind @ (b'F' | b'A') => {
            let inside = octets.long()?;
            return Some(depth > 0 && nested(inside, kind == b'F', depth - 1));
        }
        _ => return None,
    };
    octets.take(fixed).map(|_| true)
}

fn nested(inside: &[u8], named: bool, depth: usize) -> bool {
    let mut octets = Octets(inside);
    while !octets.0.is_empty() {
        if named {
            match octets.short() {
                Some(name) if std::str::from_utf8(name).is_ok() => {}
                _ => return false,
            }
        }
        if value(&mut octets, depth) != Some(true) {
            return false;
        }
    }
    true
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

/// Where the routing key of a `basic.publish` stands in the payload, and the key.
fn routing_key(payload: &[u8]) -> Option<(usize, &[u8])> {
    let mut octets = Octets(payload);
    if (octets.u16()?, octets.u16()?) != PUBLISH {
        return None;
    }
    octets.u16()?;
    octets.short()?;
    let at = payload.len() - octets.0.len();
    Some((at, octets.short()?))
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

/// Each octet that doesn't belong to UTF-8 becomes a question mark.
pub(super) fn question_marks(text: &mut [u8]) {
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&text[from..]) {
        from += error.valid_up_to();
        let wrong = error.error_len().unwrap_or(text.len() - from);
        text[from..from + wrong].fill(b'?');
    }
}

fn payload(frame: &[u8]) -> &[u8] {
    frame.get(HEAD..frame.len() - 1).unwrap_or_default()
}

/// A frame with the head and end mark of this one, and another payload.
fn write(like: &[u8], payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&like[..3]);
    put_long(out, payload);
    out.extend_from_slice(&like[like.len() - 1..]);
}

/// At most 255 octets, as everything that came as a short string.
fn put_short(out: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(255)];
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

fn put_long(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend_from_slice(&(octets.len() as u32).to_be_bytes());
    out.extend_from_slice(octets);
}

/// What has not been read.
struct Octets<'a>(&'a [u8]);

impl<'a> Octets<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (now, later) = self.0.split_at_checked(count)?;
        self.0 = later;
        Some(now)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|octets| octets[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let size = self.u8()?;
        self.take(size.into())
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let size = self.take(4)?.try_into().ok().map(u32::from_be_bytes)?;
        self.take(usize::try_from(size).ok()?)
    }
}

/// Frame types.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
/// The first octet of the protocol header, which is no frame.
const PROTOCOL: u8 = b'A';
const PROTOCOL_HEADER: usize = 8;
/// Type, channel, size.
const HEAD: usize = 7;
/// Class and method.
const METHOD_ID: usize = 4;
const START: (u16, u16) = (10, 10);
const PUBLISH: (u16, u16) = (60, 40);
/// Class, weight and body size of a content header.
const HEADER_START: usize = 12;
/// The class basic's properties in order: short strings, headers, octets, a timestamp.
const PROPERTIES: &str = "sstoosss\
                          sLssss";
const PLACE_HEADERS: usize = 2;
const PLACE_CORRELATION_ID: usize = 5;
const PLACE_REPLY_TO: usize = 6;
/// Flags without a property.
const RESERVED: u16 = 0b11;
/// Tables within tables, as far as the library reads them: it goes down on its stack.
const DEPTH: usize = 16;
/// Longer methods and headers are not looked at: no longer frame is agreed on with the broker.
pub(super) const LONGEST: usize = 1 << 20;
const DELIVERY_COUNT: &[u8] = b"x-delivery-count";
/// The property's name and type as they stand in a table.
const VERSION: &[u8] = b"\x07versionS";

#[cfg(test)]
mod tests;
