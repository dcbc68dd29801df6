//! Receipts for challenges that are long over: looked up in the ledger, told as `late` on the exchange, or counted
//! as unmatched.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Dispatch;
use crate::{
    carrier::{Receipt, ReceiptState},
    challenge::{AttemptKey, Challenge},
    clock::Now,
    delivery::Life,
    ledger::{Ledger, Op, OutboxReport, Stored, Target},
    operate::metrics,
    report::{
        Event, Note,
        body::{self, Reader},
    },
};

/// Most look-ups under way at once; beyond it a receipt that nobody knows is only counted.
const LOOKUPS: usize = 32;
/// A `late` report is tried for so long.
const LATE_OVERTIME: std::time::Duration = std::time::Duration::from_secs(3_600);

/// What a look-up found.
pub struct Found {
    carrier: Arc<str>,
    receipt: Receipt,
    /// A challenge that ended a moment ago had the reference.
    known: bool,
    stored: Option<(AttemptKey, Stored)>,
}

pub struct Lookups {
    ledger: Ledger,
    running: JoinSet<Found>,
}

impl Lookups {
    pub fn new(ledger: Ledger) -> Lookups {
        Lookups {
            ledger,
            running: JoinSet::new(),
        }
    }

    /// The next look-up that is done. Waits for ever while none is under way.
    pub async fn next(&mut self) -> Option<Found> {
        match self.running.join_next().await {
            Some(Ok(found)) => Some(found),
            Some(Err(_)) => None,
            None => std::future::pending().await,
        }
    }
}

impl Dispatch {
    /// Nobody open is known for this receipt.
    pub(super) fn look_up_late(&mut self, carrier: &Arc<str>, receipt: Receipt, known: bool) {
        if self.late.running.len() >= LOOKUPS || receipt.state == ReceiptState::Intermediate {
            metrics::receipt(carrier, receipt.state, known);
            return;
        }
        let (ledger, carrier) = (self.late.ledger.clone(), carrier.clone());
        self.late.running.spawn(async move {
            for reference in &receipt.references {
                if let Ok(Some(at)) = ledger.find_reference(&carrier, reference).await
                    && let Ok(Some(stored)) = ledger.get(at.challenge).await
                {
                    return Found {
                        stored: Some((at, stored)),
                        carrier,
                        receipt,
                        known,
                    };
                }
            }
            Found {
                stored: None,
                carrier,
                receipt,
                known,
            }
        });
    }

    pub(super) fn late_found(&mut self, found: Found) {
        let matched = found.known || found.stored.is_some();
        metrics::receipt(&found.carrier, found.receipt.state, matched);
        let Some((at, stored)) = found.stored else {
            tracing::debug!(carrier = %found.carrier, "a receipt for nothing we know");
            return;
        };
        let now = Now::read().wall;
        let job = serde_json::from_slice::<Challenge>(&stored.job);
        let life = serde_json::from_slice::<Life>(&stored.life);
        let (Ok(ch), Ok(mut life)) = (job, life) else {
            return;
        };
        if life.ended.is_none() {
            // Open, or its end is on its way to the disk: not for us to change what is written of it.
            return;
        }
        let mut effects = Vec::new();
        life.receipt(&ch, now, at.attempt, 0, &found.receipt, &mut effects);
        if !self.broker || !self.frame.exchange_copy {
            return;
        }
        let note = Note {
            seq: life.seq,
            at: now,
            event: Event::Late,
            attempt: Some(at.attempt),
            reason: Some(found.receipt.state.name()),
            tells_code: false,
            digits: None,
        };
        let report = OutboxReport {
            report: self.next_report(),
            challenge: at.challenge,
            seq: note.seq,
            target: Target::Exchange {
                routing_key: body::routing_key(&ch, &life, &note).into(),
                mandatory: false,
            },
            body: body::render(
                &self.frame,
                at.challenge,
                &ch,
                &life,
                &note,
                Reader::Everyone,
            )
            .into(),
            is_final: false,
            until: now + LATE_OVERTIME,
        };
        self.pipeline
            .then(super::Action::Publish(Box::new(report.clone())));
        self.pipeline.write(Op::Report(Box::new(report)));
        self.pipeline.write(Op::Life {
            key: at.challenge,
            life: super::effects::encode(&life),
        });
    }
}
