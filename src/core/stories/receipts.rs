//! Receipts that more than one text may have been meant by.

use super::*;

const PHONE: &str = "+12025550123";

/// A text whose carrier says nothing, and that ends by another carrier's.
fn ends_in_doubt(story: &mut Story, id: &str, phone: &str) -> (Arc<str>, TextOrder) {
    story.ask(id, phone);
    let (silent, order) = story.order();
    story.is_silent(&silent, &order);
    while story.orders.is_empty() {
        story.passes(Duration::from_secs(1));
    }
    let (other, hedge) = story.order();
    let references = vec![format!("hedge-of-{id}").into()];
    story.answers(&other, &hedge, AttemptEvent::Accepted { references });
    let reference = format!("hedge-of-{id}");
    story.brings(&other, &reference, &hedge, ReceiptState::Delivered);
    story.passes(Duration::from_secs(1));
    let events = story.events(id);
    assert!(events.contains(&"delivered".to_owned()), "{events:?}");
    (silent, order)
}

#[test]
fn a_receipt_that_a_text_in_doubt_of_an_ended_challenge_may_mean_settles_no_other() {
    story(|story| {
        let (silent, first) = ends_in_doubt(story, "first", PHONE);
        story.ask("second", PHONE);
        let (mut carrier, mut second) = story.order();
        // Whoever gets it: the silent one must have it as well.
        if carrier != silent {
            story.is_silent(&carrier, &second);
            story.passes(Duration::from_secs(5));
            (carrier, second) = story.order();
        }
        assert_eq!(carrier, silent);
        story.is_silent(&carrier, &second);
        // Of which of the two? Nobody can tell.
        let number = story.brings(&silent, "4711", &first, ReceiptState::Delivered);
        story.passes(Duration::from_secs(4));
        assert!(story.safe.contains(&number));
        assert!(!story.events("second").contains(&"delivered".to_owned()));
    });
}

#[test]
fn a_receipt_for_a_text_that_ended_in_doubt_is_told_late() {
    story(|story| {
        let (silent, first) = ends_in_doubt(story, "first", PHONE);
        story.brings(&silent, "4711", &first, ReceiptState::Delivered);
        story.passes(Duration::from_secs(4));
        assert_eq!(
            story.events("first").last().map(String::as_str),
            Some("late")
        );
        // A repeat tells nothing.
        story.brings(&silent, "4711", &first, ReceiptState::Delivered);
        story.passes(Duration::from_secs(4));
        let late = story.events("first");
        assert_eq!(late.iter().filter(|event| *event == "late").count(), 1);
    });
}

#[test]
fn an_id_that_another_phone_s_text_had_too_leaves_the_phone_to_decide() {
    story(|story| {
        let (silent, first) = ends_in_doubt(story, "first", PHONE);
        // The carrier gives the id of that text, which we never heard, once more, after the end of the other challenge.
        let given = (0..8).find_map(|n| {
            let id = format!("other{n}");
            let (carrier, order) = ends_in_doubt(story, &id, &format!("+1202555017{n}"));
            (carrier == silent).then_some((id, order))
        });
        let (other, order) = given.expect("the silent carrier got another text");
        let references = vec!["4711".into()];
        story.answers(&silent, &order, AttemptEvent::Accepted { references });
        story.passes(Duration::from_secs(1));
        story.brings(&silent, "4711", &first, ReceiptState::Delivered);
        story.passes(Duration::from_secs(4));
        assert_eq!(
            story.events("first").last().map(String::as_str),
            Some("late")
        );
        assert!(!story.events(&other).contains(&"late".to_owned()));
    });
}

/// Ids are given in decimal and come back in hexadecimal. The carrier gives one of them twice, the second time to a text of
/// which it says no more; that one's receipt leaves the id in the ledger as it came, for another phone.
#[test]
fn an_id_that_stands_in_its_other_form_for_another_phone_hides_nobody() {
    story(|story| {
        story.ask_within("first", PHONE, 10);
        let (named, first) = story.order();
        let references = vec!["4048000014".into()];
        story.answers(&named, &first, AttemptEvent::Accepted { references });
        story.passes(Duration::from_secs(12));
        assert_eq!(story.events("first"), ["sent", "unconfirmed"]);
        let given = (0..8).find_map(|n| {
            let id = format!("other{n}");
            story.ask(&id, &format!("+1202555017{n}"));
            let (carrier, order) = story.order();
            (carrier == named).then_some((id, order))
        });
        let (other, order) = given.expect("the same carrier got another text");
        story.is_silent(&named, &order);
        story.brings(&named, "f147940e", &order, ReceiptState::Delivered);
        story.passes(Duration::from_secs(4));
        assert!(story.events(&other).contains(&"delivered".to_owned()));
        story.brings(&named, "f147940e", &first, ReceiptState::Delivered);
        story.passes(Duration::from_secs(4));
        assert_eq!(story.events("first"), ["sent", "unconfirmed", "late"]);
    });
}

