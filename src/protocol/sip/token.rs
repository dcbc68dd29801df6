//! Tokens for Call-ID, tags, branches and cnonces: unguessable to who does not know the seed, repeatable to who
//! does. The machine rolls no dice: the driver gives a seed from the system, a test gives a number.
//!
//! What is drawn goes out to the network, so it comes from SHA-256 over the seed and a counter: who has seen any number
//! of tokens can't tell the next one. Tokens of something ([`Tokens::of`]) may be asked for by anyone, and come from a
//! key of their own.

use std::hash::{DefaultHasher, Hash, Hasher};

/// A stream of tokens from one seed.
#[derive(Clone)]
pub struct Tokens {
    seed: [u8; 16],
    /// The key of [`Tokens::of`].
    key: [u64; 2],
    /// Blocks hashed so far.
    blocks: u64,
    /// Tokens of the last block that were not drawn yet.
    ready: Vec<u64>,
}

impl Tokens {
    pub fn new(seed: u128) -> Self {
        let seed = seed.to_le_bytes();
        let [first, second, ..] = block(&seed, b"key", 0);
        Tokens {
            seed,
            key: [first, second],
            blocks: 0,
            ready: Vec::new(),
        }
    }

    /// The next token.
    pub fn draw(&mut self) -> u64 {
        if self.ready.is_empty() {
            self.blocks = self.blocks.wrapping_add(1);
            self.ready.extend(block(&self.seed, b"draw", self.blocks));
        }
        self.ready.pop().unwrap_or_default()
    }

    /// The token that belongs to `what`: the same every time, for answers that keep no state (RFC 3261 8.2.7).
    pub fn of<T: Hash + ?Sized>(&self, what: &T) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.key.hash(&mut hasher);
        what.hash(&mut hasher);
        hasher.finish()
    }
}

/// Four tokens at once.
fn block(seed: &[u8; 16], purpose: &[u8], number: u64) -> [u64; 4] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(seed);
    context.update(purpose);
    context.update(&number.to_le_bytes());
    let digest = context.finish();
    let mut out = [0; 4];
    for (token, octets) in out.iter_mut().zip(digest.as_ref().chunks_exact(8)) {
        *token = octets
            .iter()
            .fold(0, |token, octet| token << 8 | u64::from(*octet));
    }
    out
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
        let mut tokens = Tokens::new(7);
        let many: std::collections::HashSet<u64> = (0..1_000).map(|_| tokens.draw()).collect();
        assert_eq!(many.len(), 1_000);
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
