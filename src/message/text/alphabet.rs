//! The GSM 7-bit default alphabet and its extension table (3GPP TS 23.038, 6.2.1). Pure data.
//! 0x09 is the capital Ç: a small ç is in neither table. Of Greek only the ten capitals without a Latin twin.

/// Leads into the extension table.
pub(super) const ESCAPE: u8 = 0x1b;

/// 6.2.1; the escape's place is held by U+FFFD.
const BASIC: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å', //
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{fffd}', 'Æ', 'æ', 'ß', 'É', //
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/', //
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?', //
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', //
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§', //
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', //
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// 6.2.1.1: after the escape.
const EXTENSION: [(u8, char); 10] = [
    (0x0a, '\u{c}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2f, '\\'),
    (0x3c, '['),
    (0x3d, '~'),
    (0x3e, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// One character as one septet, or two with the escape.
#[derive(Clone, Copy)]
pub(super) struct Septets {
    octets: [u8; 4],
    len: usize,
}

impl Septets {
    pub(super) const fn octets(self) -> [u8; 4] {
        self.octets
    }

    pub(super) const fn len(self) -> usize {
        self.len
    }
}

/// A character in GSM; `None` if it is in neither table.
pub(super) fn septets(c: char) -> Option<Septets> {
    // Where GSM and ASCII agree.
    if matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | ' '..='#' | '%'..='?') {
        return Some(Septets {
            octets: [c as u8, 0, 0, 0],
            len: 1,
        });
    }
    if c == char::REPLACEMENT_CHARACTER {
        return None;
    }
    if let Some(at) = BASIC.iter().position(|known| *known == c) {
        // 128 places: the index fits.
        return Some(Septets {
            octets: [at as u8, 0, 0, 0],
            len: 1,
        });
    }
    let (octet, _) = EXTENSION.iter().find(|(_, known)| *known == c)?;
    Some(Septets {
        octets: [ESCAPE, *octet, 0, 0],
        len: 2,
    })
}

/// The character of a septet; U+FFFD beyond the table.
pub(super) fn character(octet: u8) -> char {
    BASIC
        .get(usize::from(octet))
        .copied()
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The character of a septet after the escape, if there is one.
pub(super) fn extension(octet: u8) -> Option<char> {
    EXTENSION
        .iter()
        .find(|(known, _)| *known == octet)
        .map(|(_, c)| *c)
}
