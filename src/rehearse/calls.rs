//! A trunk, and the people who pick up.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::carriers::{self, Effect, Stage};
use crate::{
    carrier::{AttemptEvent, CallEnd, CallMark, CallOrder, CallOutcome, CallState, CarrierEvent},
    cause::Cause,
    challenge::{AttemptKey, Method, Millis},
    protocol::rtp::Key,
};

/// The driver's wait for the first answer.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// From there on until the INVITE's transaction is over (RFC 3261, timer B).
const TRANSACTION: Duration = Duration::from_secs(27);
/// A call is up no longer than this, if the gateway keeps its word.
const LONGEST: Duration = Duration::from_secs(240);

pub struct Calls {
    place: u32,
    last: u64,
    /// The calls of this life's driver, by their marks.
    calls: BTreeMap<u64, Call>,
    /// What is up at the far end, by Call-ID: outlives the process.
    far: BTreeMap<Arc<str>, AttemptKey>,
}

struct Call {
    key: AttemptKey,
    id: Arc<str>,
    method: Method,
    deadline: Millis,
    stage: Stand,
    fate: Fate,
    /// The core has been told how it ended.
    settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// The INVITE waits until it is recorded.
    Prepared,
    Invited,
    /// Picked up; our ACK waits until it is recorded.
    PickedUp,
    Talking,
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Presses,
    NoKey,
    Voicemail,
    HangsUp,
    Busy,
    Declines,
    RingsOut,
    Refused,
    Throttled,
    Silent,
}

#[derive(Debug)]
pub enum CallStep {
    Prepared(u64),
    Trying(u64),
    /// No answer to the INVITE in time.
    Unanswered(u64),
    Ringing(u64),
    PicksUp(u64),
    /// The end that its fate has.
    Ends(u64),
    CodeRead(u64),
    Cleared(u64),
    /// Nobody should want this call any more.
    Longest(Arc<str>),
    /// A call of an earlier life is ended.
    OrphanEnded(Arc<str>),
}

impl CallStep {
    pub fn outlives_a_crash(&self) -> bool {
        matches!(self, CallStep::Longest(_))
    }
}

impl Calls {
    pub fn new(place: u32) -> Calls {
        Calls {
            place,
            last: 0,
            calls: BTreeMap::new(),
            far: BTreeMap::new(),
        }
    }

    pub fn crash(&mut self) {
        self.calls.clear();
    }

    /// How many calls are up at the far end.
    pub fn up(&self) -> usize {
        self.far.len()
    }

    /// The driver of a new life is told of a call that may be up.
    pub fn end_orphan(&self, state: &str, stage: &mut Stage<'_>) {
        let id: Arc<str> = state.split('/').next().unwrap_or_default().into();
        let after = stage.dice.between(50, 1_500);
        stage.later(after, carriers::Step::Call(CallStep::OrphanEnded(id)));
    }

    pub fn submit(&mut self, order: &CallOrder, stage: &mut Stage<'_>) {
        self.last += 1;
        let mark = self.last;
        let call = Call {
            key: order.key,
            id: format!("call-{}-{mark}", self.place).into(),
            method: order.content.method,
            deadline: order.deadline,
            stage: Stand::Prepared,
            fate: fate(stage),
            settled: false,
        };
        self.calls.insert(mark, call);
        let after = Duration::from_micros(100 + stage.dice.below(2_000));
        stage.later(after, carriers::Step::Call(CallStep::Prepared(mark)));
    }

    /// What it waited for is durable.
    pub fn recorded(&mut self, mark: CallMark, wall: Millis, stage: &mut Stage<'_>) {
        let mark = mark.0;
        let Some(call) = self.calls.get_mut(&mark) else {
            return;
        };
        match call.stage {
            Stand::Prepared if wall >= call.deadline => {
                let failure = Cause::CarrierFault.failure(None);
                settle(call, AttemptEvent::Failed(failure), stage);
                self.clear(mark, stage);
            }
            Stand::Prepared => {
                call.stage = Stand::Invited;
                stage.effects.push(Effect::Invited(call.key));
                self.far.insert(call.id.clone(), call.key);
                let longest = CallStep::Longest(call.id.clone());
                stage.later(LONGEST, carriers::Step::Call(longest));
                let (after, next) = match call.fate {
                    Fate::Silent => (RESPONSE_TIMEOUT, CallStep::Unanswered(mark)),
                    _ => (stage.dice.between(20, 300), CallStep::Trying(mark)),
                };
                stage.later(after, carriers::Step::Call(next));
            }
            Stand::PickedUp => {
                call.stage = Stand::Talking;
                stage.say(CarrierEvent::Attempt(call.key, AttemptEvent::Answered));
                let after = stage.dice.between(500, 12_000);
                stage.later(after, carriers::Step::Call(CallStep::Ends(mark)));
            }
            Stand::Invited | Stand::Talking | Stand::Over => {}
        }
    }

