//! What the machine wants done, turned into what must be durable and what may then be done.

use std::sync::Arc;

use super::{
    Core,
    commit::{self, Action, encode},
    reasons,
    references::unreferenced,
};
use crate::{
    challenge::{AttemptKey, ChallengeKey, Channel, Millis, Origin},
    config::settings::Events,
    delivery::{Effect, Event, Final, Note},
    ledger::{Op, OutboxReport, Target},
    number::written::Tail,
    report::body::{self, Reader},
};

/// A report is tried for so long after the deadline, then dead-lettered as unroutable.
const REPORT_OVERTIME: std::time::Duration = std::time::Duration::from_secs(3_600);

/// What a step has changed, so that the ledger is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The life has gone on and must be durable.
    Life,
    /// The same, but a restart wouldn't miss it: a call that rings is ended then, however much is known of it.
    Passing,
    /// A new challenge: its accept carries the life.
    New,
}

impl Core {
    /// After every step of a challenge: tells the ledger, queues reports and orders, sets timers and the queue.
    pub(super) fn settle(&mut self, key: ChallengeKey, change: Change, now: Millis) {
        let effects = std::mem::take(&mut self.effects);
        let (mut last, mut reason) = (None, None);
        for effect in &effects {
            match effect {
                Effect::HangUp(n) => {
                    self.commit.then(Action::HangUp(AttemptKey {
                        challenge: key,
                        attempt: *n,
                    }));
                }
                Effect::Report(note) => {
                    if let Some(body) = self.tell(key, note) {
                        (last, reason) = (Some(body), note.reason);
                    }
                }
            }
        }
        self.effects = effects;
        self.effects.clear();
        self.note_kept_from(key, now);
        let Some(open) = self.registry.open.get(key) else {
            return;
        };
        let ended = open.life.ended.is_some();
        if change != Change::New {
            let life = encode(&open.life);
            let op = match (&open.life.ended, last) {
                (Some(end), Some(last)) => Op::End {
                    key,
                    life,
                    last,
                    at: end.at,
                },
                _ => Op::Life { key, life },
            };
            if change == Change::Passing && !ended {
                self.commit.write_within(commit::NEWS, op);
            } else {
                self.commit.write(op);
            }
        } else if let Some(new) = self.commit.new_challenge(key) {
            new.life = encode(&open.life);
            new.last = last;
        }
        if ended {
            self.close(key, reason);
        } else {
            self.requeue(key, now);
        }
    }

    /// A challenge that has ended without any attempt keeps why. What admission has refused says so itself.
    fn note_kept_from(&mut self, key: ChallengeKey, now: Millis) {
        let open = self.registry.open.get(key);
        let life = open
            .map(|open| &open.life)
            .filter(|life| life.attempts.is_empty());
        let ended = life.and_then(|life| life.ended.as_ref());
        if ended.is_none_or(|end| end.event == Final::Rejected) {
            return;
        }
        let left_out = self.kept_from(key, now);
        if let Some(open) = self.registry.open.get_mut(key) {
            open.life.left_out = left_out;
        }
    }

    /// Queues a report's copies. Gives the asker's body back if it is the final.
    fn tell(&mut self, key: ChallengeKey, note: &Note) -> Option<Vec<u8>> {
        let open = self.registry.open.get(key)?;
        let (ch, life) = (&open.ch, &open.life);
        let last = matches!(note.event, Event::Final(_));
        debug_assert!(
            note.reason.is_none_or(reasons::is_known),
            "an untold reason"
        );
        self.observer.report(ch, life, note);
        let made = note.tells_code && ch.code_made && !last;
        if !last && !made && !wanted(self.config.settings.jobs.events(), note.event) {
            return None;
        }
        let until = ch.deadline.max(note.at) + REPORT_OVERTIME;
        let asker: Arc<[u8]> = body::render(&self.frame, key, ch, life, note, Reader::Asker).into();
        let mut copies: Vec<(Target, Arc<[u8]>)> = Vec::with_capacity(2);
        let late = note.event == Event::Late;
        if let Some(to) = ch.reply_to.as_ref().filter(|_| !late) {
            let target = Target::ReplyTo {
                queue: to.queue.clone(),
                correlation_id: to.correlation_id.clone(),
            };
            copies.push((target, asker.clone()));
        }
        if ch.door == Origin::Http && !late {
            copies.push((Target::Http, asker.clone()));
        }
        if self.broker && self.frame.exchange_copy {
            let routing_key = body::routing_key(ch, life, note).into();
            let mandatory = ch.reply_to.is_none() && ch.door == Origin::Amqp && last;
            let public = body::render(&self.frame, key, ch, life, note, Reader::Everyone).into();
            copies.push((
                Target::Exchange {
                    routing_key,
                    mandatory,
                },
                public,
            ));
        }
        for (target, body) in copies {
            let report = OutboxReport {
                report: self.commit.next_report(),
                challenge: key,
                seq: note.seq,
                target,
                body,
                is_final: last,
                until,
            };
            if report.target == Target::Http {
                self.commit.then(Action::Wake(key));
            } else {
                self.commit.then(Action::Publish(Box::new(report.clone())));
            }
            self.commit.write(Op::Report(Box::new(report)));
        }
        last.then(|| asker.to_vec())
    }

    /// A challenge has ended, for this reason: nothing leads to it any more but the ledger.
    fn close(&mut self, key: ChallengeKey, reason: Option<&'static str>) {
        self.unqueue(key);
        let Some(open) = self.registry.open.remove(key) else {
            return;
        };
        self.observer.ended(&open.ch, &open.life);
        self.registry.recent.ended(key, &open, reason);
        if !open.sent {
            self.registry.sent();
        }
        for attempt in &open.life.attempts {
            let at = AttemptKey {
                challenge: key,
                attempt: attempt.n,
            };
            if attempt.channel() == Channel::Voice {
                continue;
            }
            // Also of those that are settled: a later receipt may contradict what was reported.
            for (part, reference) in (0..).zip(&attempt.references) {
                self.commit.write(Op::Reference {
                    carrier: attempt.carrier.clone(),
                    reference: reference.clone(),
                    key: at,
                    part,
                    phone: open.ch.to.and_then(Tail::of),
                });
            }
            if let Some(phone) = open.ch.to.and_then(Tail::of) {
                self.correlation.doubts.remove(&attempt.carrier, phone, at);
                self.correlation
                    .settled_doubts
                    .remove(&attempt.carrier, phone, at);
                self.correlation.late.text_ended(&attempt.carrier, phone);
                if attempt.known_by_phone() {
                    self.commit.write(Op::Reference {
                        carrier: attempt.carrier.clone(),
                        reference: unreferenced(phone),
                        key: at,
                        part: 0,
                        phone: Some(phone),
                    });
                }
            }
        }
        if !open.durable {
            self.registry.uncommitted.insert(key, open);
        }
    }
}

/// Is this event published? The final always is, and so is the one that tells a made code.
fn wanted(events: &Events, event: Event) -> bool {
    match (events, event) {
        (_, Event::Final(_)) => true,
        (Events::All, _) => true,
        (Events::Only(names), event) => names.contains(event.name()),
    }
}
