//! What speaks against a carrier or a sender for one challenge, and the caller ID that a job wishes for.

use super::{LeftOut, PlanRequest, Refusal, View};
use crate::{
    challenge::{Channel, Method},
    routing::{
        health::{Availability, Reason},
        table::{CarrierIx, RouteEntry, Sender, SenderIx, SenderKind, Table},
    },
};

/// Why a line's carrier can't be used at all.
pub(super) fn shut(
    view: View<'_>,
    table: &Table,
    ask: &PlanRequest<'_>,
    line: &RouteEntry,
    resort: bool,
) -> Option<LeftOut> {
    if !line.terms.enabled {
        return Some(LeftOut::Disabled);
    }
    if !ask.tried.is_empty() {
        let carrier = table.carrier_name(line.carrier);
        let whole = ask
            .tried
            .iter()
            .find(|t| t.sender.is_none() && *t.carrier == *carrier);
        if let Some(tried) = whole {
            return Some(LeftOut::Tried(tried.cause));
        }
    }
    match standing(view, line.carrier) {
        Availability::Healthy | Availability::Full | Availability::Probing { free: true } => None,
        Availability::Probing { free: false } => Some(LeftOut::Probing),
        Availability::Suspended(reason) => Some(LeftOut::Suspended(reason)),
        Availability::NoReceipts { .. } if resort => None,
        Availability::NoReceipts { .. } => Some(LeftOut::Suspended(Reason::ReceiptsCollapsed)),
    }
}

/// That this line's carrier refuses this sender here, or the country.
pub(super) fn refusal(
    view: View<'_>,
    ask: &PlanRequest<'_>,
    line: &RouteEntry,
    sender: SenderIx,
) -> Option<Refusal> {
    let speaks = |r: &&Refusal| {
        r.carrier == line.carrier
            && r.country == ask.country
            && r.sender.is_none_or(|s| s == sender)
    };
    let all = view.refusals.iter().filter(speaks);
    all.min_by_key(|r| r.free).copied()
}

/// Why a sender can't be used on a line whose carrier can.
pub(super) fn refused(
    table: &Table,
    view: View<'_>,
    ask: &PlanRequest<'_>,
    line: &RouteEntry,
    sender: SenderIx,
) -> Option<LeftOut> {
    if refusal(view, ask, line, sender).is_some_and(|r| !r.free) {
        return Some(LeftOut::Refused);
    }
    let Some(found) = table.sender(sender) else {
        return Some(LeftOut::NotRegistered);
    };
    let refusal = unfit(found, ask);
    if refusal.is_some() || ask.tried.is_empty() {
        return refusal;
    }
    let carrier = table.carrier_name(line.carrier);
    ask.tried
        .iter()
        .find(|t| *t.carrier == *carrier && t.sender.as_ref().is_some_and(|s| **s == *found.id))
        .map(|tried| LeftOut::Tried(tried.cause))
}

/// What speaks against a sender, whatever the carrier.
fn unfit(sender: &Sender, ask: &PlanRequest<'_>) -> Option<LeftOut> {
    if !sender.serves(ask.country) {
        return Some(LeftOut::NotLeasedHere);
    }
    if ask.method.channel() == Channel::Voice
        && (!sender.voice || sender.kind == SenderKind::ShortCode)
    {
        return Some(LeftOut::NoVoice);
    }
    if ask.method == Method::SmsReply && !sender.two_way {
        return Some(LeftOut::OneWay);
    }
    (!sender.may_use(ask.tenant)).then_some(LeftOut::Tenant)
}

/// The wished caller ID, if it is a registered sender that may be shown here; Err says why not.
pub(super) fn wish(
    table: &Table,
    ask: &PlanRequest<'_>,
) -> Result<Option<SenderIx>, (Option<SenderIx>, LeftOut)> {
    let Some(wished) = ask
        .caller_id
        .filter(|_| ask.method.channel() == Channel::Voice)
    else {
        return Ok(None);
    };
    let sender = table
        .sender_named(wished)
        .ok_or((None, LeftOut::NotRegistered))?;
    match table.sender(sender).and_then(|s| unfit(s, ask)) {
        Some(why) => Err((Some(sender), why)),
        None => Ok(Some(sender)),
    }
}

pub(super) fn standing(view: View<'_>, carrier: CarrierIx) -> Availability {
    view.standing
        .get(usize::from(carrier.0))
        .copied()
        .unwrap_or_default()
}
