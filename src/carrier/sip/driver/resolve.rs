//! What the names of a trunk's endpoints stand for, asked again and again.

use std::{sync::Arc, time::Duration};

use tokio::{net::lookup_host, sync::mpsc, time::timeout};

use crate::{
    carrier::sip::trunk::{Resolved, literal},
    config::carrier::Endpoint,
};

/// What is found of an endpoint: its addresses, or why there are none.
pub type News = Result<Resolved, Arc<str>>;

/// Begins to ask; whoever asked before stops when its receiver is dropped.
pub(super) fn begin(endpoints: Arc<[Endpoint]>) -> mpsc::Receiver<News> {
    let (found, news) = mpsc::channel(NEWS);
    tokio::spawn(resolve(endpoints, found));
    news
}

/// Resolves the endpoints that are names, for ever: at once, then every [`AGAIN`], sooner after a failure.
async fn resolve(endpoints: Arc<[Endpoint]>, found: mpsc::Sender<News>) {
    let known: Vec<usize> = literal(&endpoints)
        .iter()
        .map(|resolved| resolved.endpoint)
        .collect();
    let all = endpoints.iter().cloned().enumerate();
    let named: Vec<_> = all.filter(|(at, _)| !known.contains(at)).collect();
    while !named.is_empty() {
        let mut wait = AGAIN;
        for (at, endpoint) in &named {
            let asked = timeout(
                PATIENCE,
                lookup_host((endpoint.host.as_ref(), endpoint.port)),
            )
            .await;
            let addresses: Vec<_> = asked
                .ok()
                .and_then(Result::ok)
                .map(|all| all.take(MAX_ADDRESSES).collect())
                .unwrap_or_default();
            let news = if addresses.is_empty() {
                wait = SOONER;
                Err(format!("{} does not resolve", endpoint.host).into())
            } else {
                Ok(Resolved {
                    endpoint: *at,
                    addresses,
                })
            };
            if found.send(news).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = found.closed() => return,
        }
    }
}

/// News of names on their way to the task.
const NEWS: usize = 16;
const AGAIN: Duration = Duration::from_secs(60);
const SOONER: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(5);
/// Addresses of one name that are used.
const MAX_ADDRESSES: usize = 4;
