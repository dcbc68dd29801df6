//! How a text goes on the air: the GSM 7-bit default alphabet with its extension table where every character
//! is in them, else UCS-2 (3GPP TS 23.038), cut into segments (TS 23.040, 9.2.3.24.1).
//! Nothing is transliterated: one curly quote, tab or no-break space makes the whole text UCS-2, and what a
//! person reads is what was written. Pure.

use std::fmt;

mod alphabet;

/// Septets of a text alone and of one segment of several (six octets of header cost seven septets).
const GSM_ALONE: usize = 160;
const GSM_PART: usize = 153;
/// UTF-16 units likewise.
const UCS2_ALONE: usize = 70;
const UCS2_PART: usize = 67;
/// Most segments that an 8-bit concatenation header can count.
pub const MAX_SEGMENTS: usize = 255;

/// The alphabet of a whole text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Gsm7,
    Ucs2,
}

impl Encoding {
    /// `gsm7` or `ucs2`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Encoding::Gsm7 => "gsm7",
            Encoding::Ucs2 => "ucs2",
        }
    }

    /// SMPP 3.4 `data_coding` (5.2.19): 0 for the SMSC's default alphabet, 8 for UCS-2.
    pub const fn data_coding(self) -> u8 {
        match self {
            Encoding::Gsm7 => 0,
            Encoding::Ucs2 => 8,
        }
    }

    const fn alone(self) -> usize {
        match self {
            Encoding::Gsm7 => GSM_ALONE,
            Encoding::Ucs2 => UCS2_ALONE,
        }
    }

    const fn part(self) -> usize {
        match self {
            Encoding::Gsm7 => GSM_PART,
            Encoding::Ucs2 => UCS2_PART,
        }
    }
}

/// One segment: its octets without a header. GSM: one septet per octet, unpacked, as SMPP carries it;
/// UCS-2: big-endian.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    pub octets: Vec<u8>,
    /// Septets or UTF-16 units.
    pub units: usize,
}

/// A text ready for the air. An empty text is one empty segment.
#[derive(Clone, PartialEq, Eq)]
pub struct Encoded {
    pub encoding: Encoding,
    /// Septets or UTF-16 units of the whole text, headers not counted.
    pub units: usize,
    pub segments: Vec<Segment>,
}

impl Encoded {
    /// Units of each segment, in order.
    pub fn units_per_segment(&self) -> Vec<usize> {
        self.segments.iter().map(|segment| segment.units).collect()
    }

    /// The octets of each segment as `short_message`: with several, each led by the concatenation header
    /// (`esm_class` needs [`UDHI`] then). `None` beyond [`MAX_SEGMENTS`].
    pub fn short_messages(&self, reference: u8) -> Option<Vec<Vec<u8>>> {
        if let [only] = &self.segments[..] {
            return Some(vec![only.octets.clone()]);
        }
        let total = u8::try_from(self.segments.len()).ok()?;
        let parts = (1..=total).zip(&self.segments);
        Some(
            parts
                .map(|(part, segment)| {
                    [&header(reference, total, part)[..], &segment.octets[..]].concat()
                })
                .collect(),
        )
    }
}

/// Says the measure of a text, never the text.
impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Encoded({}, {} units, {} segments)",
            self.encoding.as_str(),
            self.units,
            self.segments.len()
        )
    }
}

/// `esm_class` bit that announces a user data header (SMPP 3.4, 5.2.12).
pub const UDHI: u8 = 0x40;

/// The concatenation header with an 8-bit reference (TS 23.040, 9.2.3.24.1).
pub const fn header(reference: u8, total: u8, part: u8) -> [u8; 6] {
    [0x05, 0x00, 0x03, reference, total, part]
}

/// Encodes a text: GSM 7-bit if every character allows it, else UCS-2.
pub fn encode(text: &str) -> Encoded {
    match gsm_characters(text) {
        Some(characters) => assemble(
            Encoding::Gsm7,
            characters.into_iter().map(|c| (c.octets(), c.len())),
        ),
        None => assemble(Encoding::Ucs2, text.chars().map(ucs2_character)),
    }
}

/// One character in GSM: one octet, or two with the escape.
type GsmCharacter = alphabet::Septets;

fn gsm_characters(text: &str) -> Option<Vec<GsmCharacter>> {
    text.chars().map(alphabet::septets).collect()
}

fn ucs2_character(c: char) -> ([u8; 4], usize) {
    let mut units = [0u16; 2];
    let mut octets = [0u8; 4];
    let units = c.encode_utf16(&mut units);
    for (pair, unit) in octets.chunks_exact_mut(2).zip(units.iter()) {
        pair.copy_from_slice(&unit.to_be_bytes());
    }
    (octets, units.len())
}

/// Fills segments with whole characters: an escape pair and a surrogate pair stay together.
fn assemble(
    encoding: Encoding,
    characters: impl Iterator<Item = ([u8; 4], usize)> + Clone,
) -> Encoded {
    let octets_per_unit = match encoding {
        Encoding::Gsm7 => 1,
        Encoding::Ucs2 => 2,
    };
    let units = characters.clone().map(|(_, units)| units).sum();
    let most = if units <= encoding.alone() {
        encoding.alone()
    } else {
        encoding.part()
    };
    let mut segments = Vec::new();
    let mut current = Segment {
        octets: Vec::new(),
        units: 0,
    };
    for (octets, units) in characters {
        if current.units + units > most {
            segments.push(std::mem::replace(
                &mut current,
                Segment {
                    octets: Vec::new(),
                    units: 0,
                },
            ));
        }
        current
            .octets
            .extend_from_slice(&octets[..units * octets_per_unit]);
        current.units += units;
    }
    segments.push(current);
    Encoded {
        encoding,
        units,
        segments,
    }
}

/// Reads unpacked GSM septets, for texts that come in. What the alphabet does not know (and an escape at the
/// very end) becomes U+FFFD; an unknown extension is read without its escape, as TS 23.038 asks.
pub fn decode_gsm(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len());
    let mut octets = octets.iter();
    while let Some(octet) = octets.next() {
        if *octet != alphabet::ESCAPE {
            text.push(alphabet::character(*octet));
            continue;
        }
        match octets.next() {
            Some(next) => {
                text.push(alphabet::extension(*next).unwrap_or_else(|| alphabet::character(*next)))
            }
            None => text.push(char::REPLACEMENT_CHARACTER),
        }
    }
    text
}

/// Reads big-endian UTF-16 (data coding 8); an odd octet or a lone surrogate becomes U+FFFD.
pub fn decode_ucs2(octets: &[u8]) -> String {
    let pairs = octets.chunks_exact(2);
    let odd = !pairs.remainder().is_empty();
    let units = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let mut text: String = char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    if odd {
        text.push(char::REPLACEMENT_CHARACTER);
    }
    text
}

#[cfg(test)]
mod tests;
