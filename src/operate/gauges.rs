//! Gauges that are looked up when somebody looks: carriers, pending reports, whether the ledger takes anything.

use std::{collections::BTreeSet, sync::Arc};

use metrics::gauge;
use tokio::sync::Mutex;

use super::Control;
use crate::{
    dispatch::{CarrierView, Query},
    report::publish::pending,
    routing::health::State,
};

/// Carriers that have been shown, so that one that is removed does not stay at its last state.
#[derive(Default)]
pub struct Gauges {
    shown: Mutex<BTreeSet<Arc<str>>>,
}

impl Gauges {
    /// Everything that Prometheus is shown.
    pub async fn render(&self, control: &Control) -> String {
        if let Some(carriers) = control.ask(Query::Carriers).await {
            self.carriers(&carriers).await;
        }
        let writable = control.ledger.healthy().is_ok();
        gauge!("ringback_ledger_writable").set(f64::from(u8::from(writable)));
        // Where the ledger can't be read the last ones stay; that it can't be, `/readyz` says.
        let _ = pending::read(&control.ledger).await;
        let mut text = super::recorder::render();
        text.push_str(&super::process::render());
        text
    }

    async fn carriers(&self, carriers: &[CarrierView]) {
        let mut shown = self.shown.lock().await;
        for name in shown
            .iter()
            .filter(|n| !carriers.iter().any(|c| c.name == **n))
        {
            set(name, None, 0, 0);
        }
        for carrier in carriers {
            set(
                &carrier.name,
                Some(carrier.state),
                carrier.in_flight,
                carrier.slots,
            );
        }
        *shown = carriers.iter().map(|c| c.name.clone()).collect();
    }
}

fn set(carrier: &Arc<str>, state: Option<&'static str>, in_flight: usize, slots: u32) {
    for name in State::NAMES {
        let on = f64::from(u8::from(state == Some(name)));
        gauge!("ringback_carrier_state", "carrier" => carrier.clone(), "state" => name).set(on);
    }
    gauge!("ringback_carrier_in_flight", "carrier" => carrier.clone()).set(in_flight as f64);
    gauge!("ringback_carrier_slots", "carrier" => carrier.clone()).set(f64::from(slots));
}
