//! Frames and PDUs of SMPP 3.4: what is read is never trusted, what is written is always whole.
//!
//! A frame's `command_length` is checked before anything is taken from it; a length inside a PDU never reaches
//! beyond that PDU. Reading copies only what outlives the buffer. Clause numbers are those of SMPP 3.4, issue 1.2.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::receipt::{TAG_MESSAGE_PAYLOAD, TAG_RECEIPTED_MESSAGE_ID};

/// Largest PDU that is taken. The protocol's own largest useful one is a 64 kB `message_payload`.
pub const MAX_PDU: usize = 65_536;
/// command_length, command_id, command_status, sequence_number (3.2).
pub const HEADER: usize = 16;
/// TLVs read from one PDU; the rest is left unread.
const MAX_TLVS: usize = 64;
/// Longest message id taken from a response; 3.4 says 65 with its NUL, the field knows longer ones.
const MAX_ID: usize = 255;

/// command_id (5.1.2.1).
pub mod command {
    pub const GENERIC_NACK: u32 = 0x8000_0000;
    pub const BIND_RECEIVER: u32 = 0x0000_0001;
    pub const BIND_TRANSMITTER: u32 = 0x0000_0002;
    pub const SUBMIT_SM: u32 = 0x0000_0004;
    pub const DELIVER_SM: u32 = 0x0000_0005;
    pub const UNBIND: u32 = 0x0000_0006;
    pub const BIND_TRANSCEIVER: u32 = 0x0000_0009;
    pub const OUTBIND: u32 = 0x0000_000B;
    pub const ENQUIRE_LINK: u32 = 0x0000_0015;
    pub const ALERT_NOTIFICATION: u32 = 0x0000_0102;
    pub const DATA_SM: u32 = 0x0000_0103;
    /// Set in the command_id of every response.
    pub const RESPONSE: u32 = 0x8000_0000;
}

/// The command_status values that the session itself says or reads (5.1.3).
pub mod status {
    pub const OK: u32 = 0x00;
    /// ESME_RINVCMDID
    pub const UNKNOWN_COMMAND: u32 = 0x03;
    /// ESME_RINVBNDSTS
    pub const WRONG_BIND_STATE: u32 = 0x04;
    /// ESME_RMSGQFUL: not now, but again later.
    pub const QUEUE_FULL: u32 = 0x14;
    /// ESME_RX_R_APPN: refused for good, so that the SMSC does not send it again.
    pub const REFUSED_FOR_GOOD: u32 = 0x66;
}

/// One PDU off the wire: its header's three words and its body.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    pub command: u32,
    pub status: u32,
    pub sequence: u32,
    pub body: Bytes,
}

private_debug!(Frame);

/// Why a stream can't be read on: its framing is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Below the header's own sixteen octets.
    TooShort(u32),
    /// Over [`MAX_PDU`].
    TooLong(u32),
}

impl FrameError {
    pub fn reason(self) -> String {
        match self {
            FrameError::TooShort(n) => {
                format!("peer sent a command_length of {n}, below its own header")
            }
            FrameError::TooLong(n) => format!("peer sent a command_length of {n}, over {MAX_PDU}"),
        }
    }
}

/// Takes the next whole frame off `input`; none where more octets are needed.
pub fn take_frame(input: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some(length) = input
        .first_chunk::<4>()
        .map(|octets| u32::from_be_bytes(*octets))
    else {
        return Ok(None);
    };
    let size = length as usize;
    if size < HEADER {
        return Err(FrameError::TooShort(length));
    }
    if size > MAX_PDU {
        return Err(FrameError::TooLong(length));
    }
    if input.len() < size {
        return Ok(None);
    }
    let mut pdu = input.split_to(size).freeze();
    pdu.advance(4);
    Ok(Some(Frame {
        command: pdu.get_u32(),
        status: pdu.get_u32(),
        sequence: pdu.get_u32(),
        body: pdu,
    }))
}

/// An address with its type of number and numbering plan (5.2.5, 5.2.6).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SmppAddress {
    pub ton: u8,
    pub npi: u8,
    pub digits: String,
}

private_debug!(SmppAddress);

/// deliver_sm or data_sm: a receipt, an intermediate notification or a text from a phone (4.6, 4.7).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Deliver {
    pub source: SmppAddress,
    pub destination: SmppAddress,
    pub esm_class: u8,
    pub data_coding: u8,
    /// `short_message`, or `message_payload` where that is empty.
    pub message: Bytes,
    /// Tag and value, in order.
    pub tlvs: Vec<(u16, Bytes)>,
}

