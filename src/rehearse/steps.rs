//! What carriers do later, each kind its own; what of it happens all the same when the process dies meanwhile, and what is
//! only time passing.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use hyper::Response;
use simulators::smsc::decided::Submitted;

use crate::{
    carrier::{Receipt, http::body::Unreadable, sip::media::MediaId},
    challenge::AttemptKey,
    protocol::rtp::Key,
};

/// A step that a carrier takes later.
#[derive(Debug)]
pub enum Step {
    Smpp(SmppStep),
    Http(HttpStep),
    /// Of the network behind either.
    Text(TextStep),
    Call(CallStep),
    /// The link breaks.
    Cut,
}

impl Step {
    /// It is of the network, not of the driver's session.
    pub fn outlives_a_crash(&self) -> bool {
        match self {
            Step::Smpp(step) => step.outlives_a_crash(),
            Step::Text(_) => true,
            Step::Http(step) => step.outlives_a_crash(),
            Step::Call(step) => step.outlives_a_crash(),
            Step::Cut => false,
        }
    }

    /// Nothing but time passing.
    pub fn is_time(&self) -> bool {
        match self {
            Step::Smpp(step) => step.is_time(),
            Step::Http(step) => step.is_time(),
            Step::Call(step) => step.is_time(),
            Step::Text(_) | Step::Cut => false,
        }
    }
}

impl From<SmppStep> for Step {
    fn from(step: SmppStep) -> Step {
        Step::Smpp(step)
    }
}

impl From<HttpStep> for Step {
    fn from(step: HttpStep) -> Step {
        Step::Http(step)
    }
}

impl From<TextStep> for Step {
    fn from(step: TextStep) -> Step {
        Step::Text(step)
    }
}

impl From<CallStep> for Step {
    fn from(step: CallStep) -> Step {
        Step::Call(step)
    }
}

/// Of a carrier over SMPP.
#[derive(Debug)]
pub enum SmppStep {
    /// A deadline of one of the machines has come.
    Wake,
    /// A connection comes to be, or not.
    Connect(usize),
    /// The process has died: its end is closed.
    Closed(PipeId),
    /// Ours is told that the connection is gone.
    Gone(PipeId, &'static str),
    /// Our end takes octets again.
    Writable(PipeId),
    ToCentre(PipeId, Vec<u8>),
    ToUs(PipeId, Vec<u8>),
    /// The centre answers a submit: a status, or an id.
    Answer(Box<Submitted>, Result<Arc<str>, u32>),
}

impl SmppStep {
    pub fn outlives_a_crash(&self) -> bool {
        match self {
            SmppStep::Wake
            | SmppStep::Closed(_)
            | SmppStep::ToCentre(..)
            | SmppStep::Answer(..) => true,
            SmppStep::Connect(_)
            | SmppStep::Gone(..)
            | SmppStep::Writable(_)
            | SmppStep::ToUs(..) => false,
        }
    }

