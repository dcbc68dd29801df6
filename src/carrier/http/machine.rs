//! What an HTTP carrier decides between orders, requests and its link: which order becomes a request, what the core is told,
//! when a probe goes out, and how it ends. Pure: the driver around it has the sockets.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    exchange::{Exchange, Seen},
    link::LinkState,
};
use crate::{
    carrier::{AttemptEvent, CarrierEvent, Link, Slots},
    cause::Cause,
    challenge::AttemptKey,
    config::carrier::CarrierConfig,
};

/// How long answers may take while draining, beyond the carrier's own response timeout.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

pub struct HttpMachine {
    config: Arc<CarrierConfig>,
    link: LinkState,
    /// Whose requests are in the air.
    in_flight: BTreeSet<AttemptKey>,
    /// Those of them that left by another link than the present one: of that they tell nothing.
    of_former_link: BTreeSet<AttemptKey>,
    /// A probe is under way.
    is_probing: bool,
    /// Nothing new is begun, and what is in the air is waited for until then.
    drain_until: Option<Instant>,
    events: VecDeque<CarrierEvent>,
}

impl HttpMachine {
    /// `window`: requests in the air at a time. `seed`: of the waits between probes.
    pub fn new(config: Arc<CarrierConfig>, window: u32, seed: u64) -> HttpMachine {
        HttpMachine {
            link: LinkState::new(window, config.probe, seed),
            config,
            in_flight: BTreeSet::new(),
            of_former_link: BTreeSet::new(),
            is_probing: false,
            drain_until: None,
            events: VecDeque::new(),
        }
    }

    // --- what comes in -------------------------------------------------------------------------------------------

    pub fn begin(&mut self, now: Instant) {
        let link = self.link.begin(now);
        self.say_link(link);
    }

    /// Its file can't be used: that is the link's reason, and every order fails.
    pub fn unusable(&mut self, reason: String, now: Instant) {
        let link = self.link.down(reason, now);
        self.say_link(link);
    }

    /// An order. True: its request is to be sent, and [`HttpMachine::ended`] or [`HttpMachine::broke`] will be told.
    pub fn submit(&mut self, key: AttemptKey) -> bool {
        if self.link.is_down() {
            self.refuse(key);
            return false;
        }
        self.in_flight.insert(key);
        true
    }

    /// An order that is not begun.
    pub fn refuse(&mut self, key: AttemptKey) {
        let failure = Cause::CarrierFault.failure(None);
        self.say(key, AttemptEvent::Failed(failure));
    }

    /// A request is over. What it tells of the link is said before what became of its text.
    pub fn ended(&mut self, key: AttemptKey, exchange: Exchange, now: Instant) {
        self.in_flight.remove(&key);
        if !self.of_former_link.remove(&key) {
            self.note_link(&exchange, now);
        }
        self.say(key, exchange.event);
    }

    fn note_link(&mut self, exchange: &Exchange, now: Instant) {
        let link = match &exchange.link {
            Seen::Answered { .. } => self.link.up(now),
            Seen::Unreachable(reason) => self.link.unreachable(reason.clone(), now),
            Seen::Nothing => None,
        };
        self.say_link(link);
        if let AttemptEvent::Failed(failure) = &exchange.event
            && failure.cause == Cause::Throttled
        {
            self.link.throttled(failure.retry_after, now);
        }
    }

    /// Whoever carried this request has broken off: it may have left.
    pub fn broke(&mut self, key: AttemptKey, now: Instant) {
        self.ended(key, Exchange::in_doubt(), now);
    }

    /// Is a probe due? True: it is taken for sent, and [`HttpMachine::probed`] will be told.
    pub fn probes(&mut self, now: Instant) -> bool {
        let is_due = self.link.probe_at().is_some_and(|at| at <= now);
        let probes = is_due && !self.is_probing && !self.is_draining();
        self.is_probing |= probes;
        probes
    }

    pub fn probed(&mut self, found: Result<(), impl fmt::Display>, now: Instant) {
        self.is_probing = false;
        for link in self.link.probed(found, now) {
            self.say_link(link);
        }
    }

