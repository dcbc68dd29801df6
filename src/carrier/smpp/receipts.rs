//! What came in by deliver_sm or data_sm, in the gateway's words: a receipt or a text from a phone.

use std::sync::Arc;

use super::status::Statuses;
use crate::{
    carrier::{Inbound, Incoming, Receipt, ReceiptState},
    message::text,
    protocol::smpp::{
        Deliver,
        receipt::{self, MessageState, ReceiptKind},
    },
};

/// None: it names no message and is no text; counted by the caller.
pub fn read(deliver: &Deliver, statuses: &Statuses) -> Option<Incoming> {
    let tlvs: Vec<(u16, &[u8])> = deliver
        .tlvs
        .iter()
        .map(|(tag, value)| (*tag, &value[..]))
        .collect();
    let read = receipt::read(&receipt::Incoming {
        esm_class: deliver.esm_class,
        data_coding: deliver.data_coding,
        short_message: &deliver.message,
        tlvs: &tlvs,
    });
    let on_the_way = match read.kind {
        ReceiptKind::Receipt => false,
        ReceiptKind::Intermediate => true,
        ReceiptKind::MobileOriginated => return Some(Incoming::Text(inbound(deliver))),
        ReceiptKind::Unparsable => return None,
    };
    let state = match (on_the_way, read.state) {
        (true, _) => ReceiptState::Intermediate,
        (false, state) => final_state(state),
    };
    Some(Incoming::Receipt(Receipt {
        references: read.id.into_iter().map(Arc::from).collect(),
        state,
        cause: read
            .err
            .as_deref()
            .and_then(|err| statuses.receipt_cause(err)),
        carrier_code: read.err.map(Arc::from),
        // The receipt travels from the phone to our sender.
        phone: digits(&deliver.source.digits),
        sender: digits(&deliver.destination.digits),
    }))
}

fn final_state(state: Option<MessageState>) -> ReceiptState {
    match state {
        Some(MessageState::Delivered) => ReceiptState::Delivered,
        Some(MessageState::Expired) => ReceiptState::Expired,
        Some(MessageState::Undeliverable | MessageState::Deleted | MessageState::Skipped) => {
            ReceiptState::Undelivered
        }
        Some(MessageState::Rejected) => ReceiptState::Rejected,
        Some(MessageState::Scheduled | MessageState::Enroute | MessageState::Accepted) => {
            ReceiptState::Intermediate
        }
        Some(MessageState::Unknown) | None => ReceiptState::Unknown,
    }
}

/// Numbers come with or without plus; the digits are compared.
fn digits(address: &str) -> Option<Arc<str>> {
    let bare = address.trim().trim_start_matches('+');
    (!bare.is_empty()).then(|| bare.into())
}

fn inbound(deliver: &Deliver) -> Inbound {
    /// data_coding (5.2.19).
    const LATIN1: u8 = 3;
    const UCS2: u8 = 8;
    let mut octets = &deliver.message[..];
    if deliver.esm_class & text::UDHI != 0
        && let Some(behind) = octets
            .first()
            .and_then(|length| octets.get(1 + usize::from(*length)..))
    {
        octets = behind;
    }
    let body = match deliver.data_coding {
        0 => text::decode_gsm(octets),
        UCS2 => text::decode_ucs2(octets),
        LATIN1 => octets.iter().map(|octet| char::from(*octet)).collect(),
        _ => String::from_utf8_lossy(octets).into_owned(),
    };
    let international = |ton: u8, address: &str| -> Arc<str> {
        let address = address.trim();
        if ton == 1 && !address.starts_with('+') {
            format!("+{address}").into()
        } else {
            address.into()
        }
    };
    Inbound {
        from: international(deliver.source.ton, &deliver.source.digits),
        to: international(deliver.destination.ton, &deliver.destination.digits),
        body: body.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::smpp::SmppAddress;

    fn deliver(esm_class: u8, message: &'static [u8]) -> Deliver {
        Deliver {
            source: SmppAddress {
                ton: 1,
                npi: 1,
                digits: "12025550123".into(),
            },
            destination: SmppAddress {
                ton: 3,
                npi: 0,
                digits: "97671".into(),
            },
            esm_class,
            message: message.into(),
            ..Deliver::default()
        }
    }

    #[test]
    fn a_receipt_says_state_code_and_addresses() {
        let own = [(Arc::from("027"), crate::cause::Cause::HandsetOff)].into();
        let statuses = Statuses::new(&own);
        let message = b"id:4711 sub:001 dlvrd:000 submit date:2401011200 done date:2401011201 stat:UNDELIV err:027 text:";
        let Some(Incoming::Receipt(receipt)) = read(&deliver(4, message), &statuses) else {
            panic!("no receipt");
        };
        assert_eq!(receipt.references, ["4711".into()]);
        assert_eq!(receipt.state, ReceiptState::Undelivered);
        assert_eq!(receipt.carrier_code.as_deref(), Some("027"));
        assert_eq!(receipt.cause, Some(crate::cause::Cause::HandsetOff));
        assert_eq!(
            (receipt.phone.as_deref(), receipt.sender.as_deref()),
            (Some("12025550123"), Some("97671"))
        );
    }

    #[test]
    fn a_text_from_a_phone_is_no_receipt() {
        let Some(Incoming::Text(text)) = read(&deliver(0, b"yes"), &Statuses::default()) else {
            panic!("no text");
        };
        assert_eq!(
            (&*text.from, &*text.to, &*text.body),
            ("+12025550123", "97671", "yes")
        );
        let part = deliver(0x40, &[0x05, 0, 3, 1, 2, 1, b'h', b'i']);
        let Some(Incoming::Text(text)) = read(&part, &Statuses::default()) else {
            panic!("no text")
        };
        assert_eq!(&*text.body, "hi");
    }

    #[test]
    fn something_on_its_way_is_never_final() {
        let message = b"id:4711 stat:ENROUTE err:000";
        let Some(Incoming::Receipt(receipt)) = read(&deliver(4, message), &Statuses::default())
        else {
            panic!("no receipt");
        };
        assert_eq!(receipt.state, ReceiptState::Intermediate);
    }
}
