//! Stories of one challenge, in invented time.

mod calls;
mod deadlines;
mod doubts;
mod fallbacks;
mod texts;
mod whatever;

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    carrier::{AttemptEvent, CallEnd, CallOutcome, Receipt},
    challenge::{Code, Expect, Fallback, Origin},
    number::{Country, Number},
    protocol::rtp::Key,
};

const MIN_CALL: Duration = Duration::from_secs(30);
const DOUBT: Duration = Duration::from_millis(500);

fn challenge(method: Method, fallback: &[(Method, u64)]) -> Challenge {
    Challenge {
        id: "c-1".into(),
        tenant: "default".into(),
        user: None,
        to: Number::from_e164("+12025550123"),
        country: Country::parse("US"),
        refused: None,
        extension: None,
        method,
        fallback: fallback
            .iter()
            .map(|(method, after)| Fallback {
                method: *method,
                after: Duration::from_secs(*after),
            })
            .collect(),
        until: Until::Delivered,
        expect: Expect::Code,
        code: Some(Code::new("123456")),
        code_made: true,
        pin: None,
        text: None,
        locale: "en-US".into(),
        issued: Millis(0),
        deadline: Millis(180_000),
        arrived: Millis(0),
        caller_id: None,
        meta: Default::default(),
        reply_to: None,
        door: Origin::Amqp,
        content: [0; 32],
    }
}

/// A challenge and its life, with everything it has told.
struct Story {
    ch: Challenge,
    life: DeliveryState,
    out: Vec<Effect>,
    now: Millis,
}

impl Story {
    fn of(ch: Challenge) -> Story {
        let mut life = DeliveryState::new(&ch, MIN_CALL);
        let mut out = Vec::new();
        let refused = vec![false; ch.methods().count()];
        life.start(&ch, Millis(0), &refused, &mut out);
        Story {
            ch,
            life,
            out,
            now: Millis(0),
        }
    }

    fn at(&mut self, seconds: f64) -> &mut Story {
        let until = Millis((seconds * 1000.0) as i64);
        while self.life.wake(&self.ch, self.now, MIN_CALL) <= until {
            let wake = self.life.wake(&self.ch, self.now, MIN_CALL).max(self.now);
            self.now = Millis(wake.0.max(self.now.0 + 1));
            self.life.tick(&self.ch, self.now, MIN_CALL, &mut self.out);
        }
        self.now = until;
        self
    }

    fn wants(&self) -> Option<Want> {
        self.life.want(&self.ch, self.now, MIN_CALL)
    }

    fn place(&mut self, carrier: &str) -> u16 {
        let want = self.wants().expect("an attempt is wanted");
        let by = NewAttempt {
            carrier: carrier.into(),
            sender: "97671".into(),
            route: "us.sms[0]".into(),
            why: "weighted".into(),
            left_out: Box::default(),
            receipt_wait: None,
        };
        let n = self.life.place(&self.ch, self.now, want, by);
        self.life.handed(n);
        n
    }

    fn event(&mut self, n: u16, event: AttemptEvent) {
        self.life
            .event(&self.ch, self.now, n, event, DOUBT, &mut self.out);
    }

    fn accepted(&mut self, n: u16, references: &[&str]) {
        let references = references.iter().map(|r| Arc::from(*r)).collect();
        self.event(n, AttemptEvent::Accepted { references });
    }

    fn fails(&mut self, n: u16, cause: Cause) {
        self.event(n, AttemptEvent::Failed(cause.failure(None)));
    }

    fn receipt(&mut self, n: u16, part: u16, state: ReceiptState) {
        let receipt = Receipt {
            references: vec!["x".into()],
            state,
            carrier_code: None,
            cause: None,
            phone: None,
            sender: None,
        };
        self.life
            .receipt(&self.ch, self.now, n, part, &receipt, &mut self.out);
    }

    fn ends(&mut self, n: u16, outcome: CallOutcome) {
        self.event(
            n,
            AttemptEvent::CallEnded(CallEnd {
                outcome,
                digits: "#".into(),
                carrier_code: None,
            }),
        );
    }

    fn told(&self) -> Vec<&'static str> {
        self.out
            .iter()
            .filter_map(|e| match e {
                Effect::Report(note) => Some(note.event.name()),
                Effect::HangUp(_) => None,
            })
            .collect()
    }

    fn last(&self) -> (&'static str, Option<&'static str>) {
        let note = self.out.iter().rev().find_map(|e| match e {
            Effect::Report(note) => Some(note),
            Effect::HangUp(_) => None,
        });
        note.map(|n| (n.event.name(), n.reason))
            .expect("something was told")
    }

    fn hung_up(&self) -> Vec<u16> {
        self.out
            .iter()
            .filter_map(|e| {
                if let Effect::HangUp(n) = e {
                    Some(*n)
                } else {
                    None
                }
            })
            .collect()
    }
}
