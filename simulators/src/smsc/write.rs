//! Writing SMPP 3.4: what a message centre says, appended to a buffer that goes out in one piece.

use super::pdu::{self, command, status, tag};

/// A response whose body is one C-octet string (binds: system id; submits: message id), or empty on errors.
pub fn response(out: &mut Vec<u8>, request: u32, status: u32, sequence: u32, text: Option<&[u8]>) {
    pdu(out, request | pdu::RESPONSE, status, sequence, |out| {
        if let Some(text) = text {
            cstring(out, text);
        }
    });
}

/// A good answer to a bind: our name and version.
pub fn bind_response(out: &mut Vec<u8>, request: u32, sequence: u32, name: &[u8]) {
    pdu(out, request | pdu::RESPONSE, status::OK, sequence, |out| {
        cstring(out, name);
        tlv(out, tag::SC_INTERFACE_VERSION, &[0x34]);
    });
}

/// A PDU without a body: enquire_link, unbind and their responses, generic_nack.
pub fn bare(out: &mut Vec<u8>, command: u32, status: u32, sequence: u32) {
    pdu(out, command, status, sequence, |_| {});
}

/// What a deliver_sm (or data_sm) carries to the gateway.
#[derive(Clone, Copy, Debug)]
pub struct Deliver<'a> {
    /// The phone, digits.
    pub from: Party<'a>,
    /// The sender that the text went out from.
    pub to: Party<'a>,
    /// 0x04 receipt, 0x20 intermediate notification, 0 inbound text.
    pub esm_class: u8,
    /// 0 default alphabet, 8 UCS-2.
    pub data_coding: u8,
    /// At most 254 octets.
    pub message: &'a [u8],
    /// TLV receipted_message_id.
    pub receipted_id: Option<&'a str>,
    /// TLV message_state.
    pub state: Option<u8>,
}

/// An address to write.
#[derive(Clone, Copy, Debug)]
pub struct Party<'a> {
    /// Type of number.
    pub ton: u8,
    /// Numbering plan.
    pub npi: u8,
    /// Digits or letters.
    pub addr: &'a [u8],
}

/// A deliver_sm (section 4.6.1).
pub fn deliver(out: &mut Vec<u8>, sequence: u32, deliver: &Deliver<'_>) {
    pdu(out, command::DELIVER_SM, status::OK, sequence, |out| {
        out.push(0); // service_type
        party(out, &deliver.from);
        party(out, &deliver.to);
        // esm_class; protocol_id, priority_flag; no schedule, no validity; no receipt wanted, no replacing
        out.extend_from_slice(&[deliver.esm_class, 0, 0, 0, 0, 0, 0, deliver.data_coding, 0]);
        let message = &deliver.message[..deliver.message.len().min(254)];
        out.push(message.len() as u8);
        out.extend_from_slice(message);
        receipt_tlvs(out, deliver);
    });
}

/// The same by data_sm (section 4.7.1), the text in message_payload.
pub fn data(out: &mut Vec<u8>, sequence: u32, deliver: &Deliver<'_>) {
    pdu(out, command::DATA_SM, status::OK, sequence, |out| {
        out.push(0); // service_type
        party(out, &deliver.from);
        party(out, &deliver.to);
        out.extend_from_slice(&[deliver.esm_class, 0, deliver.data_coding]);
        tlv(out, tag::MESSAGE_PAYLOAD, deliver.message);
        receipt_tlvs(out, deliver);
    });
}

fn receipt_tlvs(out: &mut Vec<u8>, deliver: &Deliver<'_>) {
    if let Some(id) = deliver.receipted_id {
        out.extend_from_slice(&tag::RECEIPTED_MESSAGE_ID.to_be_bytes());
        out.extend_from_slice(&(id.len() as u16 + 1).to_be_bytes());
        cstring(out, id.as_bytes());
    }
    if let Some(state) = deliver.state {
        tlv(out, tag::MESSAGE_STATE, &[state]);
    }
}

fn pdu(
    out: &mut Vec<u8>,
    command: u32,
    status: u32,
    sequence: u32,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    for word in [0, command, status, sequence] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    body(out);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn party(out: &mut Vec<u8>, party: &Party<'_>) {
    out.extend_from_slice(&[party.ton, party.npi]);
    cstring(out, party.addr);
}

fn cstring(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
}

fn tlv(out: &mut Vec<u8>, tag: u16, value: &[u8]) {
    out.extend_from_slice(&tag.to_be_bytes());
    out.extend_from_slice(&(value.len() as u16).to_be_bytes());
    out.extend_from_slice(value);
}
