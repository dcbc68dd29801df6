//! What a carrier's requests are made of, and another of it while the carrier runs.

use std::sync::Arc;

use tokio::sync::watch;

use super::{client::Requester, request::RequestError};
use crate::config::carrier::{CarrierConfig, Transport};

/// What requests are made of.
#[derive(Clone)]
pub struct Setup {
    pub(super) config: Arc<CarrierConfig>,
    pub(super) window: u32,
    pub(super) requester: Arc<Requester>,
    /// The address or the credentials are others than before: what was known of the link is of no use.
    pub(super) fresh: bool,
}

impl Setup {
    /// The error names what is wrong in the carrier's file.
    pub fn new(config: Arc<CarrierConfig>) -> Result<Setup, RequestError> {
        let Transport::Http(http) = config.transport.clone() else {
            return Err(RequestError::NoHttp);
        };
        Ok(Setup {
            window: http.window.max(1),
            requester: Arc::new(Requester::new(config.clone(), http)?),
            config,
            fresh: false,
        })
    }

    pub fn fresh(self, fresh: bool) -> Setup {
        Setup { fresh, ..self }
    }
}

/// Whether another address, or other credentials, lie between the two.
pub fn is_another_link(old: &CarrierConfig, new: &CarrierConfig) -> bool {
    match (&old.transport, &new.transport) {
        (Transport::Http(before), Transport::Http(after)) => {
            let (before, after) = (&before.request, &after.request);
            (&before.url, &before.auth) != (&after.url, &after.auth)
                || before.headers != after.headers
                || old.tls != new.tls
        }
        _ => true,
    }
}

/// Never, once nobody can change it any more.
pub(super) async fn next(changes: &mut watch::Receiver<Option<Arc<Setup>>>) -> Arc<Setup> {
    while changes.changed().await.is_ok() {
        if let Some(setup) = &*changes.borrow_and_update() {
            return setup.clone();
        }
    }
    std::future::pending().await
}
