//! Whatever the world says, in whatever order: one final, and nothing after it.

use std::time::Duration;

use proptest::prelude::*;

use super::{super::*, Story, challenge};
use crate::{
    carrier::{AttemptEvent, CallOutcome, ReceiptState},
    cause::Cause,
    challenge::{Method, Until},
};

/// Anything that the world may say, in any order.
#[derive(Clone, Debug)]
enum Says {
    Place(u8),
    Accepted(u16),
    Ringing(u16),
    Answered(u16),
    Doubt(u16),
    Fails(u16, usize),
    Ends(u16, u8),
    Receipt(u16, u8),
    Pass(u32),
    Cancel,
    Feedback(bool),
    Nobody,
    Restart,
}

fn says() -> impl Strategy<Value = Says> {
    let n = 1u16..5;
    prop_oneof![
        4 => (0u8..4).prop_map(Says::Place),
        3 => n.clone().prop_map(Says::Accepted),
        1 => n.clone().prop_map(Says::Ringing),
        1 => n.clone().prop_map(Says::Answered),
        2 => n.clone().prop_map(Says::Doubt),
        3 => (n.clone(), 0..Cause::ALL.len()).prop_map(|(n, c)| Says::Fails(n, c)),
        1 => (n.clone(), 0u8..5).prop_map(|(n, o)| Says::Ends(n, o)),
        3 => (n, 0u8..6).prop_map(|(n, s)| Says::Receipt(n, s)),
        3 => (1u32..60_000).prop_map(Says::Pass),
        1 => Just(Says::Cancel),
        1 => any::<bool>().prop_map(Says::Feedback),
        1 => Just(Says::Nobody),
        1 => Just(Says::Restart),
    ]
}

impl Story {
    fn hear(&mut self, says: Says) {
        let outcomes = [
            CallOutcome::Confirmed,
            CallOutcome::CodeRead,
            CallOutcome::NoKeypress,
            CallOutcome::Voicemail,
            CallOutcome::Cancelled,
        ];
        match says {
            Says::Place(c) if self.wants().is_some() => {
                self.place(&format!("carrier-{c}"));
            }
            Says::Place(_) => {}
            Says::Accepted(n) => self.accepted(n, &["r"]),
            Says::Ringing(n) => self.event(n, AttemptEvent::Ringing),
            Says::Answered(n) => self.event(n, AttemptEvent::Answered),
            Says::Doubt(n) => self.event(
                n,
                AttemptEvent::InDoubt {
                    cause: Cause::InDoubt,
                },
            ),
            Says::Fails(n, c) => self.fails(n, Cause::ALL[c]),
            Says::Ends(n, o) => self.ends(n, outcomes[usize::from(o)]),
            Says::Receipt(n, s) => self.receipt(n, 0, ReceiptState::ALL[usize::from(s)]),
            Says::Pass(ms) => {
                let to = (self.now.0 + i64::from(ms)) as f64 / 1000.0;
                self.at(to);
            }
            Says::Cancel => self.life.cancel(self.now, &mut self.out),
            Says::Feedback(v) => self.life.feedback(self.now, v, &mut self.out),
            Says::Nobody => {
                if let Some(want) = self.wants() {
                    self.life
                        .nobody_left(&self.ch, self.now, want, &mut self.out);
                }
            }
            Says::Restart => {
                let stored = serde_json::to_vec(&self.life).expect("a life");
                self.life = serde_json::from_slice(&stored).expect("the same life");
                if self.life.ended.is_none() {
                    let wait = Duration::from_secs(3);
                    self.life.resume(&self.ch, self.now, wait, &mut self.out);
                }
            }
        }
    }
}

proptest! {
    /// Whatever the world says: one final, nothing wanted after it, numbers in order, at most one hedge.
    #[test]
    fn exactly_one_final_whatever_happens(
        words in prop::collection::vec(says(), 0..60),
        voice in any::<bool>(),
        fallback in any::<bool>(),
        verified in any::<bool>(),
    ) {
        let method = if voice { Method::VoiceConfirm } else { Method::SmsCode };
        let further = [(if voice { Method::SmsCode } else { Method::VoiceCode }, 15)];
        let mut ch = challenge(method, if fallback { &further } else { &[] });
        ch.until = if verified { Until::Verified } else { Until::Delivered };
        let mut s = Story::of(ch);
        for word in words {
            s.hear(word);
        }
        s.at(180.0 + 601.0);
        let finals = s.out.iter().filter(|e| {
            matches!(e, Effect::Report(Note { event: Event::Final(_), .. }))
        });
        prop_assert_eq!(finals.count(), 1);
        prop_assert!(s.life.ended.is_some() && s.wants().is_none());
        let seqs: Vec<u32> = s
            .out
            .iter()
            .filter_map(|e| if let Effect::Report(n) = e { Some(n.seq) } else { None })
            .collect();
        prop_assert!(seqs.windows(2).all(|w| w[0] + 1 == w[1]), "{:?}", seqs);
        prop_assert!(s.life.attempts.iter().filter(|a| a.hedge).count() <= 1);
        prop_assert!(s.life.attempts.iter().all(|a| a.started < s.ch.deadline));
    }
}
