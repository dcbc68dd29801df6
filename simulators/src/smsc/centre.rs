//! The message centre as one machine: octets and time in, octets and the next deadline out. It knows the
//! sessions, the accounts and the timers; `taking.rs` decides about submits. It opens no socket and reads
//! no clock.

use super::accounts::Account;
use super::decided::Outside;
use super::parts::Joiner;
use super::pdu::{self, Bind, Fault, Header, MAX_SEQUENCE, Mode, command, status};
use super::session::{Asked, Session, SessionId};
use super::taking::Asking;
use super::timers::{Event, Timers};
use super::{SmscConfig, write};
use crate::record::Record;
use crate::script::{Dice, Faults, Script};
use crate::subscriber::Habits;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Connections at a time.
pub const MAX_SESSIONS: usize = 1_000;
/// A delivery that was refused for now is sent again after this.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(1);
/// How often sessions are looked over.
pub const SWEEP: Duration = Duration::from_secs(1);

/// The time, both ways: for waiting and for writing dates.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic.
    pub at: Instant,
    /// Unix seconds.
    pub unix: u64,
}

/// A simulated SMSC without its sockets.
#[derive(Debug)]
pub struct Centre {
    pub(super) name: Arc<str>,
    pub(super) record: Record,
    pub(super) script: Script,
    pub(super) dice: Dice,
    pub(super) habits: Habits,
    pub(super) joiner: Joiner,
    pub(super) next_id: u64,
    pub(super) timers: Timers,
    credentials: Option<(String, String)>,
    pub(super) window: usize,
    pub(super) probe: Option<Duration>,
    pub(super) sessions: BTreeMap<SessionId, Session>,
    pub(super) accounts: BTreeMap<Arc<str>, Account>,
    next_session: SessionId,
    pub(super) dirty: Vec<SessionId>,
    /// A sweep is on the timers.
    pub(super) sweeps: bool,
    pub(super) scratch: String,
    /// Somebody else decides what becomes of submits.
    pub(super) outside: Option<Outside>,
}

impl Centre {
    /// `first_id`: the number of the first message id.
    pub fn new(config: &SmscConfig, first_id: u64) -> Centre {
        Centre {
            name: config.name.as_str().into(),
            record: config.record.clone(),
            script: config.script.clone(),
            dice: Dice::new(config.seed),
            habits: config.habits,
            joiner: Joiner::default(),
            next_id: first_id,
            timers: Timers::default(),
            credentials: config.credentials.clone(),
            window: config.receipt_window.max(1),
            probe: config.probe,
            sessions: BTreeMap::new(),
            accounts: BTreeMap::new(),
            next_session: 1,
            dirty: Vec::new(),
            sweeps: false,
            scratch: String::new(),
            outside: None,
        }
    }

    /// A connection has come; none: there are too many.
    pub fn connected(&mut self, now: Now) -> Option<SessionId> {
        if self.sessions.len() >= MAX_SESSIONS {
            return None;
        }
        if !std::mem::replace(&mut self.sweeps, true) {
            self.timers.add(now.at + self.sweep_every(), Event::Sweep);
        }
        let id = self.next_session;
        self.next_session += 1;
        self.sessions.insert(id, Session::new(now.at));
        Some(id)
    }

