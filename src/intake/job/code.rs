//! Codes that the gateway makes: digits from the system's own randomness, each as likely as the others.

use ring::rand::{SecureRandom, SystemRandom};

use crate::challenge::Code;

/// So many digits. None where the system gives no randomness: then no code may be made at all.
pub(super) fn make(length: u8) -> Option<Code> {
    let random = SystemRandom::new();
    let mut digits = String::with_capacity(length.into());
    let mut octets = [0; 32];
    while digits.len() < length.into() {
        random.fill(&mut octets).ok()?;
        for octet in octets.iter().filter(|octet| **octet < FAIR) {
            if digits.len() < length.into() {
                digits.push(char::from(b'0' + octet % 10));
            }
        }
    }
    Some(Code::new(&digits))
}

/// Octets from here on would make the low digits likelier.
const FAIR: u8 = 250;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_is_as_likely() {
        let mut counts = [0_u32; 10];
        for _ in 0..2_000 {
            for digit in make(10).unwrap().reveal().bytes() {
                counts[usize::from(digit - b'0')] += 1;
            }
        }
        // 2,000 each; six standard deviations are 255.
        assert!(
            counts.iter().all(|n| (1_745..=2_255).contains(n)),
            "{counts:?}"
        );
        assert_ne!(make(10), make(10));
    }
}
