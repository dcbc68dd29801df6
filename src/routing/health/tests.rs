//! Stories of one carrier, in time that stands still between the lines.

use super::*;

struct Story {
    health: Health,
    now: Instant,
}

const QUICK: Duration = Duration::from_millis(20);

impl Story {
    /// A carrier whose link has just come up.
    fn new() -> Story {
        let now = Instant::now();
        let mut health = Health::new(now, HealthSettings::default());
        assert_eq!(health.state(), State::Suspended(Reason::NotConnected));
        assert!(health.event(now, Evidence::LinkUp));
        assert_eq!(health.state(), State::Healthy);
        Story { health, now }
    }

    fn pass(&mut self, span: Duration) -> &mut Story {
        self.now += span;
        self.health.tick(self.now);
        self
    }

    fn seconds(&mut self, seconds: u64) -> &mut Story {
        self.pass(Duration::from_secs(seconds))
    }

    fn tell(&mut self, evidence: Evidence) -> &mut Story {
        self.health.event(self.now, evidence);
        self
    }

    /// An attempt whose outcome comes after a while.
    fn attempt(&mut self, outcome: Outcome, after: Duration) -> &mut Story {
        self.tell(Evidence::Started);
        self.now += after;
        self.tell(Evidence::Outcome { outcome, after })
    }

    fn is(&mut self, state: State) -> &mut Story {
        assert_eq!(self.health.state(), state);
        self
    }

    /// Until the back-off is over.
    fn wait(&mut self) -> Duration {
        let until = self
            .health
            .next_deadline()
            .expect("a suspension that time ends");
        let span = until - self.now;
        self.now = until;
        self.health.tick(until);
        span
    }
}

#[test]
fn a_lost_link_suspends_at_once_and_one_good_attempt_heals() {
    let mut story = Story::new();
    story
        .tell(Evidence::LinkDown {
            reason: "connection refused".into(),
        })
        .is(State::Suspended(Reason::LinkDown));
    assert_eq!(story.health.reason(), "link_down: connection refused");
    assert_eq!(
        story.health.next_deadline(),
        None,
        "only the link can end it"
    );
    story.seconds(3600).is(State::Suspended(Reason::LinkDown));
    story
        .tell(Evidence::LinkUp)
        .is(State::Probing(Reason::LinkDown));
    story.attempt(Outcome::Accepted, QUICK).is(State::Healthy);
    assert_eq!(story.health.reason(), "");
}

#[test]
fn faults_in_a_row_suspend_and_back_off_doubles_until_it_heals() {
    let mut story = Story::new();
    for _ in 0..4 {
        story.attempt(Outcome::Fault, QUICK).is(State::Healthy);
    }
    story
        .attempt(Outcome::Fault, QUICK)
        .is(State::Suspended(Reason::Faults));
    let mut waits = vec![story.wait()];
    for _ in 0..6 {
        story.is(State::Probing(Reason::Faults));
        assert_eq!(story.health.standing(), Standing::Probing { free: true });
        story
            .attempt(Outcome::Fault, QUICK)
            .is(State::Suspended(Reason::Faults));
        waits.push(story.wait());
    }
    let seconds: Vec<u64> = waits.iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [2, 4, 8, 16, 32, 60, 60]);
    for _ in 0..2 {
        story
            .attempt(Outcome::Accepted, QUICK)
            .is(State::Probing(Reason::Faults));
    }
    story.attempt(Outcome::Refused, QUICK).is(State::Healthy);
}

#[test]
fn a_probing_carrier_gets_one_attempt_at_a_time_and_a_lost_one_counts_against_it() {
    let mut story = Story::new();
    for _ in 0..5 {
        story.attempt(Outcome::Fault, QUICK);
    }
    story.wait();
    story.tell(Evidence::Started);
    assert_eq!(story.health.standing(), Standing::Probing { free: false });
    story.seconds(14).is(State::Probing(Reason::Faults));
    story.seconds(1).is(State::Suspended(Reason::Faults));
}

#[test]
fn half_bad_within_the_window_suspends_but_not_below_the_floor() {
    let mut story = Story::new();
    for _ in 0..4 {
        story
            .attempt(Outcome::Accepted, QUICK)
            .attempt(Outcome::Fault, QUICK);
    }
    story.is(State::Healthy);
    story
        .attempt(Outcome::Accepted, QUICK)
        .attempt(Outcome::Fault, QUICK);
    story.is(State::Suspended(Reason::Faults));
    // The same, slowly: old outcomes have left the window.
    let mut story = Story::new();
    for _ in 0..20 {
        story
            .attempt(Outcome::Accepted, QUICK)
            .attempt(Outcome::Fault, QUICK)
            .seconds(5);
    }
    story.is(State::Healthy);
}

