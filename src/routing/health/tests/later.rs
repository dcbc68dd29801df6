//! Stories of "come later": who says it for the whole carrier, and who only for one call.

use super::*;

const PAUSE: Duration = Duration::from_secs(30);

fn asked() -> Evidence {
    Evidence::RetryAfter {
        pause: PAUSE,
        after: QUICK,
    }
}

/// A trunk: its answers may be those of the networks behind it.
fn trunk() -> Story {
    let mut story = Story::new();
    story.health.settings.relays = true;
    story
}

#[test]
fn a_network_behind_a_trunk_that_is_full_takes_no_trunk_down() {
    let mut story = trunk();
    for n in 0..400 {
        story.attempt(Outcome::Accepted, QUICK).seconds(1);
        if n % 10 == 9 {
            story.tell(asked()).is(State::Healthy);
        }
    }
}

#[test]
fn a_trunk_that_is_full_itself_is_left_within_a_few_calls_whatever_it_took_before() {
    for (before, most) in [(0, 1), (3, 1), (10, 4), (1_000, 10)] {
        let mut story = trunk();
        for _ in 0..before {
            story.attempt(Outcome::Accepted, QUICK);
        }
        let mut told = 0;
        while story.health.state() == State::Healthy {
            story.tell(asked());
            told += 1;
        }
        story.is(State::Suspended(Reason::RetryAfter));
        assert!(told <= most, "{told} after {before}");
        assert_eq!(story.wait(), PAUSE, "as it was given");
    }
}

#[test]
fn a_carrier_that_speaks_for_itself_is_believed_at_once() {
    let mut story = Story::new();
    for _ in 0..1_000 {
        story.attempt(Outcome::Accepted, QUICK);
    }
    story.tell(asked()).is(State::Suspended(Reason::RetryAfter));
}

#[test]
fn who_was_told_so_before_is_no_news() {
    let mut story = trunk();
    for _ in 0..100 {
        story
            .attempt(Outcome::ThrottledAgain, QUICK)
            .seconds(1)
            .is(State::Healthy);
    }
    // As a probe it shows nothing: soon another is tried, and no pause grows by it.
    story.tell(asked()).is(State::Suspended(Reason::RetryAfter));
    assert_eq!(story.wait(), PAUSE);
    for _ in 0..5 {
        story
            .attempt(Outcome::ThrottledAgain, QUICK)
            .is(State::Suspended(Reason::RetryAfter));
        assert_eq!(story.wait().as_secs(), 2);
    }
    story.attempt(Outcome::Accepted, QUICK).is(State::Healthy);
}

#[test]
fn whom_two_trunks_tell_to_come_later_holds_back_nobody_else() {
    let mut story = trunk();
    // A crowd of those whom another trunk has told so before, beside calls that get through.
    for _ in 0..20 {
        for _ in 0..12 {
            story.attempt(Outcome::ThrottledElsewhere, QUICK);
        }
        story.attempt(Outcome::Accepted, QUICK).seconds(1);
    }
    story.is(State::Healthy);
    // As a probe one of them shows little: soon another is tried, and no pause grows by it.
    story.tell(asked());
    while story.health.state() == State::Healthy {
        story.tell(asked());
    }
    assert_eq!(story.wait(), PAUSE);
    for _ in 0..5 {
        story
            .attempt(Outcome::ThrottledElsewhere, QUICK)
            .is(State::Suspended(Reason::RetryAfter));
        assert_eq!(story.wait().as_secs(), 2);
    }
    story.attempt(Outcome::Accepted, QUICK).is(State::Healthy);
    // But one that takes nothing else is as good as down, whoever it tells so.
    for _ in 0..5 {
        story.attempt(Outcome::ThrottledElsewhere, QUICK).seconds(1);
    }
    story.is(State::Suspended(Reason::Throttled));
}

#[test]
fn a_probe_that_never_left_makes_room_for_another() {
    let mut story = Story::new();
    story.tell(asked());
    story.wait();
    story.tell(Evidence::Started { left: LIFE });
    assert_eq!(
        story.health.standing(),
        Availability::Probing { free: false }
    );
    story.tell(Evidence::ProbeVoid);
    assert_eq!(
        story.health.standing(),
        Availability::Probing { free: true }
    );
    story.seconds(60).is(State::Probing(Reason::RetryAfter));
}

#[test]
fn a_pause_is_kept_also_while_receipts_are_missing() {
    let mut story = collapsed();
    story.tell(asked()).is(State::Suspended(Reason::RetryAfter));
    assert_eq!(story.wait(), PAUSE);
}

#[test]
fn what_others_have_refused_too_speaks_against_nobody() {
    let mut story = Story::new();
    for _ in 0..100 {
        story
            .attempt(Outcome::RefusedElsewhere, QUICK)
            .is(State::Healthy);
    }
    // Nor does it show whether one that refuses everything takes something again.
    for _ in 0..5 {
        story.attempt(Outcome::Refused(About::Carrier), QUICK);
    }
    story.is(State::Suspended(Reason::Refuses)).wait();
    story
        .attempt(Outcome::RefusedElsewhere, QUICK)
        .is(State::Probing(Reason::Refuses));
    assert_eq!(
        story.health.standing(),
        Availability::Probing { free: true }
    );
}
