//! What the publisher has in hand: what is to go, what is on its way and what is to go again. Pure bookkeeping;
//! speaks to no broker. A report is here at most once, by its key.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use lapin::{BasicProperties, message::BasicReturnMessage};
use tokio::sync::oneshot;

use super::{
    dead_letter::{DeadLetter, DeadLetterMessage, dead_counter, properties, report_properties},
    published::Published,
};
use crate::{
    broker::short,
    challenge::Millis,
    ledger::{OutboxReport, ReportKey, Target},
};

/// Something to be published.
pub(super) struct Item {
    what: Content,
    tries: u32,
    /// No queue took it the last time.
    returned: bool,
}

enum Content {
    Report(OutboxReport),
    /// The dead letter that a report became; done, the report is done.
    Dead(ReportKey, DeadLetterMessage),
    DeadLetterMessage(DeadLetterMessage, Option<oneshot::Sender<()>>),
}

/// The words of one `basic.publish`.
pub(super) struct Words {
    pub exchange: Arc<str>,
    pub routing_key: Arc<str>,
    pub mandatory: bool,
    pub properties: BasicProperties,
    pub body: Arc<[u8]>,
    /// Which channel: one challenge's reports stay in order.
    pub lane: usize,
}

struct InFlight {
    item: Item,
    since: Instant,
    returned: bool,
    exchange: Arc<str>,
    routing_key: Arc<str>,
    message_id: Option<String>,
}

#[derive(Default)]
pub(super) struct PublishQueue {
    reports: Arc<str>,
    dead: Arc<str>,
    node: Arc<str>,
    fresh: VecDeque<Item>,
    again: BTreeMap<(Instant, u64), Item>,
    in_flight: BTreeMap<u64, InFlight>,
    known: HashSet<ReportKey>,
    published: Published,
    next: u64,
    /// Reports were left in the ledger for want of room.
    pub left: bool,
    done: Vec<ReportKey>,
}

impl PublishQueue {
    pub fn new(reports: Arc<str>, dead: Arc<str>, node: Arc<str>) -> PublishQueue {
        PublishQueue {
            reports,
            dead,
            node,
            ..PublishQueue::default()
        }
    }

    /// Is there room for more to go?
    pub fn room(&self) -> bool {
        self.fresh.len() < FRESH
    }

    /// Little enough in hand that the ledger may be asked for more.
    pub fn below_low_water(&self) -> bool {
        self.fresh.len() < FRESH / 4
    }

