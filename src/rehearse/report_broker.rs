//! The broker that reports go to, in memory: one connection at a time with its channels, what it has read, what it has
//! confirmed, and what goes wrong there. What its queues take is given out as it is taken.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{dice::Dice, profile::Profile};
use crate::{
    clock::Mono,
    ledger::{OutboxReport, ReadError, ReportKey},
    report::publish::{BasicPublish, Confirm, Returned},
};

/// What happens later between the publisher and the broker. Connections are told by their numbers.
#[derive(Debug)]
pub(super) enum ReportStep {
    /// The publisher tries to connect.
    Connect,
    /// A message has reached the broker.
    Arrive(u64),
    /// Confirms of a channel reach the publisher.
    Confirms(u64, usize),
    /// The publisher is told that nothing is taken, or that it is again.
    Blocked(u64, bool),
    /// The publisher notices that its connection is gone.
    Lost(u64),
    /// The ledger has read a page of the outbox.
    Page(ReportKey, Result<Vec<OutboxReport>, ReadError>),
    /// The core hears which reports are done.
    Done(Vec<ReportKey>),
}

/// What the broker leads to, in order.
pub(super) enum BrokerEffect {
    Later(Duration, ReportStep),
    /// A queue has this.
    Taken(Box<BasicPublish>),
    Fault(&'static str),
}

/// What it is given to play with.
pub(super) struct BrokerStage<'a> {
    pub now: Mono,
    pub dice: &'a mut Dice,
    pub profile: &'a Profile,
    pub effects: &'a mut Vec<BrokerEffect>,
}

#[derive(Default)]
pub(super) struct ReportBroker {
    connection: Option<u64>,
    last: u64,
    /// Sent, and not read yet, in order: a connection is one stream for all its channels.
    on_way: VecDeque<(u64, BasicPublish)>,
    /// The last of them arrives then.
    arrives: Mono,
    /// So many of them have arrived while nothing is read.
    unread: usize,
    channels: [ConfirmChannel; CHANNELS],
    is_blocked: bool,
    /// Queues that are not there for a while.
    gone: BTreeSet<Arc<str>>,
}

#[derive(Default)]
struct ConfirmChannel {
    /// Confirms that are not on their way yet: they go together, as one with `multiple`.
    unsaid: Vec<Confirm>,
    /// It is planned when they go.
    is_planned: bool,
    /// It says nothing more on this connection.
    is_silent: bool,
}

/// What becomes of a message.
enum Fate {
    Taken,
    Returned,
    Nacked,
}

/// As many as the publisher opens.
const CHANNELS: usize = 2;
/// The time that a message takes to the broker, and a confirm back, in milliseconds.
const LATENCY: (u64, u64) = (1, 5);
/// The same where confirms are late. Longer than a publisher waits for them is possible.
const LATE: (u64, u64) = (20, 25_000);
/// A connection is found to be gone after so long, where nobody says so.
const UNNOTICED: (u64, u64) = (1_000, 10_000);

impl ReportBroker {
    /// A connection stands. Gives its number.
    pub fn connect(&mut self, stage: &mut BrokerStage<'_>) -> u64 {
        self.last += 1;
        self.connection = Some(self.last);
        self.arrives = stage.now;
        if self.is_blocked {
            stage.later(LATENCY, ReportStep::Blocked(self.last, true));
        }
        self.last
    }

    pub fn send(&mut self, slot: u64, message: BasicPublish, stage: &mut BrokerStage<'_>) {
        let Some(connection) = self.connection else {
            return;
        };
        self.on_way.push_back((slot, message));
        let at = stage.now + stage.dice.between(LATENCY.0, LATENCY.1);
        self.arrives = self.arrives.max(at);
        let after = self.arrives.saturating_duration_since(stage.now);
        let step = ReportStep::Arrive(connection);
        stage.effects.push(BrokerEffect::Later(after, step));
    }