/// Says the shape, never the content.
impl std::fmt::Debug for Deliver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Deliver(esm_class {:#04x}, {} octets, {} tlvs)",
            self.esm_class,
            self.message.len(),
            self.tlvs.len()
        )
    }
}

impl Deliver {
    /// The body of a deliver_sm; none where its mandatory part breaks off. `sm_length` is cut to what is there.
    pub fn parse_deliver_sm(body: Bytes) -> Option<Deliver> {
        let mut at = Reader(body);
        at.c_string()?; // service_type
        let source = at.address()?;
        let destination = at.address()?;
        let esm_class = at.octet()?;
        at.octet()?; // protocol_id
        at.octet()?; // priority_flag
        at.c_string()?; // schedule_delivery_time
        at.c_string()?; // validity_period
        at.octet()?; // registered_delivery
        at.octet()?; // replace_if_present_flag
        let data_coding = at.octet()?;
        at.octet()?; // sm_default_msg_id
        let length = usize::from(at.octet()?);
        let message = at.take(length);
        Some(
            Deliver {
                source,
                destination,
                esm_class,
                data_coding,
                message,
                tlvs: at.tlvs(),
            }
            .with_payload(),
        )
    }

    /// The body of a data_sm.
    pub fn parse_data_sm(body: Bytes) -> Option<Deliver> {
        let mut at = Reader(body);
        at.c_string()?; // service_type
        let source = at.address()?;
        let destination = at.address()?;
        let esm_class = at.octet()?;
        at.octet()?; // registered_delivery
        let data_coding = at.octet()?;
        let tlvs = at.tlvs();
        Some(
            Deliver {
                source,
                destination,
                esm_class,
                data_coding,
                message: Bytes::new(),
                tlvs,
            }
            .with_payload(),
        )
    }

    /// The value of a TLV.
    pub fn tlv(&self, tag: u16) -> Option<&Bytes> {
        self.tlvs
            .iter()
            .find(|(t, _)| *t == tag)
            .map(|(_, value)| value)
    }

    fn with_payload(mut self) -> Deliver {
        if self.message.is_empty()
            && let Some(payload) = self.tlv(TAG_MESSAGE_PAYLOAD).cloned()
        {
            self.message = payload;
        }
        self
    }
}

/// The `message_id` of a submit_sm_resp: up to its NUL, or all there is, blanks and line ends around it gone. Where that
/// is empty, the TLV `receipted_message_id` (5.3.2.12), which some send in its place; some leave out even the NUL in
/// front of it.
pub fn message_id(body: &Bytes) -> String {
    let end = body.iter().position(|octet| *octet == 0);
    let id = trimmed_id(&body[..end.unwrap_or(body.len())]);
    if !id.is_empty() {
        return id;
    }
    let behind = end.map_or(body.len(), |end| end + 1);
    [behind, 0]
        .into_iter()
        .find_map(|from| {
            let tlvs = Reader(body.slice(from..)).tlvs();
            let (_, value) = tlvs
                .into_iter()
                .find(|(tag, _)| *tag == TAG_RECEIPTED_MESSAGE_ID)?;
            let id = value.split(|octet| *octet == 0).next().unwrap_or_default();
            Some(trimmed_id(id)).filter(|id| !id.is_empty())
        })
        .unwrap_or_default()
}

fn trimmed_id(octets: &[u8]) -> String {
    let id = latin1(octets);
    let id = id.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    id.chars().take(MAX_ID).collect()
}

/// One submit_sm as we send it: a whole text or one of its parts (4.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Submit<'a> {
    pub source: Sender<'a>,
    /// Digits of the international number, without plus: ton 1, npi 1.
    pub destination: &'a str,
    pub esm_class: u8,
    pub data_coding: u8,
    /// Seconds from now; written relative (7.1.1).
    pub validity_s: u32,
    /// At most 254 octets; a longer one is not sent (see [`Submit::fits`]).
    pub message: &'a [u8],
}

/// The source address of a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender<'a> {
    pub ton: u8,
    pub npi: u8,
    pub address: &'a str,
}

