//! A message's content header: its properties and its table of headers, read as far as they can be read, and written
//! again. Pure.

use super::{
    CARRIED, CORRELATION_ID, REPLY_TO,
    wire::{Octets, put_long, put_short, question_marks},
};

/// A content header (AMQP 0-9-1, 2.3.5.2), its properties in their order.
pub(super) struct Header<'a> {
    /// Class, weight, body size.
    start: &'a [u8],
    properties: Vec<(usize, Property<'a>)>,
    table: Vec<Entry<'a>>,
    /// The library can read it as it is.
    pub clean: bool,
    /// Some entry carries octets.
    pub carries: bool,
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
    pub fn read(payload: &'a [u8]) -> Option<Header<'a>> {
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
    pub fn carried(&self, name: &str) -> Option<&'a [u8]> {
        let entry = self.table.iter().find(|e| e.name == name.as_bytes())?;
        let mut octets = Octets(entry.whole.get(1 + name.len()..)?);
        (octets.u8()? == b'S').then(|| octets.long())?
    }

    /// Readable: of the headers only what is used here, the two strings that must survive among them.
    pub fn mended(&self) -> Vec<u8> {
        let mut table = Vec::new();
        if let Some(count) = self.table.iter().find(|e| e.name == DELIVERY_COUNT)
            && matches!(
                count.whole.get(1 + DELIVERY_COUNT.len()),
                Some(b'b' | b's' | b'I' | b'l')
            )
        {
            table.extend_from_slice(count.whole);
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
    pub fn uncarried(&self) -> Vec<u8> {
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

/// Class and size, as far as they are there, without properties.
pub(super) fn bare(payload: &[u8]) -> Vec<u8> {
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

/// Class, weight and body size of a content header.
pub(super) const HEADER_START: usize = 12;
/// The class basic's properties in order: short strings, headers, octets, a timestamp.
pub(super) const PROPERTIES: &str = "sstoosss\
                                     sLssss";
const PLACE_HEADERS: usize = 2;
pub(super) const PLACE_CORRELATION_ID: usize = 5;
const PLACE_REPLY_TO: usize = 6;
/// Flags without a property.
const RESERVED: u16 = 0b11;
/// Tables within tables, as far as the library reads them: it goes down on its stack.
const DEPTH: usize = 16;
pub(super) const DELIVERY_COUNT: &[u8] = b"x-delivery-count";