    /// A connection has gone. What it had not answered goes to another.
    pub fn closed(&mut self, id: SessionId, now: Now) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        let Some((name, _)) = session.bound else {
            return;
        };
        let Some(account) = self.accounts.get_mut(&name) else {
            return;
        };
        account.receivers.retain(|receiver| *receiver != id);
        for (_, (asked, _)) in session.asked.into_iter().rev() {
            if let Asked::Delivery(delivery) = asked {
                account.waiting.push_front(delivery);
            }
        }
        self.pump(&name, now);
    }

    /// Octets have come.
    pub fn received(&mut self, id: SessionId, octets: &[u8], now: Now) {
        let faults = self.script.faults();
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        session.heard = now.at;
        let mut inbox = std::mem::take(&mut session.inbox);
        inbox.extend_from_slice(octets);
        let mut read = 0;
        while self
            .sessions
            .get(&id)
            .is_some_and(|session| !session.closing)
        {
            match pdu::split(&inbox[read..]) {
                Ok(Some((header, body))) => {
                    // A silent carrier answers nothing, but what it asked before is answered all the same.
                    if !faults.silent || header.is_response() {
                        self.pdu(id, header, body, &faults, now);
                    }
                    read += header.length as usize;
                }
                Ok(None) => break,
                Err(fault) => {
                    self.broken(fault);
                    self.say(id, |out| {
                        write::bare(out, command::GENERIC_NACK, fault.status(), 0)
                    });
                    self.close(id);
                }
            }
        }
        inbox.drain(..read);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.inbox = inbox;
        }
    }

    /// When [`Centre::tick`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        while let Some(event) = self.timers.due(now.at) {
            match event {
                Event::Deliver(delivery) => self.deliver(delivery, now),
                Event::Answer { session, octets } => {
                    self.say(session, |out| out.extend_from_slice(&octets))
                }
                Event::Sweep => self.sweep(now),
            }
        }
    }

    /// Sessions that have something to write (or to close) since the last call.
    pub fn dirty(&mut self) -> Vec<SessionId> {
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.sort_unstable();
        dirty.dedup();
        dirty
    }

    /// Move what is to be written into `buffer`; true: close when it is written.
    pub fn output(&mut self, id: SessionId, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        match self.sessions.get_mut(&id) {
            Some(session) => {
                std::mem::swap(buffer, &mut session.out);
                session.closing
            }
            None => true,
        }
    }

    /// Say goodbye on this session.
    pub fn unbind(&mut self, id: SessionId, now: Now) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.bound.is_none() {
            session.closing = true;
            return;
        }
        let sequence = session.ask(Asked::Unbind, now.at);
        self.say(id, |out| {
            write::bare(out, command::UNBIND, status::OK, sequence)
        });
    }

    fn pdu(&mut self, id: SessionId, header: Header, body: &[u8], faults: &Faults, now: Now) {
        if header.is_response() {
            return self.response(id, header, body, now);
        }
        if header.status != 0 || !(1..=MAX_SEQUENCE).contains(&header.sequence) {
            self.broken_rule(
                "a request has a command_status, or a sequence_number outside 1 to 0x7FFFFFFF",
            );
        }
        let bound = self.sessions.get(&id).and_then(Session::mode);
        match (header.command, bound) {
            (command::BIND_RECEIVER, None) => {
                self.bind(id, header, pdu::read_bind(Mode::Receiver, body), now)
            }
            (command::BIND_TRANSMITTER, None) => {
                self.bind(id, header, pdu::read_bind(Mode::Transmitter, body), now)
            }
            (command::BIND_TRANSCEIVER, None) => {
                self.bind(id, header, pdu::read_bind(Mode::Transceiver, body), now)
            }
            (
                command::BIND_RECEIVER | command::BIND_TRANSMITTER | command::BIND_TRANSCEIVER,
                Some(_),
            ) => {
                self.broken_rule("bind on a bound session");
                self.refuse(id, header, status::ALREADY_BOUND);
            }
            (command::ENQUIRE_LINK, _) => self.answer_bare(id, header),
            (command::SUBMIT_SM | command::DATA_SM, Some(mode)) if mode.transmits() => {
                self.take(
                    Asking {
                        session: id,
                        header,
                        faults,
                        now,
                    },
                    body,
                );
            }
            (command::UNBIND, Some(_)) => {
                self.answer_bare(id, header);
                self.close(id);
            }
            (command::QUERY_SM, Some(_)) => self.refuse(id, header, status::QUERY_FAILED),
            (command::CANCEL_SM, Some(_)) => self.refuse(id, header, status::CANCEL_FAILED),
            (
                command::SUBMIT_SM
                | command::DATA_SM
                | command::UNBIND
                | command::QUERY_SM
                | command::CANCEL_SM,
                _,
            ) => {
                self.broken_rule("a request that this bind does not allow");
                self.refuse(id, header, status::INVALID_BIND_STATUS);
            }
            _ => {
                self.broken_rule("a command_id that no message centre takes");
                self.say(id, |out| {
                    write::bare(
                        out,
                        command::GENERIC_NACK,
                        status::INVALID_COMMAND,
                        header.sequence,
                    );
                });
            }
        }
    }

    fn bind(&mut self, id: SessionId, header: Header, bind: Result<Bind<'_>, Fault>, now: Now) {
        let bind = match bind {
            Ok(bind) => bind,
            Err(fault) => {
                self.broken(fault);
                return self.refuse(id, header, fault.status());
            }
        };
        if let Some((system_id, password)) = &self.credentials {
            if bind.system_id != system_id.as_bytes() {
                return self.refuse(id, header, status::INVALID_SYSTEM_ID);
            }
            if bind.password != password.as_bytes() {
                return self.refuse(id, header, status::INVALID_PASSWORD);
            }
        }
        let account: Arc<str> = String::from_utf8_lossy(bind.system_id).into();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.bound = Some((account.clone(), bind.mode));
        }
        let known = self.accounts.entry(account.clone()).or_default();
        if bind.mode.receives() {
            known.receivers.push(id);
        }
        let name: Vec<u8> = self
            .name
            .bytes()
            .filter(u8::is_ascii_graphic)
            .take(15)
            .collect();
        self.say(id, |out| {
            write::bind_response(out, header.command, header.sequence, &name)
        });
        self.pump(&account, now);
    }

    fn response(&mut self, id: SessionId, header: Header, body: &[u8], now: Now) {
        let asked = self
            .sessions
            .get_mut(&id)
            .and_then(|session| session.answered(header.sequence));
        match (header.command & !pdu::RESPONSE, asked) {
            (command::DELIVER_SM | command::DATA_SM, Some(Asked::Delivery(delivery))) => {
                if let Err(fault) = pdu::read_response_id(body, header.status) {
                    self.broken(fault);
                }
                self.note_answered(&delivery, header.status);
                // ESME_RX_T_APPN (0x64) asks for another try, as the busy statuses do.
                if matches!(
                    header.status,
                    status::SYSTEM_ERROR | status::QUEUE_FULL | status::THROTTLED | 0x64
                ) {
                    self.timers
                        .add(now.at + REFUSED_PAUSE, Event::Deliver(delivery));
                }
                if let Some((account, _)) = self
                    .sessions
                    .get(&id)
                    .and_then(|session| session.bound.clone())
                {
                    self.pump(&account, now);
                }
            }
            (command::ENQUIRE_LINK, Some(Asked::Probe)) => {}
            (command::UNBIND, Some(Asked::Unbind)) => self.close(id),
            // A generic_nack that names one of our requests ends it.
            (0, Some(_)) => self.broken_rule("generic_nack for a sound request"),
            _ => self.broken_rule("a response to nothing that was asked"),
        }
    }

    /// Append to what a session has to write.
    pub(super) fn say(&mut self, id: SessionId, what: impl FnOnce(&mut Vec<u8>)) {
        if let Some(session) = self.sessions.get_mut(&id) {
            what(&mut session.out);
            self.dirty.push(id);
        }
    }

    /// Close it when its output is written.
    pub(super) fn close(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.closing = true;
            self.dirty.push(id);
        }
    }

    /// The account bound to a session.
    pub(super) fn account(&self, id: SessionId) -> Option<Arc<str>> {
        self.sessions
            .get(&id)?
            .bound
            .as_ref()
            .map(|(account, _)| account.clone())
    }

    pub(super) fn refuse(&mut self, id: SessionId, header: Header, status: u32) {
        self.say(id, |out| {
            write::response(out, header.command, status, header.sequence, None)
        });
    }

    fn answer_bare(&mut self, id: SessionId, header: Header) {
        self.say(id, |out| {
            write::bare(
                out,
                header.command | pdu::RESPONSE,
                status::OK,
                header.sequence,
            )
        });
    }

    pub(super) fn broken(&self, fault: Fault) {
        self.record
            .protocol_error(&self.name, "smpp", fault.to_string());
    }

    pub(super) fn broken_rule(&self, rule: &str) {
        self.record.protocol_error(&self.name, "smpp", rule);
    }
}
