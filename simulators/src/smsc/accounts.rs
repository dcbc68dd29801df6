//! What goes out to the gateway by itself: each account's deliveries, handed to its bound receivers in turn as
//! far as their windows have room, sent again where no answer comes; and the question whether a quiet
//! session still lives. Part of the machine of `centre.rs`.

use super::centre::{Centre, Now};
use super::delivery::{Delivery, Owned, What};
use super::pdu::{command, status};
use super::session::{Asked, SessionId};
use super::timers::Event;
use super::{alphabet, write};
use std::collections::VecDeque;
use std::time::Duration;

/// Deliveries that wait at one account; the oldest goes first when there are more.
pub const MAX_WAITING: usize = 1_000_000;
/// A delivery without an answer is sent again after this.
pub const DELIVERY_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) receivers: Vec<SessionId>,
    /// The receiver whose turn it is.
    turn: usize,
    pub(super) waiting: VecDeque<Box<Delivery>>,
}

impl Centre {
    /// A person sends a text of their own to one of the gateway's senders, by whichever account is bound.
    /// False: nobody is.
    pub fn text_from(&mut self, person: &str, sender: &str, text: &str, now: Now) -> bool {
        let Some(account) = self.accounts.keys().next().cloned() else {
            return false;
        };
        let (data_coding, octets) = alphabet::encode(text);
        let (from, to) = (address_of(person), address_of(sender));
        let what = What::Text {
            data_coding,
            octets,
        };
        self.deliver(
            Box::new(Delivery {
                account,
                from,
                to,
                what,
                counted: false,
                tag: None,
            }),
            now,
        );
        true
    }

    /// Hand a delivery to its account.
    pub(super) fn deliver(&mut self, delivery: Box<Delivery>, now: Now) {
        let name = delivery.account.clone();
        let Some(account) = self.accounts.get_mut(&name) else {
            return;
        };
        if account.waiting.len() >= MAX_WAITING {
            account.waiting.pop_front();
        }
        account.waiting.push_back(delivery);
        self.pump(&name, now);
    }

    /// Send what waits at an account as far as its receivers have room, each in turn.
    pub(super) fn pump(&mut self, name: &str, now: Now) {
        if self.script.faults().silent {
            // Kept until the sweep after the silence.
            return;
        }
        let Some(account) = self.accounts.get_mut(name) else {
            return;
        };
        while !account.waiting.is_empty() {
            let count = account.receivers.len();
            let free = (0..count)
                .map(|step| (account.turn + step) % count)
                .find(|at| {
                    let session = account
                        .receivers
                        .get(*at)
                        .and_then(|id| self.sessions.get(id));
                    session
                        .is_some_and(|session| !session.closing && session.in_flight < self.window)
                });
            let Some(at) = free else { return };
            account.turn = (at + 1) % count;
            let id = account.receivers[at];
            let (Some(session), Some(mut delivery)) =
                (self.sessions.get_mut(&id), account.waiting.pop_front())
            else {
                return;
            };
            delivery.count(&self.record);
            session.deliver(delivery, now, &mut self.scratch);
            self.dirty.push(id);
        }
    }

    /// Once a second: ask quiet sessions whether they live, send again what was never answered.
    pub(super) fn sweep(&mut self, now: Now) {
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        let silent = self.script.faults().silent;
        for id in ids {
            self.send_again(id, now);
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            let quiet = now.at.saturating_duration_since(session.heard);
            let probed = session
                .asked
                .values()
                .any(|(asked, _)| matches!(asked, Asked::Probe));
            if session.bound.is_some()
                && !probed
                && !silent
                && self.probe.is_some_and(|probe| quiet >= probe)
            {
                let sequence = session.ask(Asked::Probe, now.at);
                self.say(id, |out| {
                    write::bare(out, command::ENQUIRE_LINK, status::OK, sequence)
                });
            }
        }
        for name in self.accounts.keys().cloned().collect::<Vec<_>>() {
            self.pump(&name, now);
        }
        self.sweeps = !self.sessions.is_empty();
        if self.sweeps {
            self.timers.add(now.at + self.sweep_every(), Event::Sweep);
        }
    }

    fn send_again(&mut self, id: SessionId, now: Now) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let late = session.asked.iter().filter(|(_, (asked, since))| {
            matches!(asked, Asked::Delivery(_))
                && now.at.saturating_duration_since(*since) >= DELIVERY_PATIENCE
        });
        let late: Vec<u32> = late.map(|(sequence, _)| *sequence).collect();
        for sequence in late {
            let asked = self
                .sessions
                .get_mut(&id)
                .and_then(|session| session.answered(sequence));
            if let Some(Asked::Delivery(delivery)) = asked {
                self.broken_rule("a deliver_sm was not answered in time");
                self.deliver(delivery, now);
            }
        }
    }
}

/// The address that a number or a name is written as: a leading `+` is an international number, letters are
/// a name, a few digits a short code.
fn address_of(party: &str) -> Owned {
    let (ton, npi, addr) = match party.strip_prefix('+') {
        Some(digits) => (1, 1, digits),
        None if party.bytes().all(|b| b.is_ascii_digit()) => (3, 0, party),
        None => (5, 0, party),
    };
    Owned {
        ton,
        npi,
        addr: addr.as_bytes().into(),
    }
}
