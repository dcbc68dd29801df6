//! SMPP 3.4 as octets: frames and headers, and the requests and responses that reach a message centre.
//! Reading borrows from the frame and never panics; what breaks a rule is a [`Fault`] that says which.
//! Writing stands in `write.rs`. Section numbers are those of "SMPP v3.4, issue 1.2".

use std::fmt;

/// Octets of a header (section 3.2).
pub const HEADER: usize = 16;
/// A longer PDU is not believed.
pub const MAX_PDU: usize = 65_536;
/// The highest sequence number of a request (section 3.2).
pub const MAX_SEQUENCE: u32 = 0x7FFF_FFFF;
/// Set in the command id of every response.
pub const RESPONSE: u32 = 0x8000_0000;

/// Command ids (section 5.1.2.1).
pub mod command {
    pub const GENERIC_NACK: u32 = 0x8000_0000;
    pub const BIND_RECEIVER: u32 = 0x01;
    pub const BIND_TRANSMITTER: u32 = 0x02;
    pub const QUERY_SM: u32 = 0x03;
    pub const SUBMIT_SM: u32 = 0x04;
    pub const DELIVER_SM: u32 = 0x05;
    pub const UNBIND: u32 = 0x06;
    pub const CANCEL_SM: u32 = 0x08;
    pub const BIND_TRANSCEIVER: u32 = 0x09;
    pub const ENQUIRE_LINK: u32 = 0x15;
    pub const DATA_SM: u32 = 0x103;
}

/// Command statuses (section 5.1.3).
pub mod status {
    pub const OK: u32 = 0x00;
    pub const INVALID_MESSAGE_LENGTH: u32 = 0x01;
    pub const INVALID_COMMAND_LENGTH: u32 = 0x02;
    pub const INVALID_COMMAND: u32 = 0x03;
    pub const INVALID_BIND_STATUS: u32 = 0x04;
    pub const ALREADY_BOUND: u32 = 0x05;
    pub const SYSTEM_ERROR: u32 = 0x08;
    pub const INVALID_SOURCE: u32 = 0x0A;
    pub const INVALID_DESTINATION: u32 = 0x0B;
    pub const BIND_FAILED: u32 = 0x0D;
    pub const INVALID_PASSWORD: u32 = 0x0E;
    pub const INVALID_SYSTEM_ID: u32 = 0x0F;
    pub const CANCEL_FAILED: u32 = 0x11;
    pub const QUEUE_FULL: u32 = 0x14;
    pub const INVALID_ESM_CLASS: u32 = 0x43;
    pub const SUBMIT_FAILED: u32 = 0x45;
    pub const THROTTLED: u32 = 0x58;
    pub const INVALID_EXPIRY: u32 = 0x62;
    pub const QUERY_FAILED: u32 = 0x67;
    pub const INVALID_OPTIONAL_PART: u32 = 0xC0;
}

/// Tags of optional parameters (section 5.3.2).
pub mod tag {
    pub const RECEIPTED_MESSAGE_ID: u16 = 0x001E;
    pub const USER_MESSAGE_REFERENCE: u16 = 0x0204;
    pub const SAR_REFERENCE: u16 = 0x020C;
    pub const SAR_TOTAL: u16 = 0x020E;
    pub const SAR_SEQUENCE: u16 = 0x020F;
    pub const SC_INTERFACE_VERSION: u16 = 0x0210;
    pub const MESSAGE_PAYLOAD: u16 = 0x0424;
    pub const MESSAGE_STATE: u16 = 0x0427;
}

