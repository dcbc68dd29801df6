//! What the publisher has in hand: what is to go, what is on its way and what is to go again. Pure bookkeeping;
//! speaks to no broker. A report is here at most once, by its key.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use lapin::BasicProperties;

use super::{
    dead_letter::{DeadLetter, DeadLetterMessage, dead_counter, properties, report_properties},
    published::Published,
};
use crate::{
    broker::short,
    challenge::Millis,
    clock::{Mono, Now, said_by},
    ledger::{OutboxReport, ReportKey, Target},
};

/// How much the publisher has in hand at most.
#[derive(Clone, Copy, Debug)]
pub struct PublishBounds {
    /// Messages on their way without a confirm.
    pub window: usize,
    /// What waits to go, besides what a lost connection gives back.
    pub fresh: usize,
    /// What waits to go again; more stay in the ledger.
    pub again: usize,
    /// Reports read from the ledger at once.
    pub page: usize,
}

impl Default for PublishBounds {
    fn default() -> PublishBounds {
        PublishBounds {
            window: 1_024,
            fresh: 4_096,
            again: 16_384,
            page: 512,
        }
    }
}

/// Names that are published under.
#[derive(Clone, Debug, Default)]
pub struct PublishNames {
    /// The exchanges of reports and of dead letters.
    pub reports: Arc<str>,
    pub dead: Arc<str>,
    pub node: Arc<str>,
}

/// A letter that somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId(pub u64);

/// Something to be published.
struct Item {
    what: Content,
    tries: u32,
    /// No queue took it the last time.
    returned: bool,
    /// It may be another node's by now: not tried again.
    is_void: bool,
}

enum Content {
    Report(OutboxReport),
    /// The dead letter that a report became; done, the report is done.
    Dead(ReportKey, DeadLetterMessage),
    DeadLetterMessage(DeadLetterMessage, LetterId),
}

impl Item {
    /// The report that it is, or was.
    fn key(&self) -> Option<ReportKey> {
        match &self.what {
            Content::Report(report) => Some(report.report),
            Content::Dead(key, _) => Some(*key),
            Content::DeadLetterMessage(..) => None,
        }
    }

    /// It is no report; else it is known no longer.
    fn stays(&self, known: &mut HashSet<ReportKey>) -> bool {
        match self.key() {
            Some(key) => {
                known.remove(&key);
                false
            }
            None => true,
        }
    }
}

/// What one `basic.publish` carries.
#[derive(Clone)]
pub struct BasicPublish {
    pub exchange: Arc<str>,
    pub routing_key: Arc<str>,
    pub mandatory: bool,
    pub properties: BasicProperties,
    pub body: Arc<[u8]>,
    /// Which channel: one challenge's reports stay in order.
    pub lane: usize,
}

/// What the broker says of a slot, as the client hands it over.
#[derive(Clone, Debug)]
pub struct Confirm {
    pub slot: u64,
    pub ack: bool,
    /// A message that has come back, this one or another of its channel.
    pub returned: Option<Returned>,
}

/// A message that no queue has taken: what it can be told by.
#[derive(Clone, Debug)]
pub struct Returned {
    pub exchange: Arc<str>,
    pub routing_key: Arc<str>,
    pub message_id: Option<String>,
}

/// What was left in the ledger for want of room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Left {
    #[default]
    Nothing,
    /// What no queue takes just now, as what waits here.
    PutBack,
    /// Also what was never tried.
    Untried,
}

struct InFlight {
    item: Item,
    since: Mono,
    returned: bool,
    exchange: Arc<str>,
    routing_key: Arc<str>,
    message_id: Option<String>,
}

#[derive(Default)]
pub(super) struct PublishQueue {
    names: PublishNames,
    bounds: PublishBounds,
    fresh: VecDeque<Item>,
    again: BTreeMap<(Mono, u64), Item>,
    in_flight: BTreeMap<u64, InFlight>,
    known: HashSet<ReportKey>,
    published: Published,
    next: u64,
    /// What is in the ledger and not here.
    pub left: Left,
    done: Vec<ReportKey>,
    letters_over: VecDeque<LetterId>,
}

impl PublishQueue {
    pub fn new(names: PublishNames, bounds: PublishBounds) -> PublishQueue {
        PublishQueue {
            names,
            bounds,
            ..PublishQueue::default()
        }
    }

    /// Is there room for more to go?
    pub fn has_room(&self) -> bool {
        self.fresh.len() < self.bounds.fresh
    }

    /// Little enough in hand that the ledger may be asked for more.
    pub fn is_below_low_water(&self) -> bool {
        self.fresh.len() < self.bounds.fresh / 4
    }

