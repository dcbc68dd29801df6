//! Beside other nodes on one ledger: what they leave is taken over, what is theirs is handed to them.

use super::{Core, Stopping, late::Ended, output::Output, share::Share};
use crate::{
    carrier::{CallState, CallToEnd},
    challenge::{ChallengeKey, Millis},
    ledger::{InboxKey, NodeNews, Op, Stored, TakenOver},
};

/// What is known of the other nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Beside {
    /// Others may have challenges in the same ledger.
    shared: bool,
    /// Others may have this one's work: nothing is begun.
    is_unheard: bool,
}

impl Core {
    /// The ledger is one that other nodes have as well. Before the first input.
    pub fn share(&mut self) {
        self.beside.shared = true;
        // Until it is known what others use.
        self.placement.carriers.share(Share::NONE);
    }

    /// Is this node's term held? If not, nothing new is taken or placed.
    pub fn heard_of(&mut self, heard: bool) {
        if self.beside.is_unheard == heard {
            self.beside.is_unheard = !heard;
            self.placement.queue.room_changed();
        }
    }

    /// May something new be taken or placed?
    pub(super) fn may_begin(&self) -> bool {
        self.stopping == Stopping::No && !self.beside.is_unheard
    }

    pub(super) fn is_shared(&self) -> bool {
        self.beside.shared
    }

    pub(super) fn nodes_say(&mut self, news: NodeNews, now: Millis) {
        match news {
            NodeNews::Others { parts, .. } => {
                self.placement.carriers.share(Share::one_of(parts));
                self.placement.queue.room_changed();
            }
            NodeNews::TakenOver(taken) => self.taken_over(*taken, now),
            NodeNews::Word(key, word) => self.word_for(key, word, now),
            NodeNews::Handed(message) => {
                if self.correlation.inbox.get(message.key).is_none() {
                    self.take_up_message(message);
                }
            }
        }
    }

    /// What another node had goes on here, as after a start.
    fn taken_over(&mut self, taken: TakenOver, now: Millis) {
        for stored in taken.challenges {
            // It can't be open here; taken up twice, it would be sent twice.
            if self.registry.open.get(stored.key).is_none() {
                self.resume(stored, now);
            }
        }
        for call in taken.calls {
            self.unterminated(&call);
            if let Some(running) = self.placement.carriers.get(&call.carrier) {
                let state = CallState(call.state);
                let to_end = CallToEnd {
                    key: call.key,
                    state,
                };
                running.end_call(&mut self.outputs, to_end);
            }
        }
        for message in taken.messages {
            self.take_up_message(message);
        }
        if taken.reports > 0 {
            self.outputs.push(Output::ReadReports);
        }
    }

    /// The challenge is open in the ledger, and not here: another node has it.
    pub(super) fn is_elsewhere(&self, stored: &Stored) -> bool {
        self.beside.shared && stored.ended.is_none() && self.registry.open.get(stored.key).is_none()
    }

    /// Of texts that only their phone tells, the one that another node has.
    pub(super) fn only_elsewhere(&self, others: &[Ended]) -> Option<ChallengeKey> {
        match others {
            [one] if self.is_elsewhere(&one.stored) => Some(one.stored.key),
            _ => None,
        }
    }

    /// What a carrier has brought is for a challenge of another node: that one finds it in the inbox.
    pub(super) fn hand_over(&mut self, key: InboxKey, challenge: ChallengeKey) {
        if self
            .correlation
            .inbox
            .get(key)
            .is_some_and(|held| !held.written)
        {
            self.write_down(key);
        }
        self.commit.write(Op::InboxHanded { key, challenge });
        self.forget_held(key);
    }
}
