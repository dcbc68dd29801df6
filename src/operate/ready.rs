//! Is this gateway ready for work? Every reason why not, each a sentence for the operator.

use super::Control;
use crate::{
    broker::{Nodes, Status},
    dispatch::{CarrierView, Query},
};

/// Empty: ready.
pub async fn reasons(control: &Control) -> Vec<String> {
    judge(control, control.ask(Query::Carriers).await.as_deref())
}

/// The same, where the carriers have been asked already; None: dispatch did not answer.
pub fn judge(control: &Control, carriers: Option<&[CarrierView]>) -> Vec<String> {
    let mut reasons = Vec::new();
    if control.draining() {
        reasons.push("draining: nothing new is taken".to_owned());
        return reasons;
    }
    if let Err(reason) = control.ledger.healthy() {
        reasons.push(format!("the ledger takes nothing: {reason}"));
    }
    if let Some(broker) = &control.broker {
        if !broker.connected() {
            reasons.push("the broker is not connected; it is tried again for ever".to_owned());
        } else if broker.blocked() {
            reasons.push("the broker takes no reports (memory or disk alarm)".to_owned());
        }
    }
    match carriers {
        None => reasons.push("dispatch does not answer".to_owned()),
        Some([]) => reasons.push("no route names a carrier".to_owned()),
        // One that is probed takes challenges, and becomes healthy by nothing else.
        Some(carriers) if carriers.iter().all(|c| c.state == "suspended") => {
            let each = carriers
                .iter()
                .map(|c| format!("{} ({})", c.name, c.reason));
            let each: Vec<String> = each.collect();
            reasons.push(format!("every carrier is suspended: {}", each.join(", ")));
        }
        Some(_) => {}
    }
    reasons
}

/// What is to be known of the broker without making the gateway unready, each a sentence for the operator.
pub fn broker_detail(broker: &Status) -> Vec<String> {
    let mut detail = Vec::new();
    match broker.unroutable() {
        0 => {}
        waiting => detail.push(format!(
            "{waiting} reports wait because no queue takes them; they are tried again until their time is over"
        )),
    }
    if let Nodes {
        jobs: Some(jobs),
        reports: Some(reports),
    } = broker.nodes()
    {
        detail.push(format!(
            "the broker's node is {jobs} for jobs and {reports} for reports"
        ));
    }
    for node in broker.neighbours() {
        detail.push(format!(
            "another gateway with a ledger of its own ({node}) shares the job exchange or a carrier account: where accounts \
             are shared, receipts may reach the wrong one and limits count twice; where the exchange is, repeats of an id \
             may be sent again"
        ));
    }
    detail
}
