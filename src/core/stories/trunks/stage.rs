//! A stage for stories of crowds: two trunks, people who are called, and a disk, each of which takes its time.
//!
//! A seed shakes how long the disk, the network and the people take, within what a machine that is well does; nothing else
//! is left to chance.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    carrier::{
        AttemptEvent, CallEnd, CallMark, CallOrder, CallOutcome, CallState, CarrierEvent,
        CarrierMessage, DriverId, Link,
    },
    cause::Cause,
    challenge::{AttemptKey, ChallengeKey},
    clock::Mono,
    config::{CarrierConfig, Config, carrier::Transport},
    core::{
        Core, CoreSettings, Input, Output, Unobserved,
        notice::Notices,
        stories::{arrival, carrier_update, config, time},
    },
    ledger::{Batch, Done, Epoch, InboxKey, ReportKey},
    number::Number,
    protocol::rtp::Key,
    routing::plan,
};

/// A core, its disk, its trunks, and what comes when.
pub struct Stage {
    config: Arc<Config>,
    core: Core,
    seed: u64,
    rolls: u16,
    now: Mono,
    due: BTreeMap<(Mono, u64), Happening>,
    last: u64,
    trunks: Vec<Trunk>,
    disk: Vec<Batch>,
    /// How long the trunks ask not to be called.
    pause: Duration,
    /// The INVITEs: when, by which trunk, and whether it is told to come later.
    pub invited: Vec<(Duration, Arc<str>, bool)>,
    /// When each person was asked to be called, by number.
    asked: BTreeMap<Number, Mono>,
    /// How long it took from there until `#` was pressed.
    pub pressed: BTreeMap<Number, Duration>,
}

struct Trunk {
    name: Arc<str>,
    calls: Vec<TrunkCall>,
}

struct TrunkCall {
    key: AttemptKey,
    to: Number,
    picked_up: bool,
}

enum Happening {
    Arrives(Box<Input>),
    Disk,
    Says(usize, CarrierEvent),
    PicksUp(usize, usize),
    Presses(usize, usize),
}

const RINGS: Duration = Duration::from_millis(100);
/// Seconds.
const LIFE: u32 = 180;

impl Stage {
    pub fn new(seed: u64, pause: Duration) -> Stage {
        let config = Arc::new(unpaced());
        let now = Mono::after_start(Duration::from_secs(1));
        let epoch = Epoch {
            first_challenge: ChallengeKey(1),
            first_report: ReportKey(1),
            first_message: InboxKey(1),
            limiter: [0; 32],
        };
        let settings = CoreSettings {
            config: config.clone(),
            broker: false,
            epoch,
            observer: Box::new(Unobserved),
            notices: Notices::nowhere(),
        };
        let mut stage = Stage {
            config: config.clone(),
            core: Core::new(settings, time(now)),
            seed,
            rolls: 0,
            now,
            due: BTreeMap::new(),
            last: 0,
            trunks: Vec::new(),
            disk: Vec::new(),
            pause,
            invited: Vec::new(),
            asked: BTreeMap::new(),
            pressed: BTreeMap::new(),
        };
        let is_trunk =
            |carrier: &&Arc<CarrierConfig>| matches!(carrier.transport, Transport::Sip(_));
        let mut updates = Vec::new();
        for (at, carrier) in (0..).zip(config.carriers.values().filter(is_trunk)) {
            updates.push(carrier_update(carrier, DriverId(at), 500));
            stage.trunks.push(Trunk {
                name: carrier.name.clone(),
                calls: Vec::new(),
            });
        }
        stage.core.configure(config, updates);
        for at in 0..stage.trunks.len() {
            for link in [Link::Up, Link::Probe { ok: true }] {
                stage.says(at, Duration::ZERO, CarrierEvent::Link(link));
            }
        }
        stage
    }

    /// A time between these, in microseconds.
    pub fn between(&mut self, least: u64, most: u64) -> Duration {
        self.rolls = self.rolls.wrapping_add(1);
        let roll = plan::roll(&format!("{}", self.seed), self.rolls);
        Duration::from_micros(least + roll % (most - least))
    }

    fn later(&mut self, after: Duration, what: Happening) {
        self.last += 1;
        self.due.insert((self.now + after, self.last), what);
    }

    fn says(&mut self, trunk: usize, after: Duration, what: CarrierEvent) {
        self.later(after, Happening::Says(trunk, what));
    }

    fn tells(&mut self, trunk: usize, after: Duration, call: usize, event: AttemptEvent) {
        let key = self.trunks[trunk].calls[call].key;
        self.says(trunk, after, CarrierEvent::Attempt(key, event));
    }

    /// Somebody asks for a call, after a while.
    pub fn ask(&mut self, after: Duration, id: &str, to: &str) {
        let at = self.now + after;
        let body = serde_json::json!({
            "id": id, "to": to, "method": "voice_confirm", "lifetime_s": LIFE,
        });
        let to = Number::from_e164(to).expect("a number");
        self.asked.insert(to, at);
        let job = arrival(&self.config, body, at);
        self.later(after, Happening::Arrives(Box::new(job)));
    }

