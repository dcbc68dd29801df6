//! The running service as a reload and a drain share it: whoever holds it first finishes, and after a drain it is gone.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::Service;
use crate::{
    config::Config,
    operate::reload::{NotChanged, Reconfigure},
};

/// None once it drains. Cheap to clone.
#[derive(Clone)]
pub(super) struct SharedService(Arc<Mutex<Option<Service>>>);

impl SharedService {
    pub fn new(service: Service) -> SharedService {
        SharedService(Arc::new(Mutex::new(Some(service))))
    }

    /// For the drain. Waits for a reload under way.
    pub async fn take(&self) -> Option<Service> {
        self.0.lock().await.take()
    }
}

impl Reconfigure for SharedService {
    fn change(
        &self,
        config: Config,
        leaves: CancellationToken,
    ) -> BoxFuture<'_, Result<(), NotChanged>> {
        Box::pin(async move {
            let mut service = self.0.lock().await;
            let service = service.as_mut().ok_or(NotChanged::Draining)?;
            // Until everything is ready nothing has happened, and a drain need not wait for it.
            let ready = tokio::select! {
                biased;
                () = leaves.cancelled() => return Err(NotChanged::Draining),
                ready = service.prepare(config) => ready,
            };
            match ready {
                Ok(ready) => {
                    service.commit(ready).await;
                    Ok(())
                }
                Err(e) => Err(NotChanged::Refused(e.to_string())),
            }
        })
    }
}
