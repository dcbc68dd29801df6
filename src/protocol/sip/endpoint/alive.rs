//! Is the far end of a call still there? An OPTIONS within the dialog asks (RFC 3261 11, 12.2.1.2): whoever has lost the
//! call, or hung up by a BYE that never came, says 481, and whoever is gone says nothing. Any other answer is a life sign.

use std::time::Instant;

use super::call::Phase;
use super::write;
use super::{CallHandle, End, Endpoint, Owner, Pending};

impl Endpoint {
    /// Asks, unless the last question is still open. Who does not know the call any more ends it.
    pub fn ask_alive(&mut self, now: Instant, call: CallHandle) {
        let open = |owner: &Owner| matches!(owner, Owner::Alive(asked) if *asked == call);
        if self.pending.values().any(|pending| open(&pending.owner)) {
            return;
        }
        let branch = self.tokens.draw();
        let Some(state) = self.calls.get_mut(&call.0).filter(|s| s.phase == Phase::Up) else {
            return;
        };
        let Some(dialog) = &mut state.dialog else {
            return;
        };
        dialog.cseq = dialog.cseq.saturating_add(1);
        let (to, transport) = dialog.next_hop((state.invite.to, state.invite.transport));
        let uri = dialog.request_route().0;
        let answers = self.authorize("OPTIONS", &uri);
        let Some(dialog) = self
            .calls
            .get(&call.0)
            .and_then(|state| state.dialog.as_ref())
        else {
            return;
        };
        let sequence = (dialog.cseq, branch, transport);
        let bytes = write::in_dialog(&self.config, "OPTIONS", dialog, sequence, &answers);
        let options = Pending::other(Owner::Alive(call), bytes, (to, transport));
        self.send_other(now, branch, options.with(answers, 0));
    }

    /// The answer, or its lack.
    pub(super) fn alive_answered(&mut self, now: Instant, call: CallHandle, status: Option<u16>) {
        let gone = matches!(status, None | Some(408 | 481));
        let up = self
            .calls
            .get(&call.0)
            .is_some_and(|state| state.phase == Phase::Up);
        if gone && up {
            self.bye(now, call);
            self.end(call, End::Vanished);
        }
    }
}
