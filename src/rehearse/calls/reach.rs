//! Calls that may be up at the far end though the trunk has done what it can: what it would have to know was lost on the
//! way, or came in another order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::messages::{call_id, first_line, header};

#[derive(Default)]
pub(super) struct OutOfReach {
    /// Answers of phones, by Call-ID and To, and whether one of them has reached the trunk. Several phones may answer.
    answers: BTreeMap<Arc<str>, BTreeMap<String, bool>>,
    /// Calls of which the far end has said that there is nothing to cancel, since the INVITE came after. Whatever CANCEL
    /// follows is taken for the same one again (RFC 3261 9.1 and 17.2.2).
    not_cancelled: BTreeSet<Arc<str>>,
    /// Calls that the far end has ended: it may not have heard yet that the trunk knows.
    hung_up: BTreeSet<Arc<str>>,
}

impl OutOfReach {
    /// The far end sends this.
    pub fn sent(&mut self, bytes: &[u8]) {
        if let Some((call, to)) = answer(bytes) {
            let answers = self.answers.entry(call.into()).or_default();
            answers.entry(to.to_owned()).or_insert(false);
        }
    }

    /// It has reached the trunk.
    pub fn received(&mut self, bytes: &[u8]) {
        if let Some((call, to)) = answer(bytes) {
            let answers = self.answers.entry(call.into()).or_default();
            answers.insert(to.to_owned(), true);
        }
        let Some(call) = call_id(bytes) else { return };
        match first_line(bytes) {
            "BYE" => drop(self.hung_up.insert(call.into())),
            line if line.starts_with("481") && is_of(bytes, "CANCEL") => {
                self.not_cancelled.insert(call.into());
            }
            _ => {}
        }
    }

    pub fn has(&self, call: &str) -> bool {
        let answers = self.answers.get(call);
        let mut heard = answers.into_iter().flat_map(BTreeMap::values);
        let is_over = self.not_cancelled.contains(call) || self.hung_up.contains(call);
        is_over || heard.any(|heard| !heard)
    }
}

/// Of an answer to an INVITE: Call-ID and To, which has the phone's tag.
fn answer(bytes: &[u8]) -> Option<(&str, &str)> {
    let is_answer = first_line(bytes).starts_with("200") && is_of(bytes, "INVITE");
    let (call, to) = (call_id(bytes)?, header(bytes, "To")?);
    is_answer.then_some((call, to))
}

fn is_of(bytes: &[u8], method: &str) -> bool {
    header(bytes, "CSeq").is_some_and(|cseq| cseq.ends_with(method))
}