    /// A deadline has come.
    pub fn timeout(&mut self, now: Instant) {
        if !self.is_draining() {
            let link = self.link.recover(now);
            self.say_link(link);
        }
    }

    /// Another configuration, from the next request on. Those in the air end as they began. `fresh`: what was known of the
    /// link is of no use, nor is a probe that is under way.
    pub fn change(&mut self, config: Arc<CarrierConfig>, window: u32, fresh: bool, now: Instant) {
        if fresh {
            self.is_probing = false;
            self.of_former_link.clone_from(&self.in_flight);
        }
        self.config = config;
        let links = self.link.change(window, self.config.probe, fresh, now);
        for link in links {
            self.say_link(link);
        }
    }

    /// Nothing new is begun. A probe that is under way is of no use any more.
    pub fn drain(&mut self, now: Instant) {
        if self.is_draining() {
            return;
        }
        self.link.drain();
        self.is_probing = false;
        self.drain_until = Some(now + self.config.response_timeout + DRAIN_GRACE);
    }

    /// It has ended: what is still in the air is not waited for.
    pub fn end(&mut self) {
        for key in std::mem::take(&mut self.in_flight) {
            self.say(key, Exchange::in_doubt().event);
        }
        self.link.slots().set(0);
    }

    // --- what goes out -------------------------------------------------------------------------------------------

    pub fn slots(&self) -> &Slots {
        self.link.slots()
    }

    /// For another order.
    pub fn has_room(&self) -> bool {
        !self.is_draining() && self.in_flight.len() < self.link.window() as usize
    }

    pub fn is_draining(&self) -> bool {
        self.drain_until.is_some()
    }

    /// Drained, or its time for that is over.
    pub fn is_over(&self, now: Instant) -> bool {
        self.drain_until
            .is_some_and(|until| self.in_flight.is_empty() || now >= until)
    }

    pub fn poll_event(&mut self) -> Option<CarrierEvent> {
        self.events.pop_front()
    }

    /// When [`HttpMachine::probes`] and [`HttpMachine::timeout`] are to be asked next, or [`HttpMachine::is_over`].
    pub fn deadline(&self) -> Option<Instant> {
        if self.is_draining() {
            return self.drain_until;
        }
        let probe = self.link.probe_at().filter(|_| !self.is_probing);
        probe.into_iter().chain(self.link.recover_at()).min()
    }

    fn say_link(&mut self, link: Option<Link>) {
        self.events.extend(link.map(CarrierEvent::Link));
    }

    fn say(&mut self, key: AttemptKey, event: AttemptEvent) {
        self.events.push_back(CarrierEvent::Attempt(key, event));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        challenge::ChallengeKey,
        config::carrier::{HttpConfig, HttpRequest, HttpResponse, Tls, Transport},
    };

    const TIMEOUT: Duration = Duration::from_secs(5);
    const PROBE: Duration = Duration::from_secs(30);

    fn config() -> Arc<CarrierConfig> {
        let request = HttpRequest {
            method: "POST".into(),
            url: "http://h/".into(),
            headers: Default::default(),
            auth: None,
            body: "{to} {text}".into(),
        };
        let response = HttpResponse {
            accepted: vec![200],
            reference: None,
            code: None,
            verdict: None,
        };
        Arc::new(CarrierConfig {
            name: "tailspin".into(),
            enabled: true,
            transport: Transport::Http(HttpConfig {
                window: 2,
                request,
                response,
                callback: None,
            }),
            endpoints: Vec::new(),
            tls: Tls::default(),
            pace: None,
            response_timeout: TIMEOUT,
            receipt_wait: None,
            probe: Some(PROBE),
            status: Default::default(),
        })
    }

    fn key(n: i64) -> AttemptKey {
        AttemptKey {
            challenge: ChallengeKey(n),
            attempt: 1,
        }
    }

    fn up(now: Instant) -> HttpMachine {
        let mut machine = HttpMachine::new(config(), 2, 7);
        machine.begin(now);
        assert!(machine.probes(now));
        machine.probed(Ok::<(), &str>(()), now);
        assert_eq!(machine.slots().get(), 2);
        said(&mut machine);
        machine
    }