impl Submit<'_> {
    /// Whether its fields fit their places: addresses of 20 characters without a NUL, a message of 254 octets.
    pub fn fits(&self) -> bool {
        let address = |text: &str| {
            text.len() <= 20 && !text.is_empty() && text.bytes().all(|b| (0x20..0x7F).contains(&b))
        };
        address(self.source.address) && address(self.destination) && self.message.len() <= 254
    }

    pub fn write(&self, sequence: u32, out: &mut BytesMut) {
        pdu(out, command::SUBMIT_SM, status::OK, sequence, |out| {
            out.put_u8(0); // service_type
            out.put_u8(self.source.ton);
            out.put_u8(self.source.npi);
            c_string(out, self.source.address);
            out.put_u8(1); // dest_addr_ton: international
            out.put_u8(1); // dest_addr_npi: E.164
            c_string(out, self.destination);
            out.put_u8(self.esm_class);
            out.put_u8(0); // protocol_id
            out.put_u8(0); // priority_flag
            out.put_u8(0); // schedule_delivery_time: now
            validity(out, self.validity_s);
            out.put_u8(1); // registered_delivery: a receipt, whatever the outcome
            out.put_u8(0); // replace_if_present_flag
            out.put_u8(self.data_coding);
            out.put_u8(0); // sm_default_msg_id
            let length = self.message.len().min(254);
            out.put_u8(length as u8);
            out.put_slice(&self.message[..length]);
        });
    }
}

/// bind_transceiver (4.1.5).
pub fn write_bind_transceiver(
    system_id: &str,
    password: &str,
    system_type: &str,
    sequence: u32,
    out: &mut BytesMut,
) {
    pdu(
        out,
        command::BIND_TRANSCEIVER,
        status::OK,
        sequence,
        |out| {
            c_string(out, system_id);
            c_string(out, password);
            c_string(out, system_type);
            out.put_u8(0x34); // interface_version
            out.put_u8(0); // addr_ton
            out.put_u8(0); // addr_npi
            out.put_u8(0); // address_range
        },
    );
}

/// A PDU that is its header alone: enquire_link, unbind, generic_nack and the plain responses.
pub fn write_bare(command: u32, status: u32, sequence: u32, out: &mut BytesMut) {
    pdu(out, command, status, sequence, |_| ());
}

/// deliver_sm_resp, data_sm_resp: an empty message_id (4.6.2).
pub fn write_delivered(command: u32, status: u32, sequence: u32, out: &mut BytesMut) {
    pdu(out, command | command::RESPONSE, status, sequence, |out| {
        out.put_u8(0)
    });
}

fn pdu(
    out: &mut BytesMut,
    command: u32,
    status: u32,
    sequence: u32,
    body: impl FnOnce(&mut BytesMut),
) {
    let start = out.len();
    out.put_u32(0);
    out.put_u32(command);
    out.put_u32(status);
    out.put_u32(sequence);
    body(out);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// What stands behind a NUL would be read as the next field: it is cut there.
fn c_string(out: &mut BytesMut, text: &str) {
    out.extend(text.bytes().take_while(|octet| *octet != 0));
    out.put_u8(0);
}

/// Relative time, `YYMMDDhhmmss000R` (7.1.1.2).
fn validity(out: &mut BytesMut, seconds: u32) {
    let days = (seconds / 86_400).min(30);
    let (hours, minutes, seconds) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    out.put_slice(b"0000");
    for two in [days, hours, minutes, seconds] {
        out.put_slice(&[b'0' + (two / 10) as u8, b'0' + (two % 10) as u8]);
    }
    out.put_slice(b"000R\0");
}

fn latin1(octets: &[u8]) -> String {
    octets.iter().map(|octet| char::from(*octet)).collect()
}

/// Reads a body from the front; every step checks that it is there.
struct Reader(Bytes);

impl Reader {
    fn octet(&mut self) -> Option<u8> {
        let octet = *self.0.first()?;
        self.0.advance(1);
        Some(octet)
    }

    /// Up to a NUL, however long: the field's own limits are the peer's matter.
    fn c_string(&mut self) -> Option<Bytes> {
        let end = self.0.iter().position(|octet| *octet == 0)?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        Some(text)
    }

    fn address(&mut self) -> Option<SmppAddress> {
        Some(SmppAddress {
            ton: self.octet()?,
            npi: self.octet()?,
            digits: latin1(&self.c_string()?),
        })
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.0.split_to(length.min(self.0.len()))
    }

    /// What is left, as far as it is well-formed; a value that breaks off ends the list.
    fn tlvs(&mut self) -> Vec<(u16, Bytes)> {
        let mut tlvs = Vec::new();
        while self.0.len() >= 4 && tlvs.len() < MAX_TLVS {
            let (tag, length) = (self.0.get_u16(), usize::from(self.0.get_u16()));
            if length > self.0.len() {
                break;
            }
            tlvs.push((tag, self.0.split_to(length)));
        }
        tlvs
    }
}

#[cfg(test)]
mod tests;