    /// Goes on until then.
    pub fn run(&mut self, until: Duration) {
        let until = Mono::after_start(until);
        while self.now < until {
            self.carry_out();
            let wake = self.core.deadline(time(self.now)).max(self.now);
            let next = self.due.first_key_value().map(|((at, _), _)| *at);
            match next.filter(|at| *at <= wake) {
                Some(at) => {
                    self.now = self.now.max(at);
                    if let Some((_, what)) = self.due.pop_first() {
                        self.happens(what);
                    }
                }
                None => self.now = wake,
            }
            self.core.turn(time(self.now));
        }
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Commit(batch) => {
                    if self.disk.is_empty() {
                        let takes = self.between(500, 6_000);
                        self.later(takes, Happening::Disk);
                    }
                    self.disk.push(batch);
                }
                Output::Call(trunk, order) => self.prepared(trunk.0 as usize, &order),
                Output::Recorded(trunk, CallMark(call)) => {
                    self.recorded(trunk.0 as usize, call as usize);
                }
                Output::LookUp(_)
                | Output::Text(..)
                | Output::EndCall(..)
                | Output::ReadReports
                | Output::HangUp(..)
                | Output::Finish(..)
                | Output::Answer(..)
                | Output::Acknowledge(_)
                | Output::Refuse(_)
                | Output::Publish(_)
                | Output::Notify(_)
                | Output::Ordered(..) => {}
            }
        }
    }

    fn happens(&mut self, what: Happening) {
        let now = time(self.now);
        match what {
            Happening::Arrives(job) => self.core.handle(now, *job),
            Happening::Disk => {
                for batch in std::mem::take(&mut self.disk) {
                    let done = Done {
                        number: batch.number,
                        ..Done::default()
                    };
                    self.core.handle(now, Input::Committed(done));
                }
            }
            Happening::Says(trunk, what) => {
                let carrier = self.trunks[trunk].name.clone();
                self.core
                    .handle(now, Input::Carrier(CarrierMessage { carrier, what }));
            }
            Happening::PicksUp(trunk, call) => {
                self.trunks[trunk].calls[call].picked_up = true;
                let state = AttemptEvent::CallState(CallState("2".into()), CallMark(call as u64));
                self.tells(trunk, Duration::ZERO, call, state);
            }
            Happening::Presses(trunk, call) => {
                let to = self.trunks[trunk].calls[call].to;
                let took = self.now.saturating_duration_since(self.asked[&to]);
                self.pressed.entry(to).or_insert(took);
                let end = CallEnd {
                    outcome: CallOutcome::Confirmed,
                    digits: "#".into(),
                    carrier_code: None,
                };
                let none = Duration::ZERO;
                self.tells(trunk, none, call, AttemptEvent::KeyPressed(Key::POUND));
                self.tells(trunk, none, call, AttemptEvent::CallEnded(end));
                self.tells(
                    trunk,
                    Duration::from_millis(300),
                    call,
                    AttemptEvent::CallCleared,
                );
            }
        }
    }

    fn prepared(&mut self, trunk: usize, order: &CallOrder) {
        let calls = &mut self.trunks[trunk].calls;
        let call = calls.len();
        calls.push(TrunkCall {
            key: order.key,
            to: order.to,
            picked_up: false,
        });
        let after = self.between(100, 2_000);
        let state = AttemptEvent::CallState(CallState("1".into()), CallMark(call as u64));
        self.tells(trunk, after, call, state);
    }

    /// Its INVITE leaves, or its ACK.
    fn recorded(&mut self, trunk: usize, call: usize) {
        let TrunkCall { to, picked_up, .. } = self.trunks[trunk].calls[call];
        let answered = self.between(300, 4_000);
        if picked_up {
            self.tells(trunk, answered, call, AttemptEvent::Answered);
            let presses = self.between(400_000, 900_000);
            return self.later(presses, Happening::Presses(trunk, call));
        }
        let (at, later) = (self.now.since_start(), comes_later(to));
        let name = self.trunks[trunk].name.clone();
        self.invited.push((at, name, later));
        let references = vec![format!("call-{trunk}-{call}").into()];
        self.tells(trunk, answered, call, AttemptEvent::Accepted { references });
        if later {
            let mut failure = Cause::Throttled.failure(Some("503 Service Unavailable".into()));
            failure.retry_after = Some(self.pause);
            let after = answered + self.between(100, 2_000);
            self.tells(trunk, after, call, AttemptEvent::Failed(failure));
            let cleared = after + Duration::from_millis(1);
            return self.tells(trunk, cleared, call, AttemptEvent::CallCleared);
        }
        let rings = answered + RINGS;
        self.tells(trunk, rings, call, AttemptEvent::Ringing);
        self.later(rings + RINGS, Happening::PicksUp(trunk, call));
    }
}

/// Every trunk tells this number to come later, every time.
fn comes_later(to: Number) -> bool {
    to.e164().ends_with("9028")
}

/// That of the rehearsals, without the paces of its trunks.
fn unpaced() -> Config {
    let mut config = config();
    let unpaced = |(name, carrier): (&Arc<str>, &Arc<CarrierConfig>)| {
        let carrier = CarrierConfig {
            pace: None,
            ..(**carrier).clone()
        };
        (name.clone(), Arc::new(carrier))
    };
    config.carriers = Arc::new(config.carriers.iter().map(unpaced).collect());
    config
}