    pub fn hang_up(&mut self, key: AttemptKey, stage: &mut Stage<'_>) {
        let found = self
            .calls
            .iter_mut()
            .find(|(_, call)| call.key == key && call.stage != Stand::Over);
        let Some((mark, call)) = found else {
            return;
        };
        let mark = *mark;
        let event = match call.stage {
            Stand::Talking => AttemptEvent::CallEnded(end(CallOutcome::Cancelled, "")),
            _ => AttemptEvent::Failed(
                Cause::Cancelled.failure(Some("487 Request Terminated".into())),
            ),
        };
        settle(call, event, stage);
        self.clear(mark, stage);
    }

    pub fn step(&mut self, step: CallStep, stage: &mut Stage<'_>) {
        match step {
            CallStep::Longest(id) => {
                if let Some(key) = self.far.get(&id) {
                    stage.effects.push(Effect::UnterminatedCall(*key));
                }
            }
            CallStep::OrphanEnded(id) => {
                self.far.remove(&id);
            }
            CallStep::Prepared(mark) => self.with(mark, Stand::Prepared, stage, |call, stage| {
                let state = CallState(format!("{}/1", call.id).into());
                let event = AttemptEvent::CallState(state, CallMark(mark));
                stage.say(CarrierEvent::Attempt(call.key, event));
            }),
            CallStep::Trying(mark) => self.trying(mark, stage),
            CallStep::Unanswered(mark) => self.with(mark, Stand::Invited, stage, |call, stage| {
                let cause = Cause::CarrierFault;
                stage.say(CarrierEvent::Attempt(
                    call.key,
                    AttemptEvent::InDoubt { cause },
                ));
                stage.later(TRANSACTION, carriers::Step::Call(CallStep::Ends(mark)));
            }),
            CallStep::Ringing(mark) => self.with(mark, Stand::Invited, stage, |call, stage| {
                stage.say(CarrierEvent::Attempt(call.key, AttemptEvent::Ringing));
                let (after, next) = match call.fate {
                    Fate::RingsOut => (Duration::from_secs(30), CallStep::Ends(mark)),
                    Fate::Busy | Fate::Declines => {
                        (stage.dice.between(50, 4_000), CallStep::Ends(mark))
                    }
                    _ => (stage.dice.between(800, 9_000), CallStep::PicksUp(mark)),
                };
                stage.later(after, carriers::Step::Call(next));
            }),
            CallStep::PicksUp(mark) => self.with(mark, Stand::Invited, stage, |call, stage| {
                call.stage = Stand::PickedUp;
                let state = CallState(format!("{}/2", call.id).into());
                let event = AttemptEvent::CallState(state, CallMark(mark));
                stage.say(CarrierEvent::Attempt(call.key, event));
            }),
            CallStep::Ends(mark) => self.ends(mark, stage),
            CallStep::CodeRead(mark) => {
                let Some(call) = self.calls.get_mut(&mark) else {
                    return;
                };
                if call.stage == Stand::Talking {
                    stage.effects.push(Effect::Talks(call.key));
                    stage.effects.push(Effect::CodeRead(call.key));
                    let event = AttemptEvent::CallEnded(end(CallOutcome::CodeRead, "#"));
                    settle(call, event, stage);
                    self.clear(mark, stage);
                }
            }
            CallStep::Cleared(mark) => {
                if let Some(call) = self.calls.remove(&mark) {
                    stage.say(CarrierEvent::Attempt(call.key, AttemptEvent::CallCleared));
                }
            }
        }
    }