    pub fn is_idle(&self) -> bool {
        self.fresh.is_empty() && self.in_flight.is_empty()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// All of it, whatever it waits for.
    pub fn in_hand(&self) -> usize {
        self.fresh.len() + self.again.len() + self.in_flight.len()
    }

    /// A report from dispatch or from the ledger; the second time it is known already.
    pub fn report(&mut self, report: OutboxReport) {
        if report.target != Target::Http
            && !self.published.contains(report.report)
            && self.known.insert(report.report)
        {
            self.fresh.push_back(Item {
                what: Content::Report(report),
                tries: 0,
                returned: false,
                is_void: false,
            });
        }
    }

    /// Reports in hand may be another node's by now: nothing of them goes from here. What is on its way is struck from the
    /// ledger if it is confirmed, and forgotten otherwise.
    pub fn forget_reports(&mut self) {
        let Self {
            fresh,
            again,
            in_flight,
            known,
            ..
        } = self;
        fresh.retain(|item| item.stays(known));
        again.retain(|_, item| item.stays(known));
        for in_flight in in_flight.values_mut() {
            in_flight.item.is_void = in_flight.item.key().is_some();
        }
    }

    pub fn letter(&mut self, letter: DeadLetterMessage) -> LetterId {
        let id = LetterId(self.slot());
        self.fresh.push_back(Item {
            what: Content::DeadLetterMessage(letter, id),
            tries: 0,
            returned: false,
            is_void: false,
        });
        id
    }

    /// What goes next, and its slot; it counts as on its way from now on.
    pub fn take(&mut self, now: Now) -> Option<(u64, BasicPublish)> {
        let item = match self.again.first_key_value() {
            Some(((due, _), _)) if *due <= now.mono => self.again.pop_first()?.1,
            _ => self.fresh.pop_front()?,
        };
        let slot = self.slot();
        let message = self.message(&item, slot, now);
        let id = message.properties.message_id().as_ref();
        let in_flight = InFlight {
            item,
            since: now.mono,
            returned: false,
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            message_id: id.filter(|_| message.mandatory).map(ToString::to_string),
        };
        self.in_flight.insert(slot, in_flight);
        Some((slot, message))
    }

    /// When the next one is due again.
    pub fn due(&self) -> Option<Mono> {
        self.again.first_key_value().map(|((due, _), _)| *due)
    }

    /// Since when the oldest has been waiting for its confirm.
    pub fn oldest(&self) -> Option<Mono> {
        self.in_flight
            .first_key_value()
            .map(|(_, in_flight)| in_flight.since)
    }

    /// The broker was unreachable for a while, or blocked: nobody's confirm is late for that.
    pub fn forgive(&mut self, mono: Mono) {
        for in_flight in self.in_flight.values_mut() {
            in_flight.since = mono;
        }
    }

    /// The broker has returned a message. The client hands it over with the next confirm, whosever that is: whose
    /// message it is stands in the message alone.
    pub fn returned(&mut self, message: &Returned) {
        let whose = self.in_flight.values_mut().find(|in_flight| {
            !in_flight.returned
                && in_flight.message_id == message.message_id
                && in_flight.exchange == message.exchange
                && in_flight.routing_key == message.routing_key
        });
        metrics::counter!("ringback_reports_returned_total").increment(1);
        if let Some(in_flight) = whose {
            in_flight.returned = true;
        }
    }

    /// The broker has answered for a slot.
    pub fn confirmed(&mut self, slot: u64, ack: bool, now: Now) {
        let Some(in_flight) = self.in_flight.remove(&slot) else {
            return;
        };
        let is_over = ack && !in_flight.returned;
        if let (false, true, Some(key)) = (is_over, in_flight.item.is_void, in_flight.item.key()) {
            self.known.remove(&key);
            return;
        }
        if !is_over {
            let item = Item {
                returned: in_flight.returned,
                ..in_flight.item
            };
            self.once_more(item, now);
            return;
        }
        match in_flight.item.what {
            Content::Report(report) => self.finished(report.report),
            Content::Dead(key, _) => self.finished(key),
            Content::DeadLetterMessage(_, id) => self.letters_over.push_back(id),
        }
    }

    /// The connection is gone: what was on its way goes first on the next one.
    pub fn requeued(&mut self) {
        while let Some((_, in_flight)) = self.in_flight.pop_last() {
            let item = in_flight.item;
            match item.key().filter(|_| item.is_void) {
                Some(key) => {
                    self.known.remove(&key);
                }
                None => self.fresh.push_front(item),
            }
        }
    }

    /// Reports that no queue took and that wait to go again, and where one of them wants to go.
    pub fn unroutable(&self) -> (usize, Option<&str>) {
        let items = self
            .again
            .values()
            .chain(self.in_flight.values().map(|in_flight| &in_flight.item));
        let mut waiting = items.filter_map(|item| match &item.what {
            Content::Report(report) if item.returned => Some(match &report.target {
                Target::ReplyTo { queue, .. } => &**queue,
                Target::Exchange { routing_key, .. } => &**routing_key,
                Target::Http => "",
            }),
            Content::Report(_) | Content::Dead(..) | Content::DeadLetterMessage(..) => None,
        });
        let one = waiting.next();
        (waiting.count() + usize::from(one.is_some()), one)
    }

    /// Keys of reports that are done since the last asking.
    pub fn done(&mut self) -> Vec<ReportKey> {
        std::mem::take(&mut self.done)
    }

    /// A letter that is at the broker, or was given up.
    pub fn letter_over(&mut self) -> Option<LetterId> {
        self.letters_over.pop_front()
    }

    fn finished(&mut self, key: ReportKey) {
        self.known.remove(&key);
        self.published.insert(key);
        self.done.push(key);
    }

    fn slot(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Refused by the broker, or wanted by no queue.
    fn once_more(&mut self, item: Item, now: Now) {
        let Item {
            what,
            tries,
            returned,
            ..
        } = item;
        if self.again.len() >= self.bounds.again
            && let Content::Report(report) = &what
        {
            // It stays in the ledger and is read again.
            self.known.remove(&report.report);
            self.left = self.left.max(Left::PutBack);
            return;
        }
        let wait = PAUSE.saturating_mul(1 << tries.min(6)).min(PAUSE_LONGEST);
        let (what, wait) = match what {
            Content::Report(report) if report.until <= now.wall => {
                let letter = self.give_up(&report, said(now));
                (Content::Dead(report.report, letter), Duration::ZERO)
            }
            Content::Report(report) => {
                let left = report.until.since(now.wall);
                (Content::Report(report), wait.min(left))
            }
            Content::DeadLetterMessage(letter, id)
                if !letter.mandatory && tries >= LETTER_TRIES =>
            {
                tracing::warn!("an error message could not be delivered and is given up");
                self.letters_over.push_back(id);
                return;
            }
            other => (other, wait),
        };
        let key = (now.mono + wait, self.slot());
        let item = Item {
            what,
            tries: tries.saturating_add(1),
            returned,
            is_void: false,
        };
        self.again.insert(key, item);
    }

    fn give_up(&self, report: &OutboxReport, at: Millis) -> DeadLetterMessage {
        metrics::counter!("ringback_reports_unroutable_total").increment(1);
        dead_counter("unroutable");
        tracing::error!(
            report = report.report.0,
            is_final = report.is_final,
            "no queue took a report in time; dead-lettered as unroutable without its secrets"
        );
        DeadLetterMessage {
            exchange: self.names.dead.clone(),
            routing_key: "".into(),
            mandatory: true,
            properties: properties("dead", at),
            body: DeadLetter::of_report(report, at, &self.names.node).into(),
        }
    }

    fn message(&self, item: &Item, slot: u64, now: Now) -> BasicPublish {
        let report = match &item.what {
            Content::Report(report) => report,
            Content::Dead(_, letter) | Content::DeadLetterMessage(letter, _) => {
                return BasicPublish {
                    exchange: letter.exchange.clone(),
                    routing_key: letter.routing_key.clone(),
                    mandatory: letter.mandatory,
                    // Told from other messages by it, should it come back.
                    properties: letter
                        .properties
                        .clone()
                        .with_message_id(short(&format!("letter-{slot}"))),
                    body: letter.body.clone(),
                    lane: 0,
                };
            }
        };
        let (exchange, routing_key, mandatory) = match &report.target {
            Target::ReplyTo { queue, .. } => ("".into(), queue.clone(), true),
            Target::Exchange {
                routing_key,
                mandatory,
            } => (self.names.reports.clone(), routing_key.clone(), *mandatory),
            // Never taken in, see `report`.
            Target::Http => ("".into(), "".into(), false),
        };
        BasicPublish {
            exchange,
            routing_key,
            mandatory,
            properties: report_properties(report, &self.names.node, said(now)),
            body: report.body.clone(),
            lane: usize::try_from(report.challenge.0.unsigned_abs()).unwrap_or_default(),
        }
    }
}

/// This moment by the wall clock as it stands.
fn said(now: Now) -> Millis {
    said_by(now.wall, now.ahead)
}

/// Between tries of one message; doubled each time.
const PAUSE: Duration = Duration::from_secs(1);
pub(super) const PAUSE_LONGEST: Duration = Duration::from_secs(30);
/// An error message that the broker refuses is given up after so many.
const LETTER_TRIES: u32 = 5;

#[cfg(test)]
mod tests;