    pub fn arrive(&mut self, connection: u64, stage: &mut BrokerStage<'_>) {
        if self.connection != Some(connection) {
            return;
        }
        if self.is_blocked {
            self.unread += 1;
            return;
        }
        let Some((slot, message)) = self.on_way.pop_front() else {
            return;
        };
        let number = message.lane % CHANNELS;
        let confirm = self.take(slot, message, stage);
        let channel = &mut self.channels[number];
        channel.unsaid.push(confirm);
        if stage.dice.chance(stage.profile.confirm_lost) {
            stage.effects.push(BrokerEffect::Fault("confirms lost"));
            channel.is_silent = true;
        }
        if !channel.is_silent && !std::mem::replace(&mut channel.is_planned, true) {
            let late = stage.dice.chance(stage.profile.confirm_late);
            if late {
                stage.effects.push(BrokerEffect::Fault("confirms late"));
            }
            let takes = if late { LATE } else { LATENCY };
            stage.later(takes, ReportStep::Confirms(connection, number));
        }
    }

    fn take(&mut self, slot: u64, message: BasicPublish, stage: &mut BrokerStage<'_>) -> Confirm {
        let (ack, returned) = match self.fate(&message, stage) {
            Fate::Taken => {
                stage.effects.push(BrokerEffect::Taken(Box::new(message)));
                (true, None)
            }
            Fate::Nacked => {
                stage.effects.push(BrokerEffect::Fault("report refused"));
                (false, None)
            }
            Fate::Returned => {
                stage.effects.push(BrokerEffect::Fault("report returned"));
                let id = message.properties.message_id().as_ref();
                let returned = Returned {
                    exchange: message.exchange,
                    routing_key: message.routing_key,
                    message_id: id.map(ToString::to_string),
                };
                (true, Some(returned))
            }
        };
        Confirm {
            slot,
            ack,
            returned,
        }
    }

    /// The exchanges have their queues always; what is sent to a queue itself needs it to be there.
    fn fate(&self, message: &BasicPublish, stage: &mut BrokerStage<'_>) -> Fate {
        let is_gone = message.exchange.is_empty() && self.gone.contains(&message.routing_key);
        if is_gone {
            return Fate::Returned;
        }
        match stage.dice.chance(stage.profile.nacked) {
            true => Fate::Nacked,
            false => Fate::Taken,
        }
    }

    /// All that a channel has to say. The client hands a returned message over with whichever confirm of the channel it
    /// comes to next: with one that is not its own where one `multiple` covers both.
    pub fn confirms(&mut self, connection: u64, number: usize, dice: &mut Dice) -> Vec<Confirm> {
        if self.connection != Some(connection) || self.channels[number].is_silent {
            return Vec::new();
        }
        let channel = &mut self.channels[number];
        channel.is_planned = false;
        let mut confirms = std::mem::take(&mut channel.unsaid);
        for n in 1..confirms.len() {
            if confirms[n - 1].returned.is_none() && dice.chance(500) {
                confirms[n - 1].returned = confirms[n].returned.take();
            }
        }
        confirms
    }

    /// The connection is gone. Of what was on its way the broker has read a part, of which nobody will be told.
    pub fn cut(&mut self, stage: &mut BrokerStage<'_>) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let most = match self.is_blocked {
            true => 0,
            false => self.on_way.len() as u64,
        };
        let read = stage.dice.below(most + 1) as usize;
        for (slot, message) in self.on_way.drain(..).take(read).collect::<Vec<_>>() {
            self.take(slot, message, stage);
        }
        self.unread = 0;
        self.channels = Default::default();
        let noticed = match stage.dice.chance(500) {
            true => LATENCY,
            false => UNNOTICED,
        };
        stage.later(noticed, ReportStep::Lost(connection));
    }

    /// Its memory or its disk is short: it reads nothing from those who publish, until it has room again.
    pub fn block(&mut self, blocked: bool, stage: &mut BrokerStage<'_>) {
        self.is_blocked = blocked;
        let Some(connection) = self.connection else {
            return;
        };
        stage.later(LATENCY, ReportStep::Blocked(connection, blocked));
        if !blocked {
            for _ in 0..std::mem::take(&mut self.unread) {
                let step = ReportStep::Arrive(connection);
                stage
                    .effects
                    .push(BrokerEffect::Later(Duration::ZERO, step));
            }
        }
    }

    /// A queue is deleted, or declared again.
    pub fn queue(&mut self, name: Arc<str>, is_there: bool) {
        if is_there {
            self.gone.remove(&name);
        } else {
            self.gone.insert(name);
        }
    }
}

impl BrokerStage<'_> {
    fn later(&mut self, (least, most): (u64, u64), step: ReportStep) {
        let after = self.dice.between(least, most);
        self.effects.push(BrokerEffect::Later(after, step));
    }
}
