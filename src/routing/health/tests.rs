//! Stories of one carrier, in time that stands still between the lines.

use super::*;
use crate::cause::About;

mod later;

struct Story {
    health: Health,
    now: Mono,
}

const QUICK: Duration = Duration::from_millis(20);
/// What is left of a challenge's life when its text goes out.
const LIFE: Duration = Duration::from_secs(180);
/// How long receipts take.
const RECEIPT: Duration = Duration::from_secs(4);

fn receipt(delivered: bool) -> Evidence {
    let after = RECEIPT;
    Evidence::Receipt { delivered, after }
}

impl Story {
    /// A carrier whose link has just come up.
    fn new() -> Story {
        let now = Mono::default();
        let mut health = Health::new(now, HealthSettings::default());
        assert_eq!(health.state(), State::Suspended(Reason::NotConnected));
        assert!(health.event(now, Evidence::LinkUp { answered: true }));
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
        self.tell(Evidence::Started { left: LIFE });
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
        .tell(Evidence::LinkUp { answered: true })
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
        assert_eq!(
            story.health.standing(),
            Availability::Probing { free: true }
        );
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
    story
        .attempt(Outcome::Refused(About::Request), QUICK)
        .is(State::Healthy);
}

#[test]
fn a_probing_carrier_gets_one_attempt_at_a_time_and_a_lost_one_counts_against_it() {
    let mut story = Story::new();
    for _ in 0..5 {
        story.attempt(Outcome::Fault, QUICK);
    }
    story.wait();
    story.tell(Evidence::Started { left: LIFE });
    assert_eq!(
        story.health.standing(),
        Availability::Probing { free: false }
    );
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
    story.tell(Evidence::RetryAfter {
        pause: Duration::from_secs(30),
        after: QUICK,
    });
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
        story.tell(receipt(n % 5 != 0)).seconds(1);
    }
    story.is(State::Healthy);
    let mut lost = 0;
    while story.health.state() == State::Healthy && lost < 200 {
        story
            .attempt(Outcome::Accepted, QUICK)
            .tell(receipt(false))
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
        story.seconds(1).tell(receipt(true));
    }
    story.is(State::Healthy);
}

#[test]
fn under_load_a_collapse_shows_within_a_few_dozen_receipts() {
    let mut story = Story::new();
    for _ in 0..500 {
        story.tell(receipt(true));
    }
    let mut lost = 0;
    while story.health.state() == State::Healthy && lost < 500 {
        story.tell(receipt(false));
        lost += 1;
    }
    story.is(State::Suspended(Reason::ReceiptsCollapsed));
    assert!(lost <= 40, "{lost}");
}

#[test]
fn a_carrier_that_never_had_good_receipts_has_no_baseline_to_fall_from() {
    let mut story = Story::new();
    for _ in 0..500 {
        story.tell(receipt(false)).seconds(1);
    }
    story.is(State::Healthy);
}

#[test]
fn one_that_says_nothing_about_its_link_is_tried_after_a_while() {
    let now = Mono::default();
    let mut health = Health::new(now, HealthSettings::default());
    assert!(health.tick(now + Duration::from_secs(5)));
    assert_eq!(health.state(), State::Probing(Reason::NotConnected));
}

#[test]
fn one_whose_first_probe_is_answered_is_healthy_from_the_start() {
    let now = Mono::default();
    let mut health = Health::new(now, HealthSettings::default());
    health.event(now, Evidence::Probe { ok: true });
    health.event(now, Evidence::LinkUp { answered: true });
    assert_eq!(health.state(), State::Healthy);
}

/// The outcome of an attempt that was sent a while ago, among many others.
fn came(outcome: Outcome, after: u64) -> Evidence {
    let after = Duration::from_secs(after);
    Evidence::Outcome { outcome, after }
}

#[test]
fn at_low_traffic_one_that_answers_its_link_and_no_text_is_left_and_comes_back_only_by_texts() {
    let mut story = Story::new();
    // A text every 1.4 s is never answered; an enquire_link in between always is.
    let mut doubts = 0;
    while story.health.state() == State::Healthy {
        story.pass(Duration::from_millis(1_400));
        story.tell(came(Outcome::InDoubt, 3));
        story.tell(Evidence::Probe { ok: true });
        doubts += 1;
        assert!(doubts <= 3, "answered probes hide silent texts");
    }
    story.is(State::Suspended(Reason::Silent));
    assert!(
        story.health.reason().contains("3 attempts"),
        "{}",
        story.health.reason()
    );
    // Its link goes on answering: no text is risked before the pause is over, and the pauses grow.
    let mut waits = Vec::new();
    for _ in 0..6 {
        let asleep = story.health.next_deadline().expect("a pause that ends");
        story
            .tell(Evidence::Probe { ok: true })
            .is(State::Suspended(Reason::Silent));
        waits.push((asleep - story.now).as_secs());
        story.wait();
        story
            .tell(Evidence::Probe { ok: true })
            .is(State::Probing(Reason::Silent));
        story.attempt(Outcome::InDoubt, Duration::from_secs(3));
        story.is(State::Suspended(Reason::Silent));
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 60]);
}

