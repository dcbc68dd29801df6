//! Another configuration while a session stands.

use std::time::Instant;

use tokio::sync::watch;

use super::{Run, settings};

impl Run<'_> {
    /// Window, waits and the meanings of statuses are others from here on.
    pub(super) fn changed(&mut self) {
        let live = self.bind.shared.live();
        self.most = live.smpp.window as usize * 2;
        self.orders.read_by(live.statuses.clone());
        // A password that can't be read now is of no use to a session that stands.
        if let Ok(settings) = settings(&self.bind.shared) {
            self.session.change(settings, Instant::now());
        }
    }
}

/// Never, once nobody can change it any more.
pub(super) async fn changed(changes: &mut watch::Receiver<()>) {
    if changes.changed().await.is_err() {
        std::future::pending().await
    }
}
