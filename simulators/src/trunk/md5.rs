//! MD5 (RFC 1321), for digest authentication alone: no other use of it is safe today.

use md5::{Digest, Md5};

/// The digest of the parts, joined by colons, as 32 lower-case hexadecimal digits.
pub fn hex_of(parts: &[&str]) -> String {
    hex::encode(Md5::digest(parts.join(":")))
}

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
    }
}
