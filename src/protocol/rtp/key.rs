//! A key of the phone's keypad and the three ways in which one can be heard.

use std::fmt;

/// One of the sixteen keys, by its RFC 4733 event code (section 3.2, table 3). Prints as nothing that
/// tells which: keys may be those of a PIN.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(u8);

impl Key {
    /// The key that approves.
    pub const POUND: Key = Key(11);
    pub const STAR: Key = Key(10);
    /// The key that will report fraud.
    pub const ZERO: Key = Key(0);

    /// From an RFC 4733 event code; codes above 15 are no keys.
    pub fn from_event(code: u8) -> Option<Key> {
        (code < 16).then_some(Key(code))
    }

    /// From what is printed on the key: `0`-`9`, `*`, `#`, `A`-`D`.
    pub fn from_char(sign: char) -> Option<Key> {
        let at = SIGNS.iter().position(|s| *s == sign.to_ascii_uppercase())?;
        u8::try_from(at).ok().map(Key)
    }

    pub fn event(self) -> u8 {
        self.0
    }

    pub fn sign(self) -> char {
        SIGNS.get(usize::from(self.0)).copied().unwrap_or('?')
    }

    /// Is it one of 0-9?
    pub fn is_digit(self) -> bool {
        self.0 < 10
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(_)")
    }
}

/// How a key was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySource {
    /// A telephone-event of RFC 4733.
    Event,
    /// Two tones in the audio.
    InBand,
    /// A SIP INFO of the dialog.
    Info,
}

const SIGNS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_and_events_agree() {
        for code in 0..16 {
            let key = Key::from_event(code).unwrap();
            assert_eq!(Key::from_char(key.sign()), Some(key));
            assert_eq!(key.event(), code);
        }
        assert_eq!(Key::from_char('#'), Some(Key::POUND));
        assert_eq!(Key::from_char('*'), Some(Key::STAR));
        assert_eq!(Key::from_char('d').map(Key::event), Some(15));
        assert_eq!(Key::from_event(16), None);
        assert_eq!(Key::from_char('E'), None);
    }

    #[test]
    fn a_key_does_not_print_itself() {
        let shown: Vec<String> = (0..16)
            .map(|c| format!("{:?}", Key::from_event(c).unwrap()))
            .collect();
        assert!(shown.iter().all(|s| s == &shown[0]));
    }
}
