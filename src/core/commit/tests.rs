//! When a batch goes, in made-up time.

use tokio::sync::oneshot;

use super::*;
use crate::{
    challenge::{ChallengeKey, Millis},
    ledger::Target,
};

struct Bench {
    commit: CommitQueue,
    outputs: Outputs,
    /// The batches that were given out.
    given: VecDeque<Batch>,
    start: Mono,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            commit: CommitQueue::new(ReportKey(1)),
            outputs: Outputs::default(),
            given: VecDeque::new(),
            start: Mono::after_start(Duration::from_secs(5)),
        }
    }

    /// Ends a turn; what waits for nothing.
    fn flush(&mut self, now: Mono) -> Vec<Action> {
        let at_once = self.commit.flush(now, &mut self.outputs);
        while let Some(output) = self.outputs.pop() {
            match output {
                Output::Commit(batch) => self.given.push_back(batch),
                other => panic!("only batches are given out: {other:?}"),
            }
        }
        at_once
    }

    /// Something for the ledger that nobody waits for.
    fn tidy(&mut self) {
        self.commit.write(Op::CallDown { key: attempt(1) });
    }

    /// A text whose intent is to be durable.
    fn text(&mut self) {
        self.tidy();
        self.commit.then(Action::Submit(attempt(1)));
    }

    /// Ends a turn of dispatch so long after the beginning. True if a batch has gone to the ledger.
    fn turn(&mut self, after: Duration) -> bool {
        let before = self.given.len();
        let at_once = self.flush(self.start + after);
        assert!(at_once.is_empty(), "nothing is done before its batch");
        self.given.len() > before
    }

    fn due(&self) -> Option<Duration> {
        Some(self.commit.due()? - self.start)
    }

    fn durable(&mut self) -> Vec<Action> {
        let batch = self.given.pop_front().expect("a batch was given out");
        let done = Done {
            number: batch.number,
            ..Done::default()
        };
        self.commit.done(done).actions
    }
}

fn attempt(n: u16) -> AttemptKey {
    AttemptKey {
        challenge: ChallengeKey(7),
        attempt: n,
    }
}

const NOW: Duration = Duration::ZERO;
const A_MOMENT: Duration = Duration::from_micros(100);

#[test]
fn a_text_goes_at_once_and_takes_along_what_has_gathered() {
    let mut b = Bench::new();
    b.tidy();
    assert!(!b.turn(NOW));
    assert_eq!(b.due(), Some(TIDYING));
    b.text();
    assert!(b.turn(A_MOMENT));
    assert_eq!(b.due(), None);
    assert!(matches!(b.durable()[..], [Action::Submit(_)]));
    assert!(b.commit.idle());
}

#[test]
fn what_nobody_waits_for_goes_when_its_time_has_come() {
    let mut b = Bench::new();
    b.tidy();
    assert!(!b.turn(NOW));
    // What comes later and is as patient moves nothing.
    b.tidy();
    assert!(!b.turn(TIDYING / 2));
    assert_eq!(b.due(), Some(TIDYING));
    assert!(b.turn(TIDYING));
}

#[test]
fn an_ack_waits_for_company_and_an_open_request_does_not() {
    for by_http in [false, true] {
        let mut b = Bench::new();
        let ticket = if by_http {
            Ticket::Http(oneshot::channel().0)
        } else {
            Ticket::None
        };
        b.tidy();
        b.commit.then(Action::Taken(ChallengeKey(7), ticket));
        assert_eq!(b.turn(NOW), by_http);
        assert_eq!(b.due(), (!by_http).then_some(SOON));
    }
}

#[test]
fn a_carrier_that_waits_for_its_answer_waits_less_than_we_do_among_ourselves() {
    let mut b = Bench::new();
    b.tidy();
    let ack = Acknowledgement::Request(oneshot::channel().0);
    b.commit.then(Action::Acknowledge(ack));
    assert!(!b.turn(NOW));
    assert_eq!(b.due(), Some(ACKNOWLEDGING));
    assert!(b.turn(ACKNOWLEDGING));
}

#[test]
fn commits_keep_their_pace_unless_one_is_full() {
    let mut b = Bench::new();
    b.text();
    assert!(b.turn(NOW));
    b.text();
    assert!(!b.turn(A_MOMENT));
    assert_eq!(b.due(), Some(PACE));
    assert!(b.turn(PACE));
    (0..GATHERED).for_each(|_| b.tidy());
    assert!(b.turn(PACE + A_MOMENT));
}

#[test]
fn a_batch_waits_for_a_call_that_is_prepared_but_not_long() {
    for prepared in [false, true] {
        let mut b = Bench::new();
        b.commit.expect(attempt(2), b.start);
        b.text();
        assert!(!b.turn(NOW));
        assert_eq!(b.due(), Some(PREPARING));
        if prepared {
            b.commit.heard_of(attempt(2));
            assert!(b.turn(A_MOMENT));
        } else {
            assert!(!b.turn(PREPARING / 2));
            assert!(b.turn(PREPARING));
        }
        // It waits for nobody who is late.
        b.text();
        assert!(b.turn(PREPARING + PACE));
    }
}