#[test]
fn a_link_that_was_lost_and_is_back_hides_no_silence() {
    let mut story = Story::new();
    for _ in 0..3 {
        story.attempt(Outcome::InDoubt, Duration::from_secs(3));
    }
    story.is(State::Suspended(Reason::Silent));
    let reason: std::sync::Arc<str> = "connection reset".into();
    story
        .tell(Evidence::LinkDown { reason })
        .is(State::Suspended(Reason::LinkDown));
    story
        .tell(Evidence::LinkUp { answered: true })
        .is(State::Suspended(Reason::Silent));
    story.wait();
    story
        .tell(Evidence::Probe { ok: true })
        .is(State::Probing(Reason::Silent));
}

#[test]
fn what_was_in_the_air_makes_no_pause_longer() {
    let mut story = Story::new();
    let pause = Duration::from_secs(5);
    for _ in 0..12 {
        story.tell(Evidence::RetryAfter {
            pause,
            after: QUICK,
        });
    }
    assert_eq!(story.wait(), pause, "as it was given");
    story.attempt(Outcome::Fault, QUICK);
    let second = story.wait();
    assert_eq!(second.as_secs(), 4, "the second period, not the thirteenth");
    // The rest of what was in the air before the suspensions says nothing of the third.
    story.attempt(Outcome::Accepted, QUICK);
    for _ in 0..12 {
        story.tell(came(Outcome::Fault, 20));
        story.tell(came(Outcome::InDoubt, 20));
    }
    story.is(State::Probing(Reason::Faults));
}

#[test]
fn a_healthy_stretch_makes_the_next_pause_short_again() {
    let mut story = Story::new();
    let mut pauses = Vec::new();
    for healthy in [1, 1, 61] {
        for _ in 0..5 {
            story.attempt(Outcome::Fault, QUICK);
        }
        pauses.push(story.wait().as_secs());
        for _ in 0..3 {
            story.attempt(Outcome::Accepted, QUICK);
        }
        story.is(State::Healthy).seconds(healthy);
    }
    for _ in 0..5 {
        story.attempt(Outcome::Fault, QUICK);
    }
    pauses.push(story.wait().as_secs());
    assert_eq!(pauses, [2, 4, 8, 2]);
}

#[test]
fn one_that_refuses_everything_for_our_sake_is_left_until_it_takes_something() {
    let mut story = Story::new();
    story.health.heard(Some(&"0x00000003".into()));
    for _ in 0..5 {
        story
            .is(State::Healthy)
            .attempt(Outcome::Refused(About::Carrier), QUICK);
    }
    story.is(State::Suspended(Reason::Refuses));
    assert_eq!(
        story.health.reason(),
        "refuses: 5 refusals in a row, the last with 0x00000003"
    );
    story.wait();
    story
        .attempt(Outcome::Refused(About::Carrier), QUICK)
        .is(State::Suspended(Reason::Refuses));
    story.wait();
    for _ in 0..3 {
        story
            .is(State::Probing(Reason::Refuses))
            .attempt(Outcome::Accepted, QUICK);
    }
    story.is(State::Healthy);
}

#[test]
fn a_visitor_with_bad_numbers_takes_no_carrier_down() {
    let mut story = Story::new();
    for _ in 0..5 {
        story.attempt(Outcome::Refused(About::Request), QUICK);
    }
    story.is(State::Healthy);
    // Nor a stubborn one, beside some traffic.
    for _ in 0..400 {
        story
            .attempt(Outcome::Accepted, QUICK)
            .attempt(Outcome::Refused(About::Request), QUICK);
    }
    story.is(State::Healthy);
}

#[test]
fn requests_that_are_refused_far_above_the_own_baseline_are_the_carriers_fault() {
    let mut story = Story::new();
    for n in 0..300 {
        let refused = n % 20 == 0;
        let outcome = if refused {
            Outcome::Refused(About::Request)
        } else {
            Outcome::Accepted
        };
        story.attempt(outcome, QUICK).is(State::Healthy);
    }
    let mut refused = 0;
    while story.health.state() == State::Healthy {
        story.attempt(Outcome::Refused(About::Request), QUICK);
        refused += 1;
        assert!(refused <= 40);
    }
    story.is(State::Suspended(Reason::Refuses));
    assert!(refused >= 15, "{refused}");
    // And one that refuses all from the start has no baseline to hide behind.
    let mut story = Story::new();
    for _ in 0..20 {
        story
            .is(State::Healthy)
            .attempt(Outcome::Refused(About::Request), QUICK);
    }
    story.is(State::Suspended(Reason::Refuses));
}