/// A rule that a PDU breaks. Carries no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `command_length` below 16 or above [`MAX_PDU`]: the stream can't be read on.
    CommandLength(u32),
    /// The body ends inside this field.
    Cut(&'static str),
    /// The field is longer than the standard allows.
    TooLong(&'static str),
    /// The field's value is outside what the standard allows.
    Value(&'static str),
    /// Octets are left after the last mandatory field that are no optional parameter.
    Trailing,
}

impl Fault {
    /// The status to answer with.
    pub fn status(self) -> u32 {
        match self {
            Fault::CommandLength(_) | Fault::Cut(_) | Fault::TooLong(_) => {
                status::INVALID_COMMAND_LENGTH
            }
            Fault::Value("sm_length" | "short_message") => status::INVALID_MESSAGE_LENGTH,
            Fault::Value("validity_period") => status::INVALID_EXPIRY,
            Fault::Value("source_addr") => status::INVALID_SOURCE,
            Fault::Value("destination_addr") => status::INVALID_DESTINATION,
            Fault::Value("esm_class" | "user_data_header") => status::INVALID_ESM_CLASS,
            Fault::Value(_) => status::SUBMIT_FAILED,
            Fault::Trailing => status::INVALID_OPTIONAL_PART,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::CommandLength(length) => {
                write!(f, "command_length {length} is not between 16 and {MAX_PDU}")
            }
            Fault::Cut(field) => write!(f, "the PDU ends inside {field}"),
            Fault::TooLong(field) => write!(f, "{field} is longer than SMPP 3.4 allows"),
            Fault::Value(field) => write!(f, "{field} has a value that SMPP 3.4 does not allow"),
            Fault::Trailing => write!(
                f,
                "octets after the mandatory fields are no optional parameter"
            ),
        }
    }
}

/// The four words before every body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Octets of the whole PDU.
    pub length: u32,
    /// See [`command`].
    pub command: u32,
    /// See [`status`].
    pub status: u32,
    /// Pairs request and response.
    pub sequence: u32,
}

impl Header {
    /// Is it a response (or a generic_nack)?
    pub fn is_response(&self) -> bool {
        self.command & RESPONSE != 0
    }
}

/// The first whole PDU in `stream`: its header and body; none while it is incomplete.
pub fn split(stream: &[u8]) -> Result<Option<(Header, &[u8])>, Fault> {
    let Some((header, _)) = stream.split_at_checked(HEADER) else {
        // A bad length is told at once, even before the rest of the header has come.
        if let Some(length) = stream.first_chunk().map(|b| u32::from_be_bytes(*b)) {
            check_length(length)?;
        }
        return Ok(None);
    };
    let word = |at: usize| {
        u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let header = Header {
        length: word(0),
        command: word(4),
        status: word(8),
        sequence: word(12),
    };
    check_length(header.length)?;
    Ok(stream
        .get(HEADER..header.length as usize)
        .map(|body| (header, body)))
}

fn check_length(length: u32) -> Result<(), Fault> {
    if (HEADER..=MAX_PDU).contains(&(length as usize)) {
        Ok(())
    } else {
        Err(Fault::CommandLength(length))
    }
}

/// How a session is bound (sections 4.1.1, 4.1.3, 4.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Submits only.
    Transmitter,
    /// Receipts and inbound texts only.
    Receiver,
    /// Both.
    Transceiver,
}

impl Mode {
    /// May it submit?
    pub fn transmits(self) -> bool {
        matches!(self, Mode::Transmitter | Mode::Transceiver)
    }

    /// Does it get receipts?
    pub fn receives(self) -> bool {
        matches!(self, Mode::Receiver | Mode::Transceiver)
    }
}

/// A bind of any mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind<'a> {
    /// Which of the three.
    pub mode: Mode,
    /// Account.
    pub system_id: &'a [u8],
    /// Its secret.
    pub password: &'a [u8],
    /// 0x34 for SMPP 3.4.
    pub interface_version: u8,
}

/// An address: type, plan, digits or letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address<'a> {
    /// Type of number (section 5.2.5): 1 international, 3 network specific, 5 alphanumeric.
    pub ton: u8,
    /// Numbering plan (section 5.2.6): 1 E.164.
    pub npi: u8,
    /// Without NUL.
    pub addr: &'a [u8],
}

/// A submit_sm (section 4.4.1) or a data_sm (4.7.1) with the same meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submit<'a> {
    /// The sender shown.
    pub source: Address<'a>,
    /// The phone.
    pub destination: Address<'a>,
    /// Bits of section 5.2.12.
    pub esm_class: u8,
    /// As written; empty: the carrier's own.
    pub validity_period: &'a [u8],
    /// Bits of section 5.2.17.
    pub registered_delivery: u8,
    /// Section 5.2.19.
    pub data_coding: u8,
    /// The text, from short_message or message_payload.
    pub message: &'a [u8],
    /// True where it came in message_payload.
    pub payload: bool,
    /// Optional parameters.
    pub tlvs: Tlvs<'a>,
}

/// Optional parameters, known to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tlvs<'a>(&'a [u8]);

impl<'a> Tlvs<'a> {
    /// The value of a tag.
    pub fn get(&self, tag: u16) -> Option<&'a [u8]> {
        let mut rest = self.0;
        while let Some((this, value, after)) = next_tlv(rest) {
            if this == tag {
                return Some(value);
            }
            rest = after;
        }
        None
    }

    /// The value of a tag as an unsigned number of one or two octets.
    pub fn number(&self, tag: u16) -> Option<u16> {
        match *self.get(tag)? {
            [one] => Some(u16::from(one)),
            [high, low] => Some(u16::from_be_bytes([high, low])),
            _ => None,
        }
    }
}

