//! The gateway's receiver of callbacks, as `carrier::http::callback` runs it: what is new in a body is handed to the core, and the
//! carrier is answered once all of it is safe.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use hyper::HeaderMap;
use tokio::sync::mpsc;

use super::{
    Http,
    courier::{Post, again, is_read_from, sign},
    latency, reached,
};
use crate::{
    carrier::{
        Acknowledgement, CarrierEvent, Incoming, Reply,
        http::{
            Refused,
            callback::{
                PATIENCE,
                format::CallbackFormat,
                repeats::{Mark, Repeats, Taking},
                signature,
            },
            stranger,
        },
    },
    challenge::Millis,
    config::carrier::{CarrierConfig, Transport},
    rehearse::{
        stage::{Effect, Stage},
        steps::{HttpStep, PostId, VisitId},
    },
};

/// Of one carrier.
pub(super) struct Callbacks {
    /// A driver of the carrier's name runs.
    pub is_served: bool,
    /// Those of this life; the last one is asked.
    receivers: Vec<CallbackReceiver>,
    /// Callbacks that the core has not answered for, or whose carrier waits.
    visits: BTreeMap<VisitId, Visit>,
    last_visit: VisitId,
    /// Where what the core has not answered for came from, by its number.
    handed: BTreeMap<u32, VecDeque<Handed>>,
    acks: mpsc::UnboundedSender<(u32, Reply)>,
    _answers: mpsc::UnboundedReceiver<(u32, Reply)>,
}

/// The gateway's.
struct CallbackReceiver {
    format: CallbackFormat,
    repeats: Repeats,
}

/// A callback that has come to us.
struct Visit {
    post: PostId,
    receiver: usize,
    /// None: it has been answered.
    taking: Option<Taking>,
    /// So many of its receipts the core has not answered for.
    waiting: usize,
    is_safe: bool,
}

struct Handed {
    visit: VisitId,
    mark: Mark,
}

impl Callbacks {
    pub fn new() -> Callbacks {
        let (acks, answers) = mpsc::unbounded_channel();
        Callbacks {
            is_served: false,
            receivers: Vec::new(),
            visits: BTreeMap::new(),
            last_visit: 0,
            handed: BTreeMap::new(),
            acks,
            _answers: answers,
        }
    }

    /// A driver begins: of what came before it nothing is known.
    pub fn begin(&mut self, config: &Arc<CarrierConfig>) {
        self.is_served = true;
        self.receivers
            .extend(format(config).map(|format| CallbackReceiver {
                format,
                repeats: Repeats::default(),
            }));
    }

    /// Its file says something else: what came once is known.
    pub fn change(&mut self, config: &Arc<CarrierConfig>) {
        if let Some((receiver, format)) = self.receivers.last_mut().zip(format(config)) {
            receiver.format = format;
        }
    }

    /// The process has died: whoever waits for an answer comes again.
    pub fn crash(&mut self, stage: &mut Stage<'_>) {
        self.receivers.clear();
        self.handed.clear();
        for visit in std::mem::take(&mut self.visits).into_values() {
            if visit.taking.is_some() {
                again(visit.post, stage);
            }
        }
    }
}

fn format(config: &Arc<CarrierConfig>) -> Option<CallbackFormat> {
    let Transport::Http(http) = &config.transport else {
        return None;
    };
    let callback = http.callback.clone()?;
    Some(CallbackFormat::new(config.clone(), callback))
}

impl Http {
    /// What is brought by a callback, if its carrier has signed it.
    pub(super) fn read(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: Millis,
    ) -> Result<Vec<(Mark, Incoming)>, Refused> {
        let receiver = self.callbacks.receivers.last();
        let Some(receiver) = receiver.filter(|_| self.callbacks.is_served) else {
            return Err(stranger(headers, body, now));
        };
        let keys = &self.courier.keys;
        let signed = || signature::check(keys, headers, body, now);
        let parts = receiver.format.read(headers, body, signed)?;
        Ok(parts.brought)
    }

