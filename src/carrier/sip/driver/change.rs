//! Another configuration of a trunk whose calls talk on: its sockets and its calls stay.
//!
//! Everything but the address that it is bound to changes in place. So a trunk that was taken out of the configuration
//! and waits for its last call can be put back, by the same name or another: it holds the address.

use std::{future::pending, sync::Arc, time::Instant};

use tokio::sync::{mpsc, oneshot};

use super::{
    CAP_MARGIN, Kind, NEWS, Trunk, address,
    local::{self, Local},
    targets::{self, Resolved, Targets},
};
use crate::{
    carrier::{CallCarrier, CallCommand, CarrierEvent, CarrierMessage, Link},
    config::carrier::{CarrierConfig, Transport},
    message::speech::Catalogue,
};

/// What a trunk becomes.
#[derive(Debug)]
pub struct TrunkChange {
    pub config: Arc<CarrierConfig>,
    /// For the calls to come; those that talk keep their voice.
    pub voices: Arc<Catalogue>,
    pub own: Local,
    /// What was known of the link is of no use: another far end, other credentials, or it had been taken out.
    pub fresh: bool,
}

/// Asks a trunk to stay for a change. None: it has ended.
pub async fn hold(trunk: &CallCarrier) -> Option<oneshot::Sender<TrunkChange>> {
    let (to, held) = oneshot::channel();
    trunk.commands.send(CallCommand::Prepare(to)).await.ok()?;
    held.await.ok()
}

/// Whether another far end, or other credentials, lie between the two.
pub fn is_another_link(old: &CarrierConfig, new: &CarrierConfig) -> bool {
    match (&old.transport, &new.transport) {
        (Transport::Sip(before), Transport::Sip(after)) => {
            old.endpoints != new.endpoints
                || (&before.username, &before.password) != (&after.username, &after.password)
        }
        _ => true,
    }
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

impl Trunk {
    /// Becomes what the change says. Gives where news of the endpoints comes from, if they are others.
    pub(super) fn change(&mut self, change: TrunkChange) -> Option<mpsc::Receiver<News>> {
        let TrunkChange {
            config,
            voices,
            own,
            fresh,
        } = change;
        let Kind::Sip(sip) = config.transport.clone() else {
            return None;
        };
        let sent_by = local::sent_by(&sip, self.wire.local, own.rtp);
        address::host_of(&sent_by).clone_into(&mut self.own_host);
        self.media_address = local::media_address(&sip, own.rtp);
        let user = sip.username.as_deref().unwrap_or(super::USER);
        let allow = (sip.allow.clone(), sip.rtp.allow.clone());
        self.endpoint.change(sent_by, user, allow);
        let ports = (sip.rtp.first_port, sip.rtp.last_port);
        self.media
            .change(own.rtp, ports, sip.max_calls as usize * 2);
        let moved = self.config.endpoints != config.endpoints;
        let probes = (self.config.probe, config.probe);
        (self.config, self.sip, self.own) = (config, sip, own);
        self.voices = voices;
        if self.sip.username.is_none() || self.sip.password.is_none() {
            self.credentials = None;
            self.endpoint.set_credentials(None);
        }
        self.read_credentials();
        self.draining = None;
        if fresh {
            self.up = false;
            self.slots.set(0);
        } else if self.up {
            self.slots.set(self.sip.max_calls);
            self.tell_link(Link::Room);
        }
        if moved {
            self.endpoints = self.config.endpoints.clone().into();
            self.targets = Targets::default();
            return Some(self.look_for_targets());
        }
        if !self.targets.is_empty() {
            self.come_up();
        }
        match probes {
            (_, None) => self.next_probe = None,
            (before, now) if fresh || before != now => self.probe(Instant::now()),
            _ => {}
        }
        None
    }

    /// Endpoints that are addresses are known at once, names are asked for again and again.
    pub(super) fn look_for_targets(&mut self) -> mpsc::Receiver<News> {
        let (found, resolved) = mpsc::channel(NEWS);
        for known in targets::literal(&self.endpoints) {
            self.resolved(Ok(known));
        }
        tokio::spawn(targets::resolve(self.endpoints.clone(), found));
        resolved
    }

    /// There is somebody to call.
    pub(super) fn come_up(&mut self) {
        if !self.up && self.draining.is_none() {
            self.up = true;
            self.slots.set(self.sip.max_calls);
            self.tell_link(Link::Up);
        }
    }

    /// One that drains says nothing of its link any more: the name may be another's.
    pub(super) fn tell_link(&mut self, link: Link) {
        if self.draining.is_none() {
            self.outbox.push_back(CarrierMessage {
                carrier: self.config.name.clone(),
                what: CarrierEvent::Link(link),
            });
        }
    }

    /// How long the last call may last after a drain: as long as any.
    pub(super) fn longest_call(&self) -> std::time::Duration {
        self.sip.ring + self.sip.call + CAP_MARGIN
    }
}

/// What is found of an endpoint.
type News = Result<Resolved, Arc<str>>;