fn next_tlv(rest: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let (head, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (value, after) = rest.split_at_checked(length)?;
    Some((u16::from_be_bytes([head[0], head[1]]), value, after))
}

/// Reads the fields of a body from left to right.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Over a whole body.
    pub fn new(body: &'a [u8]) -> Self {
        Fields { rest: body }
    }

    /// One octet.
    pub fn octet(&mut self, field: &'static str) -> Result<u8, Fault> {
        let (first, rest) = self.rest.split_first().ok_or(Fault::Cut(field))?;
        self.rest = rest;
        Ok(*first)
    }

    /// A C-octet string of at most `max` octets with its NUL; returned without.
    pub fn cstring(&mut self, field: &'static str, max: usize) -> Result<&'a [u8], Fault> {
        let end = self
            .rest
            .iter()
            .position(|octet| *octet == 0)
            .ok_or(Fault::Cut(field))?;
        if end >= max {
            return Err(Fault::TooLong(field));
        }
        let text = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// So many octets.
    pub fn octets(&mut self, field: &'static str, count: usize) -> Result<&'a [u8], Fault> {
        let (octets, rest) = self.rest.split_at_checked(count).ok_or(Fault::Cut(field))?;
        self.rest = rest;
        Ok(octets)
    }

    /// What is left must be optional parameters.
    pub fn tlvs(self) -> Result<Tlvs<'a>, Fault> {
        let mut rest = self.rest;
        while !rest.is_empty() {
            (_, _, rest) = next_tlv(rest).ok_or(Fault::Trailing)?;
        }
        Ok(Tlvs(self.rest))
    }

    fn address(&mut self, field: &'static str, max: usize) -> Result<Address<'a>, Fault> {
        let (ton, npi) = (self.octet(field)?, self.octet(field)?);
        if ton > 6 || !matches!(npi, 0 | 1 | 3 | 4 | 6 | 8 | 9 | 10 | 14 | 18) {
            return Err(Fault::Value(field));
        }
        Ok(Address {
            ton,
            npi,
            addr: self.cstring(field, max)?,
        })
    }
}

/// The body of a bind.
pub fn read_bind(mode: Mode, body: &[u8]) -> Result<Bind<'_>, Fault> {
    let mut fields = Fields::new(body);
    let system_id = fields.cstring("system_id", 16)?;
    let password = fields.cstring("password", 9)?;
    fields.cstring("system_type", 13)?;
    let interface_version = fields.octet("interface_version")?;
    fields.octet("addr_ton")?;
    fields.octet("addr_npi")?;
    fields.cstring("address_range", 41)?;
    fields.tlvs()?;
    Ok(Bind {
        mode,
        system_id,
        password,
        interface_version,
    })
}

/// The body of a submit_sm.
pub fn read_submit(body: &[u8]) -> Result<Submit<'_>, Fault> {
    let mut fields = Fields::new(body);
    fields.cstring("service_type", 6)?;
    let source = fields.address("source_addr", 21)?;
    let destination = fields.address("destination_addr", 21)?;
    let esm_class = fields.octet("esm_class")?;
    fields.octet("protocol_id")?;
    fields.octet("priority_flag")?;
    let schedule = fields.cstring("schedule_delivery_time", 17)?;
    let validity_period = fields.cstring("validity_period", 17)?;
    if !matches!(schedule.len(), 0 | 16) {
        return Err(Fault::Value("schedule_delivery_time"));
    }
    let registered_delivery = fields.octet("registered_delivery")?;
    fields.octet("replace_if_present_flag")?;
    let data_coding = fields.octet("data_coding")?;
    fields.octet("sm_default_msg_id")?;
    let length = fields.octet("sm_length")?;
    let short_message = fields.octets("short_message", usize::from(length))?;
    if length == 255 {
        return Err(Fault::Value("sm_length"));
    }
    let tlvs = fields.tlvs()?;
    let payload = tlvs.get(tag::MESSAGE_PAYLOAD);
    if payload.is_some() && !short_message.is_empty() {
        return Err(Fault::Value("message_payload"));
    }
    Ok(Submit {
        source,
        destination,
        esm_class,
        validity_period,
        registered_delivery,
        data_coding,
        message: payload.unwrap_or(short_message),
        payload: payload.is_some(),
        tlvs,
    })
}

/// The body of a data_sm.
pub fn read_data(body: &[u8]) -> Result<Submit<'_>, Fault> {
    let mut fields = Fields::new(body);
    fields.cstring("service_type", 6)?;
    let source = fields.address("source_addr", 65)?;
    let destination = fields.address("destination_addr", 65)?;
    let esm_class = fields.octet("esm_class")?;
    let registered_delivery = fields.octet("registered_delivery")?;
    let data_coding = fields.octet("data_coding")?;
    let tlvs = fields.tlvs()?;
    Ok(Submit {
        source,
        destination,
        esm_class,
        validity_period: b"",
        registered_delivery,
        data_coding,
        message: tlvs.get(tag::MESSAGE_PAYLOAD).unwrap_or_default(),
        payload: true,
        tlvs,
    })
}

/// The body of a response to deliver_sm or data_sm: one message id, unused, then optional parameters. A
/// response with an error status may have no body at all.
pub fn read_response_id(body: &[u8], status: u32) -> Result<(), Fault> {
    if body.is_empty() && status != status::OK {
        return Ok(());
    }
    let mut fields = Fields::new(body);
    fields.cstring("message_id", 65)?;
    fields.tlvs().map(|_| ())
}