#[test]
fn what_writes_nothing_is_done_at_once_but_not_before_what_was_said_earlier() {
    let mut b = Bench::new();
    b.commit.then(Action::HangUp(attempt(1)));
    let at_once = b.flush(b.start);
    assert!(matches!(at_once[..], [Action::HangUp(_)]));
    b.text();
    assert!(b.turn(NOW));
    b.commit.then(Action::HangUp(attempt(1)));
    assert!(!b.turn(A_MOMENT));
    assert!(matches!(
        b.durable()[..],
        [Action::Submit(_), Action::HangUp(_)]
    ));
}

#[test]
fn what_is_on_its_way_to_the_disk_is_bounded_and_the_rest_goes_together() {
    let mut b = Bench::new();
    let mut now = Duration::ZERO;
    for _ in 0..3 * BATCHES {
        b.text();
        now += Duration::from_millis(10);
        b.turn(now);
    }
    assert_eq!(b.given.len(), BATCHES - 1);
    assert!(!b.commit.room(), "nothing more is taken in meanwhile");
    let first = b.given.pop_front().expect("a batch");
    let released = b.commit.done(Done {
        number: first.number,
        ..Done::default()
    });
    assert_eq!(released.actions.len(), 1);
    assert!(b.turn(now + Duration::from_millis(10)));
    let last = b.given.back().expect("a batch");
    assert_eq!(last.ops.len(), 3 * BATCHES - (BATCHES - 1));
    assert!(!b.commit.room());
}

/// What a batch lets happen in which a text of this challenge and one of another are begun, and a carrier is answered.
fn released(done: Done) -> Released {
    let mut b = Bench::new();
    b.text();
    let other = AttemptKey {
        challenge: ChallengeKey(8),
        attempt: 1,
    };
    b.commit.then(Action::Submit(other));
    let (ack, _) = oneshot::channel();
    b.commit
        .then(Action::Acknowledge(Acknowledgement::Request(ack)));
    let taken = Answer::Taken;
    b.commit.then(Action::Answer(Ticket::None, taken));
    b.commit.then(Action::Taken(ChallengeKey(8), Ticket::None));
    assert!(b.turn(NOW));
    let number = b.given[0].number;
    b.commit.done(Done { number, ..done })
}

#[test]
fn of_a_challenge_that_another_has_nothing_is_done_and_who_waits_comes_again() {
    let released = released(Done {
        fenced: vec![ChallengeKey(7)],
        ..Done::default()
    });
    assert_eq!(released.fenced, [ChallengeKey(7)]);
    assert!(released.unwritten.is_empty());
    assert!(matches!(
        released.actions[..],
        [
            Action::Submit(AttemptKey {
                challenge: ChallengeKey(8),
                ..
            }),
            Action::Refuse(_),
            Action::Answer(_, Answer::Busy),
            Action::Taken(ChallengeKey(8), _),
        ]
    ));
}

#[test]
fn of_a_batch_that_can_t_be_written_nothing_is_sent_and_nothing_is_taken() {
    let released = released(Done {
        failed: Some("refused".to_owned()),
        lost: vec![ChallengeKey(8)],
        ..Done::default()
    });
    assert_eq!(released.unwritten[0], attempt(1));
    assert!(matches!(
        released.actions[..],
        [
            Action::HangUp(AttemptKey {
                challenge: ChallengeKey(7),
                ..
            }),
            Action::Refuse(_),
            Action::Answer(_, Answer::Busy),
        ]
    ));
    assert!(matches!(released.lost[..], [(ChallengeKey(8), _)]));
}

#[test]
fn a_report_whose_batch_failed_is_not_published_and_a_hang_up_still_goes() {
    for failed in [None, Some("refused".to_owned())] {
        let mut b = Bench::new();
        b.tidy();
        b.commit.then(Action::Publish(Box::new(report())));
        b.commit.then(Action::HangUp(attempt(1)));
        assert!(b.turn(NOW));
        let done = Done {
            number: 1,
            failed: failed.clone(),
            ..Done::default()
        };
        let actions = b.commit.done(done).actions;
        match failed {
            None => assert!(matches!(
                actions[..],
                [Action::Publish(_), Action::HangUp(_)]
            )),
            Some(_) => assert!(matches!(actions[..], [Action::HangUp(_)])),
        }
    }
}

fn report() -> OutboxReport {
    OutboxReport {
        report: ReportKey(1),
        challenge: ChallengeKey(7),
        seq: 2,
        target: Target::ReplyTo {
            queue: "q".into(),
            correlation_id: None,
        },
        body: b"{}".as_slice().into(),
        is_final: true,
        until: Millis(0),
    }
}
