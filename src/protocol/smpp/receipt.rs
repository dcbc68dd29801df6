//! Delivery receipts: what a `deliver_sm` or `data_sm` from the SMSC says about a message we sent
//! (SMPP 3.4, 5.2.12 for `esm_class`, 5.3.2.35 for `message_state`, appendix B for the text).
//! Carriers write the text as they please, so it is read with tolerance, and TLVs win over it. Pure.

use std::fmt;

mod fields;

pub use fields::Fields;

/// `receipted_message_id` (5.3.2.12).
pub const TAG_RECEIPTED_MESSAGE_ID: u16 = 0x001e;
/// `message_payload` (5.3.2.32): carries the text where `short_message` is empty.
pub const TAG_MESSAGE_PAYLOAD: u16 = 0x0424;
/// `network_error_code` (5.3.2.31): one octet for the kind of network, two for its code.
pub const TAG_NETWORK_ERROR_CODE: u16 = 0x0423;
/// `message_state` (5.3.2.35).
pub const TAG_MESSAGE_STATE: u16 = 0x0427;

/// `esm_class`: the bits of the message type, and the one that announces a user data header.
const MESSAGE_TYPE: u8 = 0x3c;
const TYPE_RECEIPT: u8 = 0x04;
const TYPE_INTERMEDIATE: u8 = 0x20;
const UDHI: u8 = 0x40;

/// What came in, as far as a receipt may stand in it.
#[derive(Clone, Copy, Default)]
pub struct Incoming<'a> {
    pub esm_class: u8,
    pub data_coding: u8,
    pub short_message: &'a [u8],
    /// Tag and value, in any order; the first of a tag counts.
    pub tlvs: &'a [(u16, &'a [u8])],
}

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiptKind {
    /// A final word on a message of ours.
    Receipt,
    /// A word on the way: more will follow.
    Intermediate,
    /// No receipt: a person wrote it.
    MobileOriginated,
    /// Announced as a receipt, but it names neither a message nor a state.
    Unparsable,
}

impl ReceiptKind {
    /// `receipt`, `intermediate`, `mo`, `unparsable`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReceiptKind::Receipt => "receipt",
            ReceiptKind::Intermediate => "intermediate",
            ReceiptKind::MobileOriginated => "mo",
            ReceiptKind::Unparsable => "unparsable",
        }
    }
}

/// States of a message (5.2.28), and two of SMPP 5.0 that carriers send on 3.4 links too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageState {
    Scheduled,
    Enroute,
    Delivered,
    Expired,
    Deleted,
    Undeliverable,
    Accepted,
    Unknown,
    Rejected,
    Skipped,
}

impl MessageState {
    /// The name in lower case.
    pub const fn as_str(self) -> &'static str {
        match self {
            MessageState::Scheduled => "scheduled",
            MessageState::Enroute => "enroute",
            MessageState::Delivered => "delivered",
            MessageState::Expired => "expired",
            MessageState::Deleted => "deleted",
            MessageState::Undeliverable => "undeliverable",
            MessageState::Accepted => "accepted",
            MessageState::Unknown => "unknown",
            MessageState::Rejected => "rejected",
            MessageState::Skipped => "skipped",
        }
    }

    /// From the TLV's octet; what no table names is unknown.
    pub const fn from_octet(octet: u8) -> MessageState {
        match octet {
            0 => MessageState::Scheduled,
            1 => MessageState::Enroute,
            2 => MessageState::Delivered,
            3 => MessageState::Expired,
            4 => MessageState::Deleted,
            5 => MessageState::Undeliverable,
            6 => MessageState::Accepted,
            8 => MessageState::Rejected,
            9 => MessageState::Skipped,
            _ => MessageState::Unknown,
        }
    }

    /// From the text's `stat`, cut to seven letters or written out, in any case.
    pub fn from_word(word: &str) -> MessageState {
        const BEGINNINGS: [(&str, MessageState); 18] = [
            ("UNDEL", MessageState::Undeliverable),
            ("DELIV", MessageState::Delivered),
            ("DELET", MessageState::Deleted),
            ("DLVRD", MessageState::Delivered),
            ("EXPIR", MessageState::Expired),
            ("ACCEP", MessageState::Accepted),
            ("ACK", MessageState::Accepted),
            ("REJ", MessageState::Rejected),
            ("ENROUT", MessageState::Enroute),
            ("BUFFER", MessageState::Enroute),
            ("BUFFRED", MessageState::Enroute),
            ("SCHED", MessageState::Scheduled),
            ("SKIP", MessageState::Skipped),
            ("FAIL", MessageState::Undeliverable),
            ("NOTDEL", MessageState::Undeliverable),
            ("CANCEL", MessageState::Deleted),
            ("INPROC", MessageState::Enroute),
            ("PENDIN", MessageState::Enroute),
        ];
        let word: String = word
            .chars()
            .filter(char::is_ascii_alphabetic)
            .collect::<String>()
            .to_ascii_uppercase();
        let known = BEGINNINGS
            .iter()
            .find(|(beginning, _)| word.starts_with(beginning));
        known.map_or(MessageState::Unknown, |(_, state)| *state)
    }

    /// Whether nothing more is expected. `unknown` is final: the SMSC has lost the message's trace.
    pub const fn is_final(self) -> bool {
        match self {
            MessageState::Scheduled | MessageState::Enroute | MessageState::Accepted => false,
            MessageState::Delivered
            | MessageState::Expired
            | MessageState::Deleted
            | MessageState::Undeliverable
            | MessageState::Unknown
            | MessageState::Rejected
            | MessageState::Skipped => true,
        }
    }
}

