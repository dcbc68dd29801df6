//! MD5 (RFC 1321), for digest authentication alone: no other use of it is safe today.

use std::fmt::Write as _;

/// The digest of the parts, joined by colons, as 32 lower-case hexadecimal digits.
pub fn hex_of(parts: &[&str]) -> String {
    let mut text = String::with_capacity(32);
    for octet in digest(parts.join(":").as_bytes()) {
        let _ = write!(text, "{octet:02x}");
    }
    text
}

fn digest(input: &[u8]) -> [u8; 16] {
    let mut state = [0x6745_2301u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut padded = input.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() < input.len() + 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let at = padded.len() - 8;
    padded[at..].copy_from_slice(&(input.len() as u64 * 8).to_le_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = [0u32; 16];
        for (word, octets) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_le_bytes([octets[0], octets[1], octets[2], octets[3]]);
        }
        mix(&mut state, &words);
    }
    let mut out = [0; 16];
    for (chunk, word) in out.chunks_exact_mut(4).zip(state) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    out
}

fn mix(state: &mut [u32; 4], words: &[u32; 16]) {
    let [mut a, mut b, mut c, mut d] = *state;
    for step in 0..64usize {
        let (f, at) = match step / 16 {
            0 => ((b & c) | (!b & d), step),
            1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
            2 => (b ^ c ^ d, (3 * step + 5) % 16),
            _ => (c ^ (b | !d), (7 * step) % 16),
        };
        // The table of RFC 1321 section 3.4 is this function of the step.
        let constant = (f64::from(step as u32 + 1).sin().abs() * 4_294_967_296.0) as u32;
        let sum = a
            .wrapping_add(f)
            .wrapping_add(constant)
            .wrapping_add(words[at]);
        (a, d, c, b) = (
            d,
            c,
            b,
            b.wrapping_add(sum.rotate_left(TURNS[step / 16][step % 4])),
        );
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

const TURNS: [[u32; 4]; 4] = [
    [7, 12, 17, 22],
    [5, 9, 14, 20],
    [4, 11, 16, 23],
    [6, 10, 15, 21],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_of_rfc_1321() {
        for (input, wanted) in [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ] {
            assert_eq!(hex_of(&[input]), wanted);
        }
        let lengths = ["a".repeat(55), "a".repeat(56), "a".repeat(64)].map(|text| hex_of(&[&text]));
        assert_eq!(lengths[0], "ef1772b6dff9a122358552954ad0df65");
        assert_eq!(lengths[1], "3b0c8ac703f828b04c6c197006d17218");
        assert_eq!(lengths[2], "014842d480b571495a4a0363793f7367");
    }
}
