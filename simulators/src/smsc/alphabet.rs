//! Texts as octets: the GSM 03.38 default alphabet (one septet per octet), ISO 8859-1 and UCS-2.
//! Also how a validity period is written (SMPP 3.4, 7.1.1). Pure.

use super::pdu::Fault;
use crate::clock;
use crate::record::Encoding;

/// The encoding that a `data_coding` names; none for those no phone here can show.
pub fn encoding_of(data_coding: u8) -> Option<Encoding> {
    match data_coding {
        0x00 => Some(Encoding::Gsm7),
        0x03 => Some(Encoding::Latin1),
        0x08 => Some(Encoding::Ucs2),
        _ => None,
    }
}

/// Octets of text that fit into one part, alone or beside a concatenation header.
pub fn room(encoding: Encoding, concatenated: bool) -> usize {
    match (encoding, concatenated) {
        (Encoding::Gsm7, false) => 160,
        (Encoding::Gsm7, true) => 153,
        (_, false) => 140,
        (_, true) => 134,
    }
}

/// The text that a phone shows. `text` is appended to, so that parts may follow one another.
pub fn decode(encoding: Encoding, octets: &[u8], text: &mut String) -> Result<(), Fault> {
    match encoding {
        Encoding::Gsm7 => decode_gsm(octets, text),
        Encoding::Latin1 => {
            text.extend(octets.iter().map(|octet| char::from(*octet)));
            Ok(())
        }
        Encoding::Ucs2 | Encoding::Unicode => {
            let (pairs, []) = octets.as_chunks::<2>() else {
                return Err(Fault::Value("short_message"));
            };
            for unit in char::decode_utf16(pairs.iter().map(|pair| u16::from_be_bytes(*pair))) {
                text.push(unit.map_err(|_| Fault::Value("short_message"))?);
            }
            Ok(())
        }
    }
}

fn decode_gsm(octets: &[u8], text: &mut String) -> Result<(), Fault> {
    let mut octets = octets.iter();
    while let Some(&octet) = octets.next() {
        let shown = match octet {
            ESCAPE => octets.next().and_then(|next| extension(*next)),
            septet => GSM.get(usize::from(septet)).copied(),
        };
        text.push(shown.ok_or(Fault::Value("short_message"))?);
    }
    Ok(())
}

/// `text` as octets with its `data_coding`: the default alphabet where it suffices, else UCS-2.
pub fn encode(text: &str) -> (u8, Vec<u8>) {
    let mut septets = Vec::with_capacity(text.len());
    for shown in text.chars() {
        if let Some(at) = GSM.iter().position(|c| *c == shown && *c != ESCAPE_SHOWN) {
            septets.push(at as u8);
        } else if let Some((septet, _)) = EXTENSION.iter().find(|(_, c)| *c == shown) {
            septets.extend_from_slice(&[ESCAPE, *septet]);
        } else {
            return (8, text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        }
    }
    (0, septets)
}

const ESCAPE: u8 = 0x1B;
const ESCAPE_SHOWN: char = '\u{1B}';

/// GSM 03.38, 6.2.1.
#[rustfmt::skip]
const GSM: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å',
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', ESCAPE_SHOWN, 'Æ', 'æ', 'ß', 'É',
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§',
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// GSM 03.38, 6.2.1.1.
const EXTENSION: [(u8, char); 10] = [
    (0x0A, '\u{0C}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2F, '\\'),
    (0x3C, '['),
    (0x3D, '~'),
    (0x3E, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

fn extension(septet: u8) -> Option<char> {
    EXTENSION
        .iter()
        .find(|(code, _)| *code == septet)
        .map(|(_, shown)| *shown)
}

/// Seconds from now that a `validity_period` leaves (SMPP 3.4, 7.1.1: `YYMMDDhhmmsstnnp`); none: not given.
pub fn validity_s(written: &[u8], now_unix: u64) -> Result<Option<i64>, Fault> {
    const BAD: Fault = Fault::Value("validity_period");
    if written.is_empty() {
        return Ok(None);
    }
    let (digits, [direction]) = written.split_at_checked(15).ok_or(BAD)? else {
        return Err(BAD);
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(BAD);
    }
    let two = |at: usize| u32::from(digits[at] - b'0') * 10 + u32::from(digits[at + 1] - b'0');
    let [year, month, day, hour, minute, second, quarters] = [0, 2, 4, 6, 8, 10, 13].map(two);
    let quarters = i64::from(quarters) * 900;
    let absolute =
        || clock::unix_of(2000 + i64::from(year), month, day, hour, minute, second).ok_or(BAD);
    let now = i64::try_from(now_unix).map_err(|_| BAD)?;
    let seconds = match direction {
        b'R' => {
            let days = i64::from(year) * 365 + i64::from(month) * 30 + i64::from(day);
            days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second)
        }
        b'+' => absolute()? - quarters - now,
        b'-' => absolute()? + quarters - now,
        _ => return Err(BAD),
    };
    Ok(Some(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(encoding: Encoding, octets: &[u8]) -> Result<String, Fault> {
        let mut text = String::new();
        decode(encoding, octets, &mut text).map(|()| text)
    }

    #[test]
    fn the_default_alphabet_goes_there_and_back() {
        let every: String = GSM
            .iter()
            .filter(|c| **c != ESCAPE_SHOWN)
            .chain(EXTENSION.iter().map(|(_, c)| c))
            .collect();
        let (coding, octets) = encode(&every);
        assert_eq!(coding, 0);
        assert_eq!(octets.len(), 127 + 2 * 10);
        assert_eq!(shown(Encoding::Gsm7, &octets), Ok(every));
        assert_eq!(
            shown(Encoding::Gsm7, b"\x00\x02\x11\x1b\x65"),
            Ok("@$_€".into())
        );
        assert!(
            shown(Encoding::Gsm7, b"caf\xE9").is_err(),
            "Latin-1 octets are no septets"
        );
        assert!(shown(Encoding::Gsm7, b"\x1b").is_err());
    }

    #[test]
    fn other_alphabets() {
        assert_eq!(shown(Encoding::Latin1, b"caf\xE9"), Ok("café".into()));
        let (coding, octets) = encode("код 🔑");
        assert_eq!((coding, octets.len()), (8, 12));
        assert_eq!(shown(Encoding::Ucs2, &octets), Ok("код 🔑".into()));
        assert!(shown(Encoding::Ucs2, &octets[..11]).is_err());
        assert!(
            shown(Encoding::Ucs2, &octets[..10]).is_err(),
            "half a surrogate pair"
        );
    }

    #[test]
    fn validity_is_relative_or_absolute() {
        let now = clock::unix_of(2026, 1, 2, 3, 4, 5).unwrap() as u64;
        assert_eq!(validity_s(b"", now), Ok(None));
        assert_eq!(validity_s(b"000000000300000R", now), Ok(Some(180)));
        assert_eq!(validity_s(b"260102030705000+", now), Ok(Some(180)));
        assert_eq!(validity_s(b"260102040705004+", now), Ok(Some(180)));
        assert_eq!(validity_s(b"260102020705004-", now), Ok(Some(180)));
        for bad in [
            &b"0"[..],
            b"000000000300000X",
            b"261302030705000+",
            b"00000000030000RR",
        ] {
            assert!(validity_s(bad, now).is_err());
        }
    }
}
