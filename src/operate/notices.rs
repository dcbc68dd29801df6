//! The lines of the log that the core wants written: it gives each as a [`Notice`], here it gets its level and its text.
//! The targets are those of the modules that decide, which filters name.

use std::time::Duration;

use crate::{
    challenge::Millis,
    core::notice::{
        CarrierNotice, LedgerNotice, Notice, Occupancy, OverLimit, OverlayNotice, ScopeNotice,
        StateChange,
    },
    overlay::Entry,
    routing::health::State,
    schema::kinds::duration,
};

/// Writes the line of this notice.
pub fn write(notice: &Notice) {
    match notice {
        Notice::Carrier(carrier, notice) => about_carrier(carrier, notice),
        Notice::Ledger(notice) => about_ledger(notice),
        Notice::Overlay(notice) => about_overlay(notice),
        Notice::NoRoom(occupancy) => no_room(occupancy),
        Notice::Room(occupancy, after) => room(occupancy, *after),
        Notice::OverLimit(over) => over_limit(over),
        Notice::Stopped { open, in_flight } => {
            tracing::info!(
                target: "ringback::core::stop",
                open,
                in_flight,
                "dispatch stopped; open challenges stay in the ledger"
            );
        }
    }
}

// --- carriers ----------------------------------------------------------------------------------------------------

fn about_carrier(carrier: &str, notice: &CarrierNotice) {
    match notice {
        CarrierNotice::State(change) => state(carrier, change),
        CarrierNotice::LoginRefused { answer, times, .. } => {
            let times = several(*times);
            tracing::warn!(target: CARRIER_LOG, %carrier, code = %answer, times, "the carrier refuses our credentials or rights: see username, password or token in its file");
        }
        CarrierNotice::LoginTaken { times, .. } => {
            let times = several(*times);
            tracing::info!(target: CARRIER_LOG, %carrier, times, "the carrier takes our credentials again");
        }
        CarrierNotice::Scope(notice) => scope(carrier, notice),
        CarrierNotice::NeverSettled { orders } => {
            tracing::error!(target: "ringback::core::carriers", %carrier, orders, "never settled by the driver; their slots are free again");
        }
        CarrierNotice::ForeignReceipts { receipts } => {
            tracing::warn!(target: EVIDENCE, %carrier, receipts, "receipts come for texts that are not ours: another user or gateway on this account?");
        }
        CarrierNotice::NoForeignReceipts => {
            tracing::info!(target: EVIDENCE, %carrier, "no receipts for texts of others any more");
        }
        CarrierNotice::UnclearReceipts => {
            tracing::warn!(target: RECEIPTS, %carrier, "receipts come that can't be told apart: the reference leads to several texts, or to one of another phone; they are not believed");
        }
        CarrierNotice::ClearReceipts { unclear } => {
            tracing::info!(target: RECEIPTS, %carrier, receipts = unclear, "every receipt of the last ten minutes was clear");
        }
        CarrierNotice::OutOfUse { texts: 0 } => {
            tracing::info!(target: LEAVING, %carrier, "out of use: its link ends");
        }
        CarrierNotice::OutOfUse { texts } => {
            tracing::info!(
                target: LEAVING,
                %carrier,
                texts,
                "out of use: it gets nothing new, and its link stays until the receipts of its texts have come"
            );
        }
        CarrierNotice::LinkEnds { unsettled } => {
            tracing::info!(target: LEAVING, %carrier, unsettled, "out of use: its link ends now");
        }
    }
}

/// Worse is a WARN, better an INFO.
fn state(carrier: &str, change: &StateChange) {
    let (from, to, why) = (shown(change.from), shown(change.to), &change.why);
    let until = change
        .until
        .map(|(at, left)| format!("{} ({} s)", at.rfc3339(), left.as_secs()));
    let (until, times) = (until.as_deref(), several(change.times));
    match change.to {
        State::Suspended(_) => {
            tracing::warn!(target: CARRIER_LOG, %carrier, from, to, %why, until, times, "carrier state");
        }
        State::Healthy | State::Unproven | State::Probing(_) => {
            tracing::info!(target: CARRIER_LOG, %carrier, from, to, %why, until, times, "carrier state");
        }
    }
}

/// State and reason as the log names them: `suspended (faults)`.
fn shown(state: State) -> String {
    match state {
        State::Healthy | State::Unproven => state.name().to_owned(),
        State::Suspended(reason) | State::Probing(reason) => {
            format!("{} ({})", state.name(), reason.name())
        }
    }
}

fn scope(carrier: &str, notice: &ScopeNotice) {
    let sender = notice.scope.sender.as_deref().unwrap_or("any");
    let (country, why) = (notice.scope.country, &*notice.why);
    let times = several(notice.times);
    match notice.refused {
        true => {
            tracing::warn!(target: CARRIER_LOG, %carrier, sender, %country, why, times, "the carrier refuses this sender or country: not used there for now");
        }
        false => {
            tracing::info!(target: CARRIER_LOG, %carrier, sender, %country, why, times, "the carrier takes this sender and country again");
        }
    }
}

/// Once is not worth a word.
fn several(times: u32) -> Option<u32> {
    (times > 1).then_some(times)
}

// --- the ledger --------------------------------------------------------------------------------------------------