    fn with(
        &mut self,
        mark: u64,
        stand: Stand,
        stage: &mut Stage<'_>,
        what: impl FnOnce(&mut Call, &mut Stage<'_>),
    ) {
        if let Some(call) = self.calls.get_mut(&mark)
            && call.stage == stand
        {
            what(call, stage);
        }
    }

    fn trying(&mut self, mark: u64, stage: &mut Stage<'_>) {
        self.with(mark, Stand::Invited, stage, |call, stage| {
            let references = vec![call.id.clone()];
            stage.say(CarrierEvent::Attempt(
                call.key,
                AttemptEvent::Accepted { references },
            ));
            let after = stage.dice.between(10, 900);
            let next = match call.fate {
                Fate::Refused | Fate::Throttled => CallStep::Ends(mark),
                _ => CallStep::Ringing(mark),
            };
            stage.later(after, carriers::Step::Call(next));
        });
    }

    fn ends(&mut self, mark: u64, stage: &mut Stage<'_>) {
        let Some(call) = self.calls.get_mut(&mark) else {
            return;
        };
        if call.stage == Stand::Talking {
            stage.effects.push(Effect::Talks(call.key));
        }
        let failed =
            |cause: Cause, code: &str| AttemptEvent::Failed(cause.failure(Some(code.into())));
        let event = match (call.fate, call.stage) {
            (Fate::Silent, Stand::Invited) => failed(Cause::CarrierFault, "408"),
            (Fate::Busy, Stand::Invited) => failed(Cause::Busy, "486 Busy Here"),
            (Fate::Declines, Stand::Invited) => failed(Cause::Declined, "603 Decline"),
            (Fate::RingsOut, Stand::Invited) => failed(Cause::NoAnswer, "487"),
            (Fate::Refused, Stand::Invited) => failed(Cause::CarrierFault, "500 Server"),
            (Fate::Throttled, Stand::Invited) => failed(Cause::Throttled, "503 Service"),
            (Fate::Presses, Stand::Talking) => {
                let pressed = AttemptEvent::KeyPressed(Key::POUND);
                stage.say(CarrierEvent::Attempt(call.key, pressed));
                stage.effects.push(Effect::Pressed(call.key));
                if call.method == Method::VoiceCode {
                    let after = stage.dice.between(6_000, 9_000);
                    return stage.later(after, carriers::Step::Call(CallStep::CodeRead(mark)));
                }
                AttemptEvent::CallEnded(end(CallOutcome::Confirmed, "#"))
            }
            (Fate::Voicemail, Stand::Talking) => {
                AttemptEvent::CallEnded(end(CallOutcome::Voicemail, ""))
            }
            (_, Stand::Talking) => AttemptEvent::CallEnded(end(CallOutcome::NoKeypress, "")),
            _ => return,
        };
        settle(call, event, stage);
        self.clear(mark, stage);
    }

    /// Our BYE, or theirs: nothing of it is up any more, and a moment later the driver says so.
    fn clear(&mut self, mark: u64, stage: &mut Stage<'_>) {
        if let Some(call) = self.calls.get_mut(&mark) {
            call.stage = Stand::Over;
            self.far.remove(&call.id);
            let after = stage.dice.between(1, 600);
            stage.later(after, carriers::Step::Call(CallStep::Cleared(mark)));
        }
    }
}

fn settle(call: &mut Call, event: AttemptEvent, stage: &mut Stage<'_>) {
    if !std::mem::replace(&mut call.settled, true) {
        stage.say(CarrierEvent::Attempt(call.key, event));
    }
}

fn end(outcome: CallOutcome, digits: &str) -> CallEnd {
    CallEnd {
        outcome,
        digits: digits.into(),
        carrier_code: None,
    }
}

fn fate(stage: &mut Stage<'_>) -> Fate {
    const OTHERS: [Fate; 9] = [
        Fate::NoKey,
        Fate::Voicemail,
        Fate::HangsUp,
        Fate::Busy,
        Fate::Declines,
        Fate::RingsOut,
        Fate::Refused,
        Fate::Throttled,
        Fate::Silent,
    ];
    match stage.dice.chance(stage.profile.call_fails) {
        true => *stage.dice.pick(&OTHERS),
        false => Fate::Presses,
    }
}