    /// A callback comes to us.
    pub(super) fn post(&mut self, id: PostId, stage: &mut Stage<'_>) {
        if self.is_down(stage) {
            return again(id, stage);
        }
        let Some(post) = self.courier.posts.get(&id).cloned() else {
            return;
        };
        let Post {
            numbers,
            mut headers,
            body,
        } = post;
        let key = stage.dice.pick(&self.courier.keys);
        sign(&mut headers, key, stage.wall.0 / 1_000, &body);
        let brought = match self.read(&headers, &body, stage.wall) {
            Ok(brought) => brought,
            Err(why) => return reply(id, why.status(), stage),
        };
        let at = self.callbacks.receivers.len() - 1;
        let (taking, fresh) = self.callbacks.receivers[at].repeats.take(brought);
        self.callbacks.last_visit += 1;
        let visit = self.callbacks.last_visit;
        let waiting = fresh.len();
        self.hand_over(visit, numbers, fresh, stage);
        let entry = Visit {
            post: id,
            receiver: at,
            taking: Some(taking),
            waiting,
            is_safe: true,
        };
        self.callbacks.visits.insert(visit, entry);
        match waiting {
            0 => {
                reached(stage, "a callback brought nothing new");
                self.conclude(visit, stage);
            }
            _ => stage.later(PATIENCE, HttpStep::Impatient(visit)),
        }
    }

    fn hand_over(
        &mut self,
        visit: VisitId,
        mut numbers: Vec<u32>,
        fresh: Vec<(Mark, Incoming)>,
        stage: &mut Stage<'_>,
    ) {
        for (mark, incoming) in fresh {
            let Incoming::Receipt(receipt) = &incoming else {
                let fault = "a receipt is read as a text".to_owned();
                return stage.effects.push(Effect::Broken(fault));
            };
            let bringing = &self.network.bringing;
            let own = numbers.iter().position(|number| {
                let brought = bringing.get(number);
                brought.is_some_and(|brought| is_read_from(receipt, &brought.receipt))
            });
            let Some(at) = own else {
                let fault = format!("a callback is read as something else: {receipt:?}");
                return stage.effects.push(Effect::Broken(fault));
            };
            let number = numbers.remove(at);
            let handed = self.callbacks.handed.entry(number).or_default();
            handed.push_back(Handed { visit, mark });
            if self.courier.was_brought(number) {
                reached(stage, "a receipt came again by callback");
            }
            let ack = Acknowledgement::Session(self.callbacks.acks.clone(), number);
            stage.say(CarrierEvent::Incoming(incoming, ack));
        }
    }

    /// The core has answered for what was handed over under this number.
    pub(super) fn core_replies(&mut self, number: u32, reply: Reply, stage: &mut Stage<'_>) {
        let handed = self.callbacks.handed.get_mut(&number);
        let Some(Handed { visit: id, mark }) = handed.and_then(VecDeque::pop_front) else {
            return;
        };
        let Some(visit) = self.callbacks.visits.get_mut(&id) else {
            return;
        };
        let is_taken = reply == Reply::Taken;
        visit.waiting -= 1;
        visit.is_safe &= is_taken;
        let is_whole = visit.waiting == 0;
        let receiver = &mut self.callbacks.receivers[visit.receiver];
        receiver.repeats.end(mark, is_taken);
        if is_whole {
            self.conclude(id, stage);
        }
    }

    /// The core has all of it, or there was nothing for it.
    fn conclude(&mut self, id: VisitId, stage: &mut Stage<'_>) {
        let Some(visit) = self.callbacks.visits.get_mut(&id) else {
            return;
        };
        // Else it was told to come again.
        if let Some(taking) = visit.taking.take() {
            let receiver = &mut self.callbacks.receivers[visit.receiver];
            let status = match receiver.repeats.answer(taking, visit.is_safe) {
                true => 200,
                false => Refused::Busy.status(),
            };
            reply(visit.post, status, stage);
        }
        if visit.waiting == 0 {
            self.callbacks.visits.remove(&id);
        }
    }

    /// It has waited long enough.
    pub(super) fn impatient(&mut self, id: VisitId, stage: &mut Stage<'_>) {
        let visit = self.callbacks.visits.get_mut(&id);
        if let Some(visit) = visit.filter(|visit| visit.taking.is_some()) {
            reached(stage, "a callback waited too long");
            visit.is_safe = false;
            self.conclude(id, stage);
        }
    }
}

/// The answer leaves.
fn reply(post: PostId, status: u16, stage: &mut Stage<'_>) {
    let after = latency(stage);
    stage.later(after, HttpStep::Replied(post, status));
}