#[test]
fn a_trunk_that_answers_100_and_refuses_is_as_bad_as_one_that_refuses() {
    let mut story = Story::new();
    for _ in 0..5 {
        story.is(State::Healthy);
        story
            .attempt(Outcome::Heard, QUICK)
            .tell(came(Outcome::Fault, 1));
    }
    story.is(State::Suspended(Reason::Faults));
}

#[test]
fn probes_that_nobody_answers_find_a_dead_trunk_and_an_answered_one_ends_it() {
    let mut story = Story::new();
    for _ in 0..3 {
        story
            .is(State::Healthy)
            .seconds(1)
            .tell(Evidence::Probe { ok: false });
    }
    story.is(State::Suspended(Reason::NoProbe));
    story
        .tell(Evidence::Probe { ok: true })
        .is(State::Probing(Reason::NoProbe));
    story.tell(Evidence::Probe { ok: true }).is(State::Healthy);
}

#[test]
fn one_that_answers_its_probe_by_not_now_is_not_available() {
    let mut story = Story::new();
    let not_now = || Evidence::Unavailable {
        reason: "OPTIONS answered 503".into(),
    };
    story
        .tell(not_now())
        .is(State::Suspended(Reason::Unavailable));
    assert_eq!(story.health.reason(), "unavailable: OPTIONS answered 503");
    story.wait();
    story
        .tell(not_now())
        .is(State::Suspended(Reason::Unavailable));
    story.tell(Evidence::Probe { ok: true });
    story.attempt(Outcome::Accepted, QUICK).is(State::Healthy);
}

#[test]
fn a_trunk_that_nothing_has_answered_is_unproven() {
    let now = Mono::default();
    let mut health = Health::new(now, HealthSettings::default());
    health.event(now, Evidence::LinkUp { answered: false });
    assert_eq!(health.state(), State::Unproven);
    assert_eq!(health.standing(), Availability::Healthy);
    let mut other = health.clone();
    assert!(health.event(now, Evidence::Probe { ok: true }));
    assert_eq!(health.state(), State::Healthy);
    assert!(other.event(now, came(Outcome::Accepted, 0)));
    assert_eq!(other.state(), State::Healthy);
}

/// A carrier whose receipts came within [`RECEIPT`], until they stopped.
fn collapsed() -> Story {
    let mut story = Story::new();
    for _ in 0..200 {
        story.attempt(Outcome::Accepted, QUICK).tell(receipt(true));
    }
    let wait = story.health.receipt_wait().expect("known by now");
    assert!(wait >= RECEIPT && wait < RECEIPT * 2, "{wait:?}");
    let mut missing = 0;
    while story.health.state() == State::Healthy {
        story.seconds(1).tell(Evidence::NoReceipt { after: wait });
        missing += 1;
        assert!(missing <= 40, "{missing}");
    }
    story.is(State::Suspended(Reason::ReceiptsCollapsed));
    story
}

#[test]
fn receipts_that_come_again_heal_at_once_whoever_they_are_for() {
    let mut story = collapsed();
    assert_eq!(
        story.health.standing(),
        Availability::NoReceipts { free: true }
    );
    // The outage ends: what was kept back comes in one burst.
    for _ in 0..3 {
        story.tell(Evidence::Receipt {
            delivered: true,
            after: Duration::from_secs(40),
        });
    }
    story.is(State::Healthy);
    // What was sent meanwhile and stays without a receipt has had its say.
    for _ in 0..100 {
        story.seconds(1).tell(Evidence::NoReceipt {
            after: Duration::from_secs(150),
        });
    }
    story.is(State::Healthy);
}

#[test]
fn a_probe_that_lived_too_short_for_a_receipt_says_nothing() {
    let mut story = collapsed();
    let pause = story.wait();
    for _ in 0..10 {
        story.is(State::Probing(Reason::ReceiptsCollapsed));
        assert!(story.health.wants_long_life());
        story.tell(Evidence::Started {
            left: Duration::from_secs(2),
        });
        assert!(!story.health.wants_long_life());
        story.seconds(2).tell(Evidence::NoReceipt {
            after: Duration::from_secs(2),
        });
    }
    story.is(State::Probing(Reason::ReceiptsCollapsed));
    // One that lived long enough does: the next pause is longer.
    story.tell(Evidence::Started { left: LIFE }).seconds(10);
    story.is(State::Suspended(Reason::ReceiptsCollapsed));
    assert!(story.wait() > pause);
}

#[test]
fn a_carrier_that_falls_silent_while_its_receipts_are_missing_is_left_too() {
    let mut story = collapsed();
    for _ in 0..3 {
        story.attempt(Outcome::InDoubt, Duration::from_secs(3));
    }
    story.is(State::Suspended(Reason::Silent));
}