    pub fn idle(&self) -> bool {
        self.fresh.is_empty() && self.in_flight.is_empty()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
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
            });
        }
    }

    pub fn letter(&mut self, letter: DeadLetterMessage, told: oneshot::Sender<()>) {
        self.fresh.push_back(Item {
            what: Content::DeadLetterMessage(letter, Some(told)),
            tries: 0,
            returned: false,
        });
    }

    /// What goes next, and its slot; it counts as on its way from now on.
    pub fn take(&mut self, mono: Instant, wall: Millis) -> Option<(u64, Words)> {
        let item = match self.again.first_key_value() {
            Some(((due, _), _)) if *due <= mono => self.again.pop_first()?.1,
            _ => self.fresh.pop_front()?,
        };
        let slot = self.slot();
        let words = self.words(&item, slot, wall);
        let in_flight = InFlight {
            item,
            since: mono,
            returned: false,
            exchange: words.exchange.clone(),
            routing_key: words.routing_key.clone(),
            message_id: words
                .mandatory
                .then(|| {
                    words
                        .properties
                        .message_id()
                        .as_ref()
                        .map(|id| id.to_string())
                })
                .flatten(),
        };
        self.in_flight.insert(slot, in_flight);
        Some((slot, words))
    }

    /// When the next one is due again.
    pub fn due(&self) -> Option<Instant> {
        self.again.first_key_value().map(|((due, _), _)| *due)
    }

    /// Since when the oldest has been waiting for its confirm.
    pub fn oldest(&self) -> Option<Instant> {
        self.in_flight
            .first_key_value()
            .map(|(_, in_flight)| in_flight.since)
    }

    /// The broker was unreachable for a while, or blocked: nobody's confirm is late for that.
    pub fn forgive(&mut self, mono: Instant) {
        for in_flight in self.in_flight.values_mut() {
            in_flight.since = mono;
        }
    }

    /// The broker has returned a message. The client hands it over with the next confirm, whosever that is: whose
    /// message it is stands in the message alone.
    pub fn returned(&mut self, message: &BasicReturnMessage) {
        let id = message
            .properties
            .message_id()
            .as_ref()
            .map(|id| id.to_string());
        let whose = self.in_flight.values_mut().find(|in_flight| {
            !in_flight.returned
                && in_flight.message_id == id
                && *in_flight.exchange == *message.exchange.as_str()
                && *in_flight.routing_key == *message.routing_key.as_str()
        });
        metrics::counter!("ringback_reports_returned_total").increment(1);
        if let Some(in_flight) = whose {
            in_flight.returned = true;
        }
    }

    /// The broker has answered for a slot.
    pub fn confirmed(&mut self, slot: u64, ack: bool, mono: Instant, wall: Millis) {
        let Some(in_flight) = self.in_flight.remove(&slot) else {
            return;
        };
        if !ack || in_flight.returned {
            let item = Item {
                returned: in_flight.returned,
                ..in_flight.item
            };
            self.once_more(item, mono, wall);
            return;
        }
        match in_flight.item.what {
            Content::Report(report) => self.finished(report.report),
            Content::Dead(key, _) => self.finished(key),
            Content::DeadLetterMessage(_, told) => {
                // The door may have gone with its connection; the message is at the broker all the same.
                let _ = told.map(|told| told.send(()));
            }
        }
    }

    /// The connection is gone: what was on its way goes first on the next one.
    pub fn requeued(&mut self) {
        while let Some((_, in_flight)) = self.in_flight.pop_last() {
            self.fresh.push_front(in_flight.item);
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
    fn once_more(&mut self, item: Item, mono: Instant, wall: Millis) {
        let Item {
            what,
            tries,
            returned,
        } = item;
        let wait = PAUSE.saturating_mul(1 << tries.min(6)).min(PAUSE_LONGEST);
        let (what, wait) = match what {
            Content::Report(report) if report.until <= wall => {
                let key = report.report;
                (
                    Content::Dead(key, self.give_up(&report, wall)),
                    Duration::ZERO,
                )
            }
            Content::Report(report) => {
                let left = report.until.since(wall);
                (Content::Report(report), wait.min(left))
            }
            Content::DeadLetterMessage(letter, told)
                if !letter.mandatory && tries >= LETTER_TRIES =>
            {
                tracing::warn!("an error message could not be delivered and is given up");
                let _ = told.map(|told| told.send(()));
                return;
            }
            other => (other, wait),
        };
        if self.again.len() >= AGAIN
            && let Content::Report(report) = &what
        {
            // It stays in the ledger and is read again.
            self.known.remove(&report.report);
            self.left = true;
            return;
        }
        let key = (mono + wait, self.slot());
        self.again.insert(
            key,
            Item {
                what,
                tries: tries.saturating_add(1),
                returned,
            },
        );
    }

    fn give_up(&self, report: &OutboxReport, wall: Millis) -> DeadLetterMessage {
        metrics::counter!("ringback_reports_unroutable_total").increment(1);
        dead_counter("unroutable");
        tracing::error!(
            report = report.report.0,
            is_final = report.is_final,
            "no queue took a report in time; dead-lettered as unroutable without its secrets"
        );
        DeadLetterMessage {
            exchange: self.dead.clone(),
            routing_key: "".into(),
            mandatory: true,
            properties: properties("dead", wall),
            body: DeadLetter::of_report(report, wall, &self.node).into(),
        }
    }

    fn words(&self, item: &Item, slot: u64, wall: Millis) -> Words {
        let report = match &item.what {
            Content::Report(report) => report,
            Content::Dead(_, letter) | Content::DeadLetterMessage(letter, _) => {
                return Words {
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
            } => (self.reports.clone(), routing_key.clone(), *mandatory),
            // Never taken in, see `report`.
            Target::Http => ("".into(), "".into(), false),
        };
        Words {
            exchange,
            routing_key,
            mandatory,
            properties: report_properties(report, &self.node, wall),
            body: report.body.clone(),
            lane: usize::try_from(report.challenge.0.unsigned_abs()).unwrap_or_default(),
        }
    }
}

/// Bound of what waits to go, besides what the window lets back.
const FRESH: usize = 4_096;
/// Bound of what waits to go again; more stay in the ledger.
const AGAIN: usize = 16_384;
/// Between tries of one message; doubled each time.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_secs(30);
/// An error message that the broker refuses is given up after so many.
const LETTER_TRIES: u32 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::challenge::ChallengeKey;

    fn report(key: i64, until: i64) -> OutboxReport {
        OutboxReport {
            report: ReportKey(key),
            challenge: ChallengeKey(key),
            seq: 1,
            target: Target::ReplyTo {
                queue: "q".into(),
                correlation_id: None,
            },
            body: b"{}".as_slice().into(),
            is_final: false,
            until: Millis(until),
        }
    }

    fn queue() -> (PublishQueue, Instant) {
        (
            PublishQueue::new("r".into(), "d".into(), "n".into()),
            Instant::now(),
        )
    }

    #[test]
    fn a_report_is_in_hand_once_and_not_again_when_done() {
        let (mut queue, now) = queue();
        queue.report(report(1, 9));
        queue.report(report(1, 9));
        let (slot, _) = queue.take(now, Millis(0)).unwrap();
        assert!(queue.take(now, Millis(0)).is_none());
        queue.confirmed(slot, true, now, Millis(0));
        assert_eq!(queue.done(), [ReportKey(1)]);
        queue.report(report(1, 9));
        assert!(queue.take(now, Millis(0)).is_none());
    }

    #[test]
    fn what_was_on_its_way_goes_first_and_in_order() {
        let (mut queue, now) = queue();
        for key in 1..=3 {
            queue.report(report(key, 9));
        }
        for _ in 0..2 {
            queue.take(now, Millis(0)).unwrap();
        }
        queue.requeued();
        let lanes: Vec<usize> =
            std::iter::from_fn(|| queue.take(now, Millis(0)).map(|(_, words)| words.lane))
                .collect();
        assert_eq!(lanes, [1, 2, 3]);
    }

    #[test]
    fn refused_it_waits_longer_each_time_and_ends_as_a_dead_letter() {
        let (mut queue, now) = queue();
        queue.report(report(1, 2_000));
        let (slot, _) = queue.take(now, Millis(0)).unwrap();
        queue.confirmed(slot, false, now, Millis(0));
        assert!(queue.take(now, Millis(0)).is_none(), "not at once");
        assert_eq!(queue.due(), Some(now + PAUSE));
        let later = now + PAUSE;
        let (slot, words) = queue.take(later, Millis(1_000)).unwrap();
        assert_eq!(&*words.routing_key, "q");
        queue.confirmed(slot, false, later, Millis(1_000));
        assert_eq!(
            queue.due(),
            Some(later + Duration::from_secs(1)),
            "not beyond its time"
        );
        let end = later + Duration::from_secs(1);
        let (slot, _) = queue.take(end, Millis(2_000)).unwrap();
        queue.confirmed(slot, false, end, Millis(2_000));
        let (slot, words) = queue.take(end, Millis(2_000)).unwrap();
        assert_eq!(&*words.exchange, "d");
        assert!(
            queue.done().is_empty(),
            "not before the dead letter is held"
        );
        queue.confirmed(slot, true, end, Millis(2_000));
        assert_eq!(queue.done(), [ReportKey(1)]);
    }
}
