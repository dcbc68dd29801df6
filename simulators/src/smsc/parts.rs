//! Long texts: which part of which text an arriving submit is, and putting the parts together.
//! Both ways of saying it are understood: a user data header (3GPP TS 23.040, 9.2.3.24) and the SAR
//! optional parameters (SMPP 3.4, 5.3.2.22 to 24). Pure.

use super::pdu::{Fault, Submit, tag};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// Texts of which some parts have not come yet.
pub const MAX_OPEN: usize = 10_000;
/// A text whose other parts never come is given up.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// `esm_class`: the text begins with a user data header.
const HEADER_PRESENT: u8 = 0x40;

/// Which part of which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The same for all parts of a text.
    pub reference: u16,
    /// 2 to 255.
    pub total: u8,
    /// 1 to `total`.
    pub number: u8,
}

/// What a submit says of itself: its place (none: it is whole) and its octets without header.
pub fn place<'a>(submit: &Submit<'a>) -> Result<(Option<Part>, &'a [u8]), Fault> {
    const BAD: Fault = Fault::Value("user_data_header");
    let (part, octets) = if submit.esm_class & HEADER_PRESENT == 0 {
        (by_parameters(submit), submit.message)
    } else {
        let (length, rest) = submit.message.split_first().ok_or(BAD)?;
        let (mut header, octets) = rest.split_at_checked(usize::from(*length)).ok_or(BAD)?;
        let mut part = None;
        while let [element, length, rest @ ..] = header {
            let (value, after) = rest.split_at_checked(usize::from(*length)).ok_or(BAD)?;
            match (element, value) {
                (0x00, [reference, total, number]) => {
                    part = Some(Part {
                        reference: u16::from(*reference),
                        total: *total,
                        number: *number,
                    });
                }
                (0x08, [high, low, total, number]) => {
                    let reference = u16::from_be_bytes([*high, *low]);
                    part = Some(Part {
                        reference,
                        total: *total,
                        number: *number,
                    });
                }
                (0x00 | 0x08, _) => return Err(BAD),
                _ => {}
            }
            header = after;
        }
        if !header.is_empty() {
            return Err(BAD);
        }
        (part, octets)
    };
    match part {
        Some(Part {
            total: 0 | 1,
            number: 0 | 1,
            ..
        }) => Ok((None, octets)),
        Some(Part { total, number, .. }) if number == 0 || number > total => Err(BAD),
        part => Ok((part, octets)),
    }
}

fn by_parameters(submit: &Submit<'_>) -> Option<Part> {
    let reference = submit.tlvs.number(tag::SAR_REFERENCE)?;
    let total = u8::try_from(submit.tlvs.number(tag::SAR_TOTAL)?).ok()?;
    let number = u8::try_from(submit.tlvs.number(tag::SAR_SEQUENCE)?).ok()?;
    Some(Part {
        reference,
        total,
        number,
    })
}

/// The line of the record that the parts of one text share, known once the text is whole.
pub type SharedLine = Arc<AtomicU64>;

/// Texts that are not whole yet.
#[derive(Debug, Default)]
pub struct Joiner {
    open: HashMap<Key, Open>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    from: String,
    to: String,
    reference: u16,
    total: u8,
}

#[derive(Debug)]
struct Open {
    parts: Vec<Option<String>>,
    line: SharedLine,
    since: Instant,
}

/// What has become of a text with the arrival of a part.
#[derive(Debug)]
pub enum Joined {
    /// Others are still missing.
    Waiting(SharedLine),
    /// Here is all of it.
    Whole {
        /// The parts in order.
        text: String,
        /// To be told the line.
        line: SharedLine,
    },
    /// Too many texts are open.
    Full,
}

impl Joiner {
    /// A part has come. A repeated part replaces the earlier one.
    pub fn part(&mut self, from: &str, to: &str, part: Part, text: String, now: Instant) -> Joined {
        let key = Key {
            from: from.to_owned(),
            to: to.to_owned(),
            reference: part.reference,
            total: part.total,
        };
        if !self.open.contains_key(&key) {
            if self.open.len() >= MAX_OPEN {
                self.open
                    .retain(|_, open| now.saturating_duration_since(open.since) < PATIENCE);
            }
            if self.open.len() >= MAX_OPEN {
                return Joined::Full;
            }
        }
        let open = self.open.entry(key.clone()).or_insert_with(|| Open {
            parts: vec![None; usize::from(part.total)],
            line: SharedLine::default(),
            since: now,
        });
        if now.saturating_duration_since(open.since) >= PATIENCE {
            open.parts.fill(None);
            open.since = now;
        }
        if let Some(slot) = open.parts.get_mut(usize::from(part.number) - 1) {
            *slot = Some(text);
        }
        let line = open.line.clone();
        if open.parts.iter().any(Option::is_none) {
            return Joined::Waiting(line);
        }
        let whole = self
            .open
            .remove(&key)
            .into_iter()
            .flat_map(|open| open.parts)
            .flatten()
            .collect();
        Joined::Whole { text: whole, line }
    }
}
