//! Tokens for Call-ID, tags, branches and cnonces: unguessable to who does not know the seed, repeatable to who
//! does. The machine rolls no dice: the driver gives a seed from the system, a test gives a number.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A stream of tokens from one seed.
#[derive(Debug, Clone)]
pub struct Tokens {
    seed: [u64; 2],
    drawn: u64,
}

impl Tokens {
    pub fn new(seed: u128) -> Self {
        Tokens {
            seed: [seed as u64, (seed >> 64) as u64],
            drawn: 0,
        }
    }

    /// The next token.
    pub fn draw(&mut self) -> u64 {
        self.drawn = self.drawn.wrapping_add(1);
        self.of(&self.drawn)
    }

    /// The token that belongs to `what`: the same every time, for answers that keep no state (RFC 3261 8.2.7).
    pub fn of<T: Hash + ?Sized>(&self, what: &T) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        what.hash(&mut hasher);
        hasher.finish()
    }
}

/// Appends `token` as sixteen hexadecimal digits.
pub fn push_hex(out: &mut String, token: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for shift in (0..16).rev() {
        out.push(DIGITS[(token >> (shift * 4)) as usize & 0xf] as char);
    }
}

/// `token` as sixteen hexadecimal digits.
pub fn hex(token: u64) -> String {
    let mut out = String::with_capacity(16);
    push_hex(&mut out, token);
    out
}

/// Reads what [`push_hex`] wrote; `None` for anything else.
pub fn read_hex(text: &str) -> Option<u64> {
    let ours = text.len() == 16
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if ours {
        u64::from_str_radix(text, 16).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_repeat_by_seed_and_differ_within_it() {
        let draw = |seed| {
            let mut tokens = Tokens::new(seed);
            [tokens.draw(), tokens.draw(), tokens.draw()]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(draw(1 << 64), draw(2 << 64));
        let [a, b, c] = draw(7);
        assert!(a != b && b != c && a != c);
    }

    #[test]
    fn hex_reads_back_and_refuses_what_is_not_ours() {
        assert_eq!(
            read_hex(&hex(0x0123_4567_89ab_cdef)),
            Some(0x0123_4567_89ab_cdef)
        );
        assert_eq!(hex(1), "0000000000000001");
        for other in [
            "",
            "1",
            "+000000000000001",
            "000000000000000G",
            "00000000000000001",
            "ABCDEF0123456789",
        ] {
            assert_eq!(read_hex(other), None, "{other}");
        }
    }
}