    /// What the core is told, in a word each.
    fn said(machine: &mut HttpMachine) -> Vec<&'static str> {
        std::iter::from_fn(|| machine.poll_event())
            .map(|event| match event {
                CarrierEvent::Link(Link::Up) => "up",
                CarrierEvent::Link(Link::Down { .. }) => "down",
                CarrierEvent::Link(Link::Room) => "room",
                CarrierEvent::Link(Link::Probe { .. }) => "probe",
                CarrierEvent::Attempt(_, AttemptEvent::Accepted { .. }) => "accepted",
                CarrierEvent::Attempt(_, AttemptEvent::Failed(_)) => "failed",
                CarrierEvent::Attempt(_, AttemptEvent::InDoubt { .. }) => "in doubt",
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn unreachable() -> Exchange {
        let failure = Cause::CarrierFault.failure(None);
        Exchange {
            event: AttemptEvent::Failed(failure),
            link: Seen::Unreachable("refused".into()),
        }
    }

    #[test]
    fn the_window_is_kept() {
        let now = Instant::now();
        let mut machine = up(now);
        assert!(machine.submit(key(1)) && machine.has_room() && machine.submit(key(2)));
        assert!(!machine.has_room());
        machine.broke(key(1), now);
        assert!(machine.has_room());
        assert_eq!(said(&mut machine), ["in doubt"]);
    }

    #[test]
    fn a_request_without_a_connection_takes_the_link_down_first_and_a_probe_brings_it_back() {
        let now = Instant::now();
        let mut machine = up(now);
        assert!(machine.submit(key(1)));
        machine.ended(key(1), unreachable(), now);
        assert_eq!(said(&mut machine), ["down", "failed"]);
        assert!(!machine.submit(key(2)), "nothing waits for a dead link");
        assert_eq!(said(&mut machine), ["failed"]);
        let due = machine.deadline().unwrap();
        assert!(due < now + PROBE && !machine.probes(now) && machine.probes(due));
        assert!(!machine.probes(due), "one at a time");
        assert_eq!(machine.deadline(), None, "until it is answered");
        machine.probed(Ok::<(), &str>(()), due);
        assert_eq!(said(&mut machine), ["up", "probe"]);
        assert!(machine.submit(key(3)));
    }

    #[test]
    fn requests_by_a_former_link_say_nothing_of_the_present_one() {
        let now = Instant::now();
        let mut machine = up(now);
        assert!(machine.submit(key(1)) && machine.submit(key(2)));
        machine.change(config(), 3, true, now);
        let answered = Exchange {
            event: AttemptEvent::Accepted { references: vec![] },
            link: Seen::Answered {
                status: 200,
                oddity: None,
            },
        };
        machine.ended(key(1), answered, now);
        machine.ended(key(2), unreachable(), now);
        assert_eq!(said(&mut machine), ["accepted", "failed"]);
        assert_eq!(machine.slots().get(), 0, "a probe finds out");
        assert!(machine.probes(now));
        machine.probed(Ok::<(), &str>(()), now);
        assert!(machine.submit(key(3)));
        machine.ended(key(3), unreachable(), now);
        assert_eq!(said(&mut machine), ["up", "probe", "down", "failed"]);
    }

    #[test]
    fn draining_waits_for_what_is_in_the_air_for_a_bounded_time() {
        let now = Instant::now();
        let mut machine = up(now);
        assert!(machine.submit(key(1)) && machine.submit(key(2)));
        machine.drain(now);
        machine.ended(key(1), unreachable(), now);
        // Of the link nothing is said: the name is another's.
        assert_eq!(said(&mut machine), ["failed"]);
        let until = machine.deadline().unwrap();
        assert_eq!(until, now + TIMEOUT + DRAIN_GRACE);
        assert!(!machine.is_over(now) && !machine.has_room() && machine.is_over(until));
        machine.end();
        assert_eq!(said(&mut machine), ["in doubt"]);
        assert_eq!(machine.slots().get(), 0);
    }
}
