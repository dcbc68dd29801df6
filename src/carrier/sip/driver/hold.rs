//! How a running trunk is asked to stay for another configuration.

use std::future::pending;

use tokio::sync::oneshot;

use crate::carrier::{CallCarrier, CallCommand, sip::trunk::TrunkChange};

/// Asks a trunk to stay for a change. None: it has ended.
pub async fn hold(trunk: &CallCarrier) -> Option<oneshot::Sender<TrunkChange>> {
    let (to, held) = oneshot::channel();
    trunk.commands.send(CallCommand::Prepare(to)).await.ok()?;
    held.await.ok()
}

/// The trunk's answer to [`hold`].
pub(super) fn offer(
    to: oneshot::Sender<oneshot::Sender<TrunkChange>>,
) -> Option<oneshot::Receiver<TrunkChange>> {
    let (change, coming) = oneshot::channel();
    to.send(change).ok()?;
    Some(coming)
}

/// None: it was given up.
pub(super) async fn next(
    coming: &mut Option<oneshot::Receiver<TrunkChange>>,
) -> Option<TrunkChange> {
    match coming {
        Some(coming) => coming.await.ok(),
        None => pending().await,
    }
}
