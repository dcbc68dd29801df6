//! Further answers to one INVITE, from other phones behind the same number (RFC 3261 13.2.2.4): each is acknowledged and
//! ended. As with the first answer a restart must be able to end them: nothing of that leaves before it is recorded.

use std::time::Instant;

use super::call::{Fork, ForkState, MAX_FORKS, Phase};
use super::{CallHandle, Endpoint, Event, Owner, Pending, write};
use crate::protocol::sip::codec::Message;
use crate::protocol::sip::dialog::Dialog;

impl Endpoint {
    /// Another 2xx to the same INVITE.
    pub(super) fn fork(&mut self, now: Instant, call: CallHandle, message: &Message) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        let Some(dialog) = Dialog::from_response(message, &state.invite.uri, &state.from) else {
            return;
        };
        let known = |fork: &&Fork| fork.dialog.remote_tag == dialog.remote_tag;
        if let Some(fork) = state.forks.iter().find(known) {
            if !matches!(fork.state, ForkState::Held(_)) {
                let (ack, to, transport) = fork.ack.clone();
                self.transmit(to, transport, ack);
            }
            return;
        }
        if state.forks.len() == MAX_FORKS {
            return;
        }
        // Nothing is recorded of a call that is over.
        let records = !state.is_cleared();
        let at = if records { state.told_resumes + 1 } else { 0 };
        self.add_fork(call, dialog, ForkState::Held(at));
        match records {
            true => self.tell_resume(call),
            false => self.end_forks(now, call),
        }
    }

    /// One that an earlier life of the process had recorded.
    pub(super) fn unterminated_fork(&mut self, call: CallHandle, dialog: Dialog) {
        self.add_fork(call, dialog, ForkState::Held(0));
    }

    fn add_fork(&mut self, call: CallHandle, dialog: Dialog, fork: ForkState) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        let (to, transport) = state.next_hop(&dialog);
        let sequence = (state.cseq, self.tokens.draw(), transport);
        let carried = &state.authorizations;
        let ack = write::in_dialog(&self.config, "ACK", &dialog, sequence, carried);
        state.forks.push(Fork {
            dialog,
            ack: (ack, to, transport),
            state: fork,
        });
    }

    /// What was told of them is durable: ACK and BYE for those of which that is true.
    pub(super) fn end_forks(&mut self, now: Instant, call: CallHandle) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        let recorded = state.recorded_resumes;
        let mut byes = Vec::new();
        for fork in &mut state.forks {
            if !matches!(fork.state, ForkState::Held(at) if at <= recorded) {
                continue;
            }
            fork.state = ForkState::Closing;
            fork.dialog.cseq = fork.dialog.cseq.saturating_add(1);
            byes.push((fork.ack.clone(), fork.dialog.clone()));
        }
        for ((ack, to, transport), dialog) in byes {
            self.transmit(to, transport, ack);
            let branch = self.tokens.draw();
            let sequence = (dialog.cseq, branch, transport);
            let bye = write::in_dialog(&self.config, "BYE", &dialog, sequence, &[]);
            let owner = Owner::ForkBye(call, self.tokens.of(&dialog.remote_tag));
            let bye = Pending::other(owner, bye, (to, transport));
            self.send_other(now, branch, bye);
        }
    }

    /// Its BYE is answered, or never will be.
    pub(super) fn fork_over(&mut self, call: CallHandle, tag: u64) {
        let Some(state) = self.calls.get_mut(&call.0) else {
            return;
        };
        for fork in &mut state.forks {
            if self.tokens.of(&fork.dialog.remote_tag) == tag {
                fork.state = ForkState::Over;
            }
        }
        if state.phase == Phase::Over && state.forks.iter().all(Fork::is_over) && state.owes_cleared
        {
            state.owes_cleared = false;
            self.tell(Event::Cleared { call });
        }
    }
}
