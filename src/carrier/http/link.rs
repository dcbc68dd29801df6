//! What is known of an HTTP carrier's link, and the slots that follow from it: up while connections come to be, found out
//! again by a cheap probe. Pure: each method says what the core is to be told.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    carrier::{Link, Slots, throttle::ThrottleLimiter},
    retry::Waits,
};

pub struct LinkState {
    reach: Reach,
    window: u32,
    /// From one probe to the next while it is up; none: never probed, and taken for up until the core learns better.
    probe: Option<Duration>,
    throttle: ThrottleLimiter,
    waits: Waits,
    next_probe: Option<Instant>,
    /// As the core sees them.
    slots: Slots,
    /// Nothing more is said: after a reload the name is another driver's.
    is_draining: bool,
}

#[derive(PartialEq, Eq)]
enum Reach {
    Unknown,
    Up,
    Down(String),
}

impl LinkState {
    /// `seed`: of the waits between probes of one that is down.
    pub fn new(window: u32, probe: Option<Duration>, seed: u64) -> LinkState {
        LinkState {
            reach: Reach::Unknown,
            window,
            probe,
            throttle: ThrottleLimiter::default(),
            waits: Waits::seeded(seed),
            next_probe: None,
            slots: Slots::default(),
            is_draining: false,
        }
    }

    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    pub fn window(&self) -> u32 {
        self.window
    }

    pub fn is_down(&self) -> bool {
        matches!(self.reach, Reach::Down(_))
    }

    // --- what comes in -------------------------------------------------------------------------------------------

    pub fn begin(&mut self, now: Instant) -> Option<Link> {
        match self.probe {
            Some(_) => {
                self.next_probe = Some(now);
                None
            }
            None => self.up(now),
        }
    }

    /// The carrier answers.
    pub fn up(&mut self, now: Instant) -> Option<Link> {
        if self.reach == Reach::Up || self.is_draining {
            return None;
        }
        self.reach = Reach::Up;
        self.waits.succeeded();
        self.next_probe = self.probe.map(|probe| now + probe);
        self.count_slots();
        Some(Link::Up)
    }

    /// A request found no connection. Without probes nothing would find out when there is one again.
    pub fn unreachable(&mut self, reason: String, now: Instant) -> Option<Link> {
        self.probe?;
        self.down(reason, now)
    }

    /// The next probe comes soon; it is said once for each reason.
    pub fn down(&mut self, reason: String, now: Instant) -> Option<Link> {
        if self.is_draining {
            return None;
        }
        self.next_probe = Some(now + self.waits.next_wait());
        if matches!(&self.reach, Reach::Down(known) if *known == reason) {
            return None;
        }
        let said: Arc<str> = reason.as_str().into();
        self.reach = Reach::Down(reason);
        self.count_slots();
        Some(Link::Down { reason: said })
    }

    /// A probe found a connection, or the reason why not. The link's own word comes before the probe's: so the answer counts
    /// for the state that it has brought about.
    pub fn probed(
        &mut self,
        found: Result<(), impl fmt::Display>,
        now: Instant,
    ) -> [Option<Link>; 2] {
        let ok = found.is_ok();
        let link = match found {
            Ok(()) => {
                self.next_probe = self.probe.map(|probe| now + probe);
                self.up(now)
            }
            Err(error) => self.down(error.to_string(), now),
        };
        [link, Some(Link::Probe { ok })]
    }

    /// The carrier is full, and has perhaps named a pause.
    pub fn throttled(&mut self, pause: Option<Duration>, now: Instant) {
        self.throttle.throttled(self.window, pause, now);
        self.count_slots();
    }

    /// Gives back what throttling has taken, as time allows.
    pub fn recover(&mut self, now: Instant) -> Option<Link> {
        if !self.throttle.recover(self.window, now) {
            return None;
        }
        self.count_slots();
        (self.reach == Reach::Up).then_some(Link::Room)
    }

    /// Another configuration. `fresh`: what was known is of no use, the address or the credentials are others.
    pub fn change(
        &mut self,
        window: u32,
        probe: Option<Duration>,
        fresh: bool,
        now: Instant,
    ) -> [Option<Link>; 2] {
        (self.window, self.probe) = (window, probe);
        if fresh {
            self.reach = Reach::Unknown;
            self.throttle = ThrottleLimiter::default();
            self.waits.succeeded();
        }
        let mut up = None;
        match self.probe {
            None => {
                self.next_probe = None;
                up = self.up(now);
            }
            Some(_) if self.reach != Reach::Up => self.next_probe = Some(now),
            Some(probe) => self.next_probe = Some(now + probe),
        }
        self.count_slots();
        let room = (self.reach == Reach::Up).then_some(Link::Room);
        [up, room]
    }

    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    // --- what it wants -------------------------------------------------------------------------------------------

    /// When it wants a probe.
    pub fn probe_at(&self) -> Option<Instant> {
        self.next_probe
    }

    /// When [`LinkState::recover`] wants to be called.
    pub fn recover_at(&self) -> Option<Instant> {
        self.throttle.next_deadline()
    }

    fn count_slots(&self) {
        let all = match self.reach {
            Reach::Up => self.window,
            Reach::Unknown | Reach::Down(_) => 0,
        };
        self.slots.set(self.throttle.slots(all));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Duration = Duration::from_secs(30);

    fn down(reason: &str) -> Option<Link> {
        Some(Link::Down {
            reason: reason.into(),
        })
    }

    #[test]
    fn a_probe_finds_it_and_each_reason_is_said_once() {
        let (mut link, now) = (LinkState::new(10, Some(PROBE), 7), Instant::now());
        assert_eq!(link.begin(now), None);
        assert_eq!(link.probe_at(), Some(now));
        let refused = || Err("refused");
        let probe = |ok| Some(Link::Probe { ok });
        assert_eq!(link.probed(refused(), now), [down("refused"), probe(false)]);
        assert!(link.probe_at() < Some(now + PROBE));
        assert_eq!(link.probed(refused(), now), [None, probe(false)]);
        assert_eq!((link.is_down(), link.slots().get()), (true, 0));
        assert_eq!(
            link.probed(Ok::<(), &str>(()), now),
            [Some(Link::Up), probe(true)]
        );
        assert_eq!(
            (link.slots().get(), link.probe_at()),
            (10, Some(now + PROBE))
        );
        assert_eq!(link.unreachable("reset".into(), now), down("reset"));
        link.drain();
        assert_eq!(link.up(now), None);
    }

    #[test]
    fn one_that_is_never_probed_is_up_whatever_a_request_finds() {
        let (mut link, now) = (LinkState::new(10, None, 7), Instant::now());
        assert_eq!(link.begin(now), Some(Link::Up));
        assert_eq!(link.unreachable("reset".into(), now), None);
        assert_eq!((link.slots().get(), link.probe_at()), (10, None));
    }

    #[test]
    fn throttling_and_changes_move_the_slots() {
        let (mut link, now) = (LinkState::new(16, None, 7), Instant::now());
        link.begin(now);
        link.throttled(Some(Duration::from_secs(2)), now);
        assert_eq!((link.slots().get(), link.recover(now)), (8, None));
        let due = link.recover_at().unwrap();
        assert_eq!(due, now + Duration::from_secs(2));
        assert_eq!(link.recover(due), Some(Link::Room));
        assert_eq!(
            link.change(4, Some(PROBE), false, due),
            [None, Some(Link::Room)]
        );
        assert_eq!(link.slots().get(), 4);
        assert_eq!(link.change(4, Some(PROBE), true, due), [None, None]);
        assert_eq!((link.slots().get(), link.probe_at()), (0, Some(due)));
    }
}
