//! One connection of a gateway: its frame buffer, its bind, its outgoing octets and what it owes us answers
//! to. Pure state; `centre.rs` moves it.

use super::centre::Now;
use super::delivery::Delivery;
use super::pdu::{MAX_SEQUENCE, Mode};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Names a session for as long as the process lives.
pub type SessionId = u64;

/// A session, bound or not yet.
#[derive(Debug)]
pub struct Session {
    /// Octets of a PDU that is not whole yet; bounded by `MAX_PDU` and one read.
    pub inbox: Vec<u8>,
    /// Octets to go out.
    pub out: Vec<u8>,
    /// Who is bound here, and how.
    pub bound: Option<(Arc<str>, Mode)>,
    /// Our requests without an answer, by sequence number; bounded by the receipt window and one probe.
    pub asked: BTreeMap<u32, (Asked, Instant)>,
    /// Deliveries among `asked`.
    pub in_flight: usize,
    /// To be closed as soon as `out` is written.
    pub closing: bool,
    /// When something last came.
    pub heard: Instant,
    sequence: u32,
}

/// A request of ours.
#[derive(Debug)]
pub enum Asked {
    /// deliver_sm or data_sm.
    Delivery(Box<Delivery>),
    /// enquire_link.
    Probe,
    /// unbind.
    Unbind,
}

impl Session {
    /// A connection that has said nothing yet.
    pub fn new(now: Instant) -> Session {
        Session {
            inbox: Vec::new(),
            out: Vec::new(),
            bound: None,
            asked: BTreeMap::new(),
            in_flight: 0,
            closing: false,
            heard: now,
            sequence: 0,
        }
    }

    /// The next sequence number for a request of ours; remembered until its answer comes.
    pub fn ask(&mut self, asked: Asked, now: Instant) -> u32 {
        let sequence = self.next_sequence();
        self.in_flight += usize::from(matches!(asked, Asked::Delivery(_)));
        self.asked.insert(sequence, (asked, now));
        sequence
    }

    /// Write a delivery and remember it until its answer comes.
    pub fn deliver(&mut self, delivery: Box<Delivery>, now: Now, scratch: &mut String) {
        let sequence = self.next_sequence();
        delivery.write(&mut self.out, sequence, now.unix, scratch);
        self.in_flight += 1;
        self.asked
            .insert(sequence, (Asked::Delivery(delivery), now.at));
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence % MAX_SEQUENCE + 1;
        self.sequence
    }

    /// The request that this sequence number answers.
    pub fn answered(&mut self, sequence: u32) -> Option<Asked> {
        let (asked, _) = self.asked.remove(&sequence)?;
        self.in_flight -= usize::from(matches!(asked, Asked::Delivery(_)));
        Some(asked)
    }

    /// The mode it is bound in.
    pub fn mode(&self) -> Option<Mode> {
        self.bound.as_ref().map(|(_, mode)| *mode)
    }
}
