//! Jobs that come again.

use super::*;
use crate::{
    challenge::ReplyTo,
    intake::Job,
    ledger::Target,
    report::body::{ReportIdentity, report_id},
};

#[test]
fn a_final_that_is_reported_again_is_told_by_what_the_first_was_told_by() {
    let memory = Memory::new(MemoryKind::Maps).expect("a ledger");
    let start = Mono::after_start(Duration::from_secs(1));
    let first = life(&memory, start, |story| {
        story.gives(asks_for_replies(&story.config, story.now));
        story.passes(Duration::from_secs(1));
        let (carrier, order) = story.order();
        let cause = Cause::InvalidNumber;
        story.answers(&carrier, &order, AttemptEvent::Failed(cause.failure(None)));
        story.passes(Duration::from_secs(300));
        finals(story)
    });
    assert_eq!(first.len(), 1);
    // By then the ledger alone knows it.
    let again = life(&memory, start + Duration::from_secs(301), |story| {
        story.gives(asks_for_replies(&story.config, story.now));
        story.passes(Duration::from_secs(1));
        assert!(story.orders.is_empty(), "nothing is sent again");
        finals(story)
    });
    assert_eq!(again.len(), 1);
    let (first, again) = (&first[0], &again[0]);
    assert_eq!(
        (again.challenge, again.seq, &again.body),
        (first.challenge, first.seq, &first.body)
    );
    let identity = ReportIdentity::of(&again.body).expect("a report");
    let id = report_id("gw-1", again.challenge, again.seq);
    assert_eq!(identity.report_id, id);
}

fn asks_for_replies(config: &Config, now: Mono) -> Input {
    let body = serde_json::json!({
        "id": "again", "tenant": "bank", "to": "+12025550101", "method": "sms_code", "code": "123456",
    });
    let mut arrival = arrival(config, body, now);
    if let Input::Arrival(Arrival {
        job: Job::Challenge(ch),
        ..
    }) = &mut arrival
    {
        ch.reply_to = Some(ReplyTo {
            queue: "replies".into(),
            correlation_id: None,
        });
    }
    arrival
}

/// Finals for who asked.
fn finals(story: &Story) -> Vec<OutboxReport> {
    let reports = story.reports.iter();
    let finals = reports.filter(|r| r.is_final && matches!(r.target, Target::ReplyTo { .. }));
    finals.cloned().collect()
}