#[test]
fn an_id_that_an_open_text_of_another_phone_has_leaves_the_phone_to_decide() {
    story(|story| {
        let (silent, first) = ends_in_doubt(story, "first", PHONE);
        // The carrier gives the id of that text, which we never heard, once more.
        let given = (0..8).find_map(|n| {
            let id = format!("other{n}");
            story.ask(&id, &format!("+1202555017{n}"));
            let (carrier, order) = story.order();
            (carrier == silent).then_some((id, order))
        });
        let (other, order) = given.expect("the silent carrier got another text");
        let references = vec!["4711".into()];
        story.answers(&silent, &order, AttemptEvent::Accepted { references });
        story.brings(&silent, "4711", &first, ReceiptState::Delivered);
        story.passes(Duration::from_secs(4));
        assert_eq!(
            story.events("first").last().map(String::as_str),
            Some("late")
        );
        assert!(!story.events(&other).contains(&"delivered".to_owned()));
    });
}

#[test]
fn a_receipt_without_a_reference_settles_the_only_text_to_its_phone() {
    story(|story| {
        story.ask("only", PHONE);
        let (carrier, order) = story.order();
        story.is_silent(&carrier, &order);
        story.brings(&carrier, "", &order, ReceiptState::Delivered);
        story.passes(Duration::from_secs(4));
        let last = story.events("only");
        assert_eq!(last.last().map(String::as_str), Some("delivered"));
    });
}

#[test]
fn a_receipt_that_was_safe_before_a_crash_spares_the_hedge_after_it() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    let then = life(&memory, start, |story| {
        story.ask("only", PHONE);
        let (silent, order) = story.order();
        story.is_silent(&silent, &order);
        // It is written down, and the process ends before it has found its text.
        story.is_deaf = true;
        let number = story.brings(&silent, "4711", &order, ReceiptState::Delivered);
        story.passes(Duration::from_millis(100));
        assert_eq!(story.safe, [number]);
        assert!(!story.events("only").contains(&"delivered".to_owned()));
        story.now
    });
    life(&memory, then + Duration::from_secs(10), |story| {
        story.passes(Duration::from_secs(20));
        assert!(story.orders.is_empty(), "no second text");
        let last = story.events("only");
        assert_eq!(last.last().map(String::as_str), Some("delivered"));
    });
}

#[test]
fn a_hedge_waits_for_a_receipt_that_is_not_looked_up_but_not_for_ever() {
    story(|story| {
        story.ask("only", PHONE);
        let (silent, order) = story.order();
        story.is_silent(&silent, &order);
        story.is_deaf = true;
        story.brings(&silent, "4711", &order, ReceiptState::Delivered);
        story.passes(Duration::from_secs(3));
        assert!(story.orders.is_empty(), "whose it is may be known soon");
        story.passes(Duration::from_secs(5));
        let (other, hedge) = story.order();
        assert!(other != silent && hedge.key.attempt == 2);
    });
}

#[test]
fn of_two_early_receipts_that_contradict_each_other_the_good_one_makes_the_final() {
    story(|story| {
        story.ask("only", PHONE);
        let (silent, order) = story.order();
        story.brings(&silent, "4711", &order, ReceiptState::Undelivered);
        story.passes(Duration::from_secs(1));
        story.brings(&silent, "4711", &order, ReceiptState::Delivered);
        story.is_silent(&silent, &order);
        story.passes(Duration::from_secs(10));
        let events = story.events("only");
        assert_eq!(events[..3], ["attempt_failed", "sent", "delivered"]);
        assert!(!events.contains(&"undelivered".to_owned()), "{events:?}");
    });
}
