//! Blocks of IP addresses, as `192.0.2.0/24` or `2001:db8::/32`; a single address is a block of its own.

use std::{fmt, net::IpAddr, str::FromStr};

/// A block: the addresses that share its first `length` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    length: u8,
}

impl Cidr {
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(block), IpAddr::V4(address)) => {
                shifted(block.to_bits().into(), 32 - self.length)
                    == shifted(address.to_bits().into(), 32 - self.length)
            }
            (IpAddr::V6(block), IpAddr::V6(address)) => {
                shifted(block.to_bits(), 128 - self.length)
                    == shifted(address.to_bits(), 128 - self.length)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// A shift by all bits leaves nothing.
fn shifted(bits: u128, by: u8) -> u128 {
    bits.checked_shr(by.into()).unwrap_or(0)
}

/// Not an address, or not a length that its family has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an address or a block, such as \"192.0.2.7\" or \"192.0.2.0/24\"")]
pub struct NoCidr;

impl FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Cidr, NoCidr> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoCidr)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => most,
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => {
                text.parse().ok().filter(|l| *l <= most).ok_or(NoCidr)?
            }
            Some(_) => return Err(NoCidr),
        };
        Ok(Cidr { address, length })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_holds_what_shares_its_first_bits() {
        for (block, inside, outside) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.0/24", "192.0.2.255", "192.0.3.0"),
            ("0.0.0.0/0", "255.1.2.3", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("192.0.2.0/31", "::ffff:192.0.2.1", "::ffff:192.0.2.2"),
        ] {
            let block: Cidr = block.parse().expect("a block");
            assert!(
                block.contains(inside.parse().expect("an address")),
                "{block} {inside}"
            );
            assert!(
                !block.contains(outside.parse().expect("an address")),
                "{block} {outside}"
            );
        }
    }

    #[test]
    fn what_is_no_block_is_refused() {
        for text in [
            "",
            "x",
            "192.0.2.0/33",
            "192.0.2.0/",
            "192.0.2.0/+1",
            "192.0.2/24",
            "::/129",
            "[::1]",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(NoCidr), "{text}");
        }
    }
}
