//! Another configuration while the session stands.

use std::time::Instant;

use super::{Session, Settings, State};

impl Session {
    /// Another window and other waits from here on; who we are was said at the bind.
    pub fn change(&mut self, settings: Settings, now: Instant) {
        self.settings = settings;
        if self.state == State::Bound {
            self.next_probe = self.settings.probe.map(|probe| now + probe);
        }
    }
}
