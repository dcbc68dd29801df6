//! Is the far end of a call still there? An OPTIONS within the dialog asks (RFC 3261 11, 12.2.1.2): whoever has lost the
//! call, or hung up by a BYE that never came, says 481, and whoever is gone says nothing. Any other answer is a life sign.

use std::time::Instant;

use super::call::Phase;
use super::{CallHandle, End, Endpoint, Owner};

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
        let Some(dialog) = &state.dialog else {
            return;
        };
        let to = dialog.next_hop((state.invite.to, state.invite.transport));
        self.send_in_dialog(now, call, ("OPTIONS", Owner::Alive(call)), (branch, to));
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