    /// Nothing but time passing.
    pub fn is_time(&self) -> bool {
        matches!(self, SmppStep::Wake)
    }
}

/// A connection, by its number.
pub type PipeId = u64;

/// Of an HTTP carrier.
#[derive(Debug)]
pub enum HttpStep {
    /// A deadline of one of the machines has come.
    Wake,
    /// A probe of this driver, by its number, has found a connection or none.
    Probed(usize, u64),
    /// There is a connection for a request, or none.
    Connected(RequestId),
    /// The connection of a request is gone.
    Broken(RequestId),
    /// The driver waits no longer.
    TimedOut(RequestId),
    /// Its text's deadline has come.
    Overdue(RequestId),
    ToFarEnd(RequestId),
    /// The far end answers.
    Answers(RequestId, Box<HttpAnswer>),
    ToUs(RequestId, Box<HttpAnswer>),
    /// The receipts that are written go out.
    Gathered,
    /// A callback comes to us.
    Post(PostId),
    /// It has waited for its answer long enough.
    Impatient(VisitId),
    /// Its answer reaches the carrier: the status.
    Replied(PostId, u16),
}

/// A request, by its number.
pub type RequestId = u64;
/// A callback's body, by its number; and a time at which it was brought.
pub type PostId = u64;
pub type VisitId = u64;
/// An answer, and its body as far as it comes.
pub type HttpAnswer = Response<Result<Bytes, Unreadable>>;

impl HttpStep {
    pub fn outlives_a_crash(&self) -> bool {
        match self {
            HttpStep::Wake
            | HttpStep::ToFarEnd(_)
            | HttpStep::Answers(..)
            | HttpStep::Gathered
            | HttpStep::Post(_)
            | HttpStep::Replied(..) => true,
            HttpStep::Probed(..)
            | HttpStep::Connected(_)
            | HttpStep::Broken(_)
            | HttpStep::TimedOut(_)
            | HttpStep::Overdue(_)
            | HttpStep::ToUs(..)
            | HttpStep::Impatient(_) => false,
        }
    }

    /// Nothing but time passing.
    pub fn is_time(&self) -> bool {
        matches!(self, HttpStep::Wake)
    }
}

/// Of a trunk.
#[derive(Debug)]
pub enum CallStep {
    /// The trunk is there: again, or for the first time.
    Up,
    /// A datagram reaches the trunk.
    ToTrunk(SocketAddr, Vec<u8>),
    /// A datagram reaches the far end of this place.
    ToFarEnd(usize, Vec<u8>),
    Timer,
    FarTimer(usize),
    /// What was played has come to its end.
    Played(MediaId, u32),
    /// A person presses a key, in the call of this number at this far end.
    Presses(usize, u64, char),
    HangsUp(usize, u64),
    /// A key's sound arrives.
    Key(MediaId, Key),
    /// No audio came for a while.
    Silence(MediaId),
    /// Nobody should want this call any more.
    Longest(Arc<str>),
    /// So long ago the end of this attempt's call was told.
    Over(AttemptKey),
}

impl CallStep {
    pub fn outlives_a_crash(&self) -> bool {
        match self {
            CallStep::ToTrunk(..)
            | CallStep::ToFarEnd(..)
            | CallStep::FarTimer(_)
            | CallStep::Presses(..)
            | CallStep::HangsUp(..)
            | CallStep::Longest(_) => true,
            CallStep::Up
            | CallStep::Timer
            | CallStep::Played(..)
            | CallStep::Key(..)
            | CallStep::Silence(_)
            | CallStep::Over(_) => false,
        }
    }

    /// Nothing happens by it but that time passes.
    pub fn is_time(&self) -> bool {
        matches!(
            self,
            CallStep::Timer | CallStep::FarTimer(_) | CallStep::Silence(_) | CallStep::Over(_)
        )
    }
}

/// A step of the network: the process may have died meanwhile.
#[derive(Debug)]
pub enum TextStep {
    /// The phone has the text.
    AtPhone(AttemptKey),
    /// A receipt is written.
    Write(Box<Brought>),
}

/// A receipt on its way.
#[derive(Clone, Debug)]
pub struct Brought {
    pub receipt: Receipt,
    /// Of this attempt's text; None: of nobody's here.
    pub of: Option<AttemptKey>,
    pub part: u16,
    /// Reference and phone say whose it is, for certain.
    pub clear: bool,
}

impl fmt::Display for Brought {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            Some(key) => write!(
                f,
                "{:x}/{} part {}",
                key.challenge.0, key.attempt, self.part
            )?,
            None => f.write_str("a stranger's")?,
        }
        write!(
            f,
            ": {} {:?}",
            self.receipt.state.name(),
            self.receipt.references
        )?;
        if self.receipt.phone.is_none() {
            f.write_str(", no phone")?;
        }
        let unclear = if self.clear { "" } else { ", not clear" };
        f.write_str(unclear)
    }
}
