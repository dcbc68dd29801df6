//! Type of number and numbering plan of a sender (SMPP 3.4, 5.2.5 and 5.2.6), by what the sender looks like.

use crate::protocol::smpp::pdu::Sender;

/// TON and NPI per kind of sender, as carriers usually want them.
const SHORT_CODE: (u8, u8) = (3, 0); // network specific, unknown plan
const ALPHANUMERIC: (u8, u8) = (5, 0);
const INTERNATIONAL: (u8, u8) = (1, 1); // E.164

/// Most digits of a short code.
const SHORT: usize = 8;

pub fn sender(shown: &str) -> Sender<'_> {
    let digits = shown.strip_prefix('+').unwrap_or(shown);
    let numeric = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let ((ton, npi), address) = match numeric {
        true if shown.len() == digits.len() && digits.len() <= SHORT => (SHORT_CODE, digits),
        true => (INTERNATIONAL, digits),
        false => (ALPHANUMERIC, shown),
    };
    Sender { ton, npi, address }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_sender_has_its_ton_and_npi() {
        assert_eq!(
            sender("97671"),
            Sender {
                ton: 3,
                npi: 0,
                address: "97671"
            }
        );
        assert_eq!(
            sender("+18553308653"),
            Sender {
                ton: 1,
                npi: 1,
                address: "18553308653"
            }
        );
        assert_eq!(
            sender("18553308653"),
            Sender {
                ton: 1,
                npi: 1,
                address: "18553308653"
            }
        );
        assert_eq!(
            sender("Ringback"),
            Sender {
                ton: 5,
                npi: 0,
                address: "Ringback"
            }
        );
        assert_eq!(
            sender("3COM"),
            Sender {
                ton: 5,
                npi: 0,
                address: "3COM"
            }
        );
    }
}