/// The TLV `network_error_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkError {
    /// 1 ANSI-136, 2 IS-95, 3 GSM; others are the carrier's own.
    pub network: u8,
    pub code: u16,
}

/// What was read. Every field but `kind` may be missing.
#[derive(Clone, PartialEq, Eq)]
pub struct Receipt {
    pub kind: ReceiptKind,
    /// The carrier's id of our message: the TLV's, else the text's; as written, spaces around it gone.
    pub id: Option<String>,
    /// The text's word for the state, as written.
    pub stat: Option<String>,
    pub state: Option<MessageState>,
    pub sub: Option<String>,
    pub dlvrd: Option<String>,
    pub submit: Option<String>,
    pub done: Option<String>,
    /// The TLV's code in decimal, else the text's `err`, as written.
    pub err: Option<String>,
    pub network_error: Option<NetworkError>,
    /// The beginning of our own text, where the carrier repeats it.
    pub text: Option<String>,
}

/// Says what became of which message, never its text.
impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("stat", &self.stat)
            .field("state", &self.state)
            .field("err", &self.err)
            .finish_non_exhaustive()
    }
}

/// Reads what came in. Never fails: what cannot be read says so in its kind.
pub fn read(incoming: &Incoming<'_>) -> Receipt {
    let tlv = |tag: u16| {
        incoming
            .tlvs
            .iter()
            .find(|(known, _)| *known == tag)
            .map(|(_, value)| *value)
    };
    let message = match tlv(TAG_MESSAGE_PAYLOAD) {
        Some(payload) if incoming.short_message.is_empty() => payload,
        _ => incoming.short_message,
    };
    let text = decode(
        skip_header(message, incoming.esm_class),
        incoming.data_coding,
    );
    let fields = Fields::read(&text);

    let tlv_id = tlv(TAG_RECEIPTED_MESSAGE_ID).and_then(c_octet_string);
    let tlv_state = tlv(TAG_MESSAGE_STATE)
        .and_then(<[u8]>::first)
        .map(|octet| MessageState::from_octet(*octet));
    let network_error = tlv(TAG_NETWORK_ERROR_CODE).and_then(network_error);

    let message_type = incoming.esm_class & MESSAGE_TYPE;
    let announced = message_type == TYPE_RECEIPT || message_type == TYPE_INTERMEDIATE;
    if !(announced || tlv_id.is_some() || fields.is_unmistakable()) {
        return Receipt {
            text: some(text),
            ..Receipt::empty(ReceiptKind::MobileOriginated)
        };
    }
    let state = tlv_state.or_else(|| fields.stat.as_deref().map(MessageState::from_word));
    let id = tlv_id.or(fields.id);
    if id.is_none() && state.is_none() {
        return Receipt {
            text: some(text),
            network_error,
            ..Receipt::empty(ReceiptKind::Unparsable)
        };
    }
    let on_the_way =
        message_type == TYPE_INTERMEDIATE || state.is_some_and(|state| !state.is_final());
    Receipt {
        kind: if on_the_way {
            ReceiptKind::Intermediate
        } else {
            ReceiptKind::Receipt
        },
        id,
        stat: fields.stat,
        state,
        sub: fields.sub,
        dlvrd: fields.dlvrd,
        submit: fields.submit,
        done: fields.done,
        err: network_error
            .map(|error| format!("{:03}", error.code))
            .or(fields.err),
        network_error,
        text: fields.text,
    }
}

impl Receipt {
    const fn empty(kind: ReceiptKind) -> Receipt {
        Receipt {
            kind,
            id: None,
            stat: None,
            state: None,
            sub: None,
            dlvrd: None,
            submit: None,
            done: None,
            err: None,
            network_error: None,
            text: None,
        }
    }
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// The octets behind a user data header; a header longer than the message is none.
fn skip_header(message: &[u8], esm_class: u8) -> &[u8] {
    if esm_class & UDHI == 0 {
        return message;
    }
    message
        .first()
        .and_then(|length| message.get(1 + usize::from(*length)..))
        .unwrap_or(message)
}

/// Receipts are ASCII in every alphabet that carriers use, but for the underscore and the at sign, which GSM
/// keeps below 0x20. UCS-2 is read as such; octets beyond ASCII as Latin-1. NULs at the end are padding.
fn decode(octets: &[u8], data_coding: u8) -> String {
    const UCS2: u8 = 0x08;
    // Some announce UCS-2 and send ASCII: a receipt in UCS-2 has a NUL in front of every letter.
    if data_coding == UCS2 && (octets.first() == Some(&0) || !octets.is_ascii()) {
        let units = octets
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
        let text: String = char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect();
        return text.trim_end_matches('\0').to_owned();
    }
    let end = octets
        .iter()
        .rposition(|octet| *octet != 0)
        .map_or(0, |last| last + 1);
    let gsm = data_coding == 0;
    octets[..end]
        .iter()
        .map(|octet| match octet {
            0x00 if gsm => '@',
            0x11 if gsm => '_',
            octet => char::from(*octet),
        })
        .collect()
}

/// A C-octet string TLV: up to the first NUL, spaces around it gone; empty is none.
fn c_octet_string(value: &[u8]) -> Option<String> {
    let end = value
        .iter()
        .position(|octet| *octet == 0)
        .unwrap_or(value.len());
    let text: String = value[..end]
        .iter()
        .map(|octet| char::from(*octet))
        .collect();
    some(text.trim().to_owned())
}

fn network_error(value: &[u8]) -> Option<NetworkError> {
    match value {
        [network, high, low, ..] => Some(NetworkError {
            network: *network,
            code: u16::from_be_bytes([*high, *low]),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