#[test]
fn a_silent_carrier_is_left_within_ten_seconds_even_with_one_challenge_a_second() {
    let mut story = Story::new();
    let start = story.now;
    let answer_wait = Duration::from_secs(5);
    // Sent at 0, 1, 2, ...; each is in doubt five seconds later.
    for second in 0..10 {
        story.now = start + Duration::from_secs(second) + answer_wait;
        story.tell(Evidence::Outcome {
            outcome: Outcome::InDoubt,
            after: answer_wait,
        });
        if story.health.state() != State::Healthy {
            break;
        }
    }
    story.is(State::Suspended(Reason::Silent));
    assert!(story.now - start < Duration::from_secs(10));
    // What was sent before and comes in doubt only now is no answer to a probe.
    story.wait();
    story
        .tell(Evidence::Outcome {
            outcome: Outcome::InDoubt,
            after: answer_wait,
        })
        .is(State::Probing(Reason::Silent));
}

#[test]
fn full_throttling_is_as_good_as_down_and_some_throttling_is_not() {
    let mut story = Story::new();
    let start = story.now;
    while story.health.state() == State::Healthy && story.now - start < Duration::from_secs(10) {
        story
            .attempt(Outcome::Throttled, QUICK)
            .pass(Duration::from_millis(500));
    }
    story.is(State::Suspended(Reason::Throttled));
    let mut story = Story::new();
    for _ in 0..500 {
        story
            .attempt(Outcome::Throttled, QUICK)
            .attempt(Outcome::Throttled, QUICK)
            .attempt(Outcome::Accepted, QUICK);
    }
    story.is(State::Healthy);
}

#[test]
fn the_carriers_own_pause_is_kept() {
    let mut story = Story::new();
    story.tell(Evidence::RetryAfter(Duration::from_secs(30)));
    story.is(State::Suspended(Reason::RetryAfter));
    story.seconds(29).is(State::Suspended(Reason::RetryAfter));
    story.seconds(1).is(State::Probing(Reason::RetryAfter));
    story.attempt(Outcome::Accepted, QUICK).is(State::Healthy);
}

#[test]
fn receipts_that_collapse_against_the_own_baseline_suspend() {
    let mut story = Story::new();
    // A carrier of eight good receipts in ten.
    for n in 0..200 {
        story
            .tell(Evidence::Receipt {
                delivered: n % 5 != 0,
            })
            .seconds(1);
    }
    story.is(State::Healthy);
    let mut lost = 0;
    while story.health.state() == State::Healthy && lost < 200 {
        story
            .attempt(Outcome::Accepted, QUICK)
            .tell(Evidence::Receipt { delivered: false })
            .seconds(1);
        lost += 1;
    }
    story.is(State::Suspended(Reason::ReceiptsCollapsed));
    assert!((20..130).contains(&lost), "{lost}");
    story.wait();
    // That it takes texts proves nothing; that they arrive does.
    for _ in 0..3 {
        story.is(State::Probing(Reason::ReceiptsCollapsed));
        story
            .attempt(Outcome::Accepted, QUICK)
            .is(State::Probing(Reason::ReceiptsCollapsed));
        story.tell(Evidence::Receipt { delivered: true });
    }
    story.is(State::Healthy);
}

#[test]
fn under_load_a_collapse_shows_within_a_few_dozen_receipts() {
    let mut story = Story::new();
    for _ in 0..500 {
        story.tell(Evidence::Receipt { delivered: true });
    }
    let mut lost = 0;
    while story.health.state() == State::Healthy && lost < 500 {
        story.tell(Evidence::Receipt { delivered: false });
        lost += 1;
    }
    story.is(State::Suspended(Reason::ReceiptsCollapsed));
    assert!(lost <= 40, "{lost}");
}

#[test]
fn a_carrier_that_never_had_good_receipts_has_no_baseline_to_fall_from() {
    let mut story = Story::new();
    for _ in 0..500 {
        story
            .tell(Evidence::Receipt { delivered: false })
            .seconds(1);
    }
    story.is(State::Healthy);
}

#[test]
fn one_that_says_nothing_about_its_link_is_tried_after_a_while() {
    let now = Instant::now();
    let mut health = Health::new(now, HealthSettings::default());
    assert!(health.tick(now + Duration::from_secs(5)));
    assert_eq!(health.state(), State::Probing(Reason::NotConnected));
}

#[test]
fn one_whose_first_probe_is_answered_is_healthy_from_the_start() {
    let now = Instant::now();
    let mut health = Health::new(now, HealthSettings::default());
    health.event(now, Evidence::Probe { ok: true });
    health.event(now, Evidence::LinkUp);
    assert_eq!(health.state(), State::Healthy);
}