fn about_ledger(notice: &LedgerNotice) {
    match notice {
        LedgerNotice::TakenUp {
            challenges,
            receipts,
        } => {
            tracing::info!(target: RESUME, challenges, receipts, "taken up from the ledger");
        }
        LedgerNotice::ChallengeUnreadable { challenge } => {
            tracing::error!(target: RESUME, %challenge, "the ledger's record of an open challenge can't be read");
        }
        LedgerNotice::LifeUnreadable { challenge, error } => {
            tracing::error!(target: RESUME, %challenge, %error, "how far an open challenge has come can't be read from the ledger: it is left alone");
        }
        LedgerNotice::MessageUnreadable { message } => {
            tracing::error!(
                target: RECEIPTS,
                message = message.0,
                "a message in the ledger's inbox can't be read by this version; it is left there"
            );
        }
        LedgerNotice::LateUnreadable { challenge, error } => {
            tracing::error!(target: LATE, %challenge, %error, "what was told of it late can't be read");
        }
        LedgerNotice::Fenced {
            challenge,
            challenges,
        } => {
            tracing::warn!(target: "ringback::core::fenced", %challenge, challenges, "another node has this challenge by now: it is left to that one");
        }
        LedgerNotice::OpsRefused { ops } => {
            tracing::error!(
                target: "ringback::core::commit",
                ops,
                "the ledger refused ops that it can't hold"
            );
        }
        LedgerNotice::LookUpsFail { receipts } => {
            tracing::warn!(
                target: LATE,
                receipts,
                "the ledger can't be asked about receipts of challenges that are over; they wait"
            );
        }
        LedgerNotice::LookUpsAnswered => {
            tracing::info!(target: LATE, "the ledger answers about receipts of challenges that are over again");
        }
    }
}

// --- operators, room, limits -------------------------------------------------------------------------------------

fn about_overlay(notice: &OverlayNotice) {
    match notice {
        OverlayNotice::InForce { entry, .. } => in_force(entry, "in force"),
        OverlayNotice::StillInForce(entry) => in_force(entry, "still in force after the restart"),
        OverlayNotice::NoLonger(audit) => {
            tracing::info!(
                target: OPERATOR,
                change = audit.change.name(),
                subject = audit.change.subject(),
                owner = %audit.owner,
                reason = %audit.reason,
                act = audit.act.name(),
                "an operator's change is no longer in force"
            );
        }
        OverlayNotice::GivenUp(audit) => {
            tracing::info!(
                target: OPERATOR,
                change = audit.change.name(),
                subject = audit.change.subject(),
                owner = %audit.owner,
                "an operator's change was given up before the ledger held it: it is not made"
            );
        }
        OverlayNotice::Unreadable { reason } => {
            tracing::error!(target: OPERATOR, %reason, "a change of the overlay can't be read and is not in force");
        }
    }
}

fn in_force(entry: &Entry, what: &str) {
    tracing::warn!(
        target: OPERATOR,
        change = entry.change.name(),
        subject = entry.change.subject(),
        owner = %entry.owner,
        reason = %entry.reason,
        until = entry.until.map(Millis::rfc3339),
        "an operator's change is {what}"
    );
}

fn no_room(occupancy: &Occupancy) {
    tracing::warn!(
        target: ROOM,
        setting = occupancy.no_room.setting(),
        is = occupancy.no_room.most(),
        open = occupancy.open,
        unsent = occupancy.unsent,
        "no room for more challenges: jobs stay in the broker, and by HTTP they are answered 429"
    );
}

fn room(occupancy: &Occupancy, after: Duration) {
    tracing::info!(
        target: ROOM,
        setting = occupancy.no_room.setting(),
        is = occupancy.no_room.most(),
        open = occupancy.open,
        unsent = occupancy.unsent,
        after_s = after.as_secs(),
        "room for more challenges again"
    );
}

fn over_limit(over: &OverLimit) {
    let limit = over.line.kind.name();
    let is = over.pace.as_ref().map_or(String::new(), |pace| {
        format!("{} in {}", pace.count, duration(pace.per))
    });
    let (action, challenges) = (over.line.action.name(), over.line.challenges);
    let tenant = over.tenant.as_deref().unwrap_or_default();
    let to = over.to.map_or(String::new(), |to| to.to_string());
    if over.line.kind.is_guard() {
        tracing::warn!(
            target: ARRIVE,
            limit,
            is,
            action,
            challenges,
            tenant,
            to,
            "over a fraud guard's limit (told once a minute)"
        );
    } else {
        tracing::info!(
            target: ARRIVE,
            limit,
            is,
            action,
            challenges,
            tenant,
            to,
            "more challenges than one person may have (told once a minute)"
        );
    }
}

const ARRIVE: &str = "ringback::core::arrive";
const CARRIER_LOG: &str = "ringback::core::carrier_log";
const EVIDENCE: &str = "ringback::core::evidence";
const LATE: &str = "ringback::core::late";
const LEAVING: &str = "ringback::core::leaving";
const OPERATOR: &str = "ringback::core::operator";
const RECEIPTS: &str = "ringback::core::receipts";
const RESUME: &str = "ringback::core::resume";
const ROOM: &str = "ringback::core::room";
