//! Another configuration of a trunk whose calls talk on: its sockets and its calls stay.
//!
//! Everything but the address that it is bound to changes in place. So a trunk that was taken out of the configuration
//! and waits for its last call can be put back, by the same name or another: it holds the address.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    CAP_MARGIN, Trunk, TrunkOutput, address,
    own::{self, Local},
    targets::{self, Targets},
};
use crate::{
    carrier::{CarrierEvent, CarrierMessage, Link},
    config::carrier::{CarrierConfig, Transport as Kind},
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

/// Whether another far end, or other credentials, lie between the two.
pub fn is_another_link(old: &CarrierConfig, new: &CarrierConfig) -> bool {
    match (&old.transport, &new.transport) {
        (Kind::Sip(before), Kind::Sip(after)) => {
            old.endpoints != new.endpoints
                || (&before.username, &before.password) != (&after.username, &after.password)
        }
        _ => true,
    }
}

impl Trunk {
    /// Becomes what the change says.
    pub(super) fn change(&mut self, now: Instant, change: TrunkChange) {
        let TrunkChange {
            config,
            voices,
            own,
            fresh,
        } = change;
        let Kind::Sip(sip) = config.transport.clone() else {
            return;
        };
        let sent_by = own::sent_by(&sip, self.bound, own.rtp);
        address::host_of(&sent_by).clone_into(&mut self.own_host);
        self.media_address = own::media_address(&sip, own.rtp);
        let user = sip.username.as_deref().unwrap_or(super::USER);
        let allow = (sip.allow.clone(), sip.rtp.allow.clone());
        self.endpoint.change(sent_by, user, allow);
        self.out.push_back(TrunkOutput::MediaBounds(
            own.rtp,
            (sip.rtp.first_port, sip.rtp.last_port),
            most_audio(sip.max_calls),
        ));
        let moved = self.config.endpoints != config.endpoints;
        let probes = (self.config.probe, config.probe);
        (self.config, self.sip, self.own) = (config, sip, own);
        self.voices = voices;
        self.draining = None;
        if fresh {
            self.up = false;
            self.out.push_back(TrunkOutput::Slots(0));
        } else if self.up {
            self.out.push_back(TrunkOutput::Slots(self.sip.max_calls));
            self.tell_link(Link::Room);
        }
        if moved {
            self.endpoints = self.config.endpoints.clone().into();
            self.targets = Targets::default();
            return self.look_for_targets(now);
        }
        if !self.targets.is_empty() {
            self.come_up();
        }
        match probes {
            (_, None) => self.next_probe = None,
            (before, after) if fresh || before != after => self.probe(now),
            _ => {}
        }
    }

    /// Endpoints that are addresses are known at once, names are asked for again and again.
    pub(super) fn look_for_targets(&mut self, now: Instant) {
        for known in targets::literal(&self.endpoints) {
            self.resolved(now, Ok(known));
        }
        let endpoints = self.endpoints.clone();
        self.out.push_back(TrunkOutput::Resolve(endpoints));
    }

    /// There is somebody to call.
    pub(super) fn come_up(&mut self) {
        if !self.up && self.draining.is_none() {
            self.up = true;
            self.out.push_back(TrunkOutput::Slots(self.sip.max_calls));
            self.tell_link(Link::Up);
        }
    }

    /// One that drains says nothing of its link any more: the name may be another's.
    pub(super) fn tell_link(&mut self, link: Link) {
        if self.draining.is_none() {
            self.out.push_back(TrunkOutput::Event(CarrierMessage {
                carrier: self.config.name.clone(),
                what: CarrierEvent::Link(link),
            }));
        }
    }

    /// How long the last call may last after a drain: as long as any.
    pub(super) fn longest_call(&self) -> Duration {
        self.sip.ring + self.sip.call + CAP_MARGIN
    }
}

/// Calls with audio at once: one that is settled may still say goodbye while its slot serves another.
pub fn most_audio(max_calls: u32) -> usize {
    max_calls as usize * 2
}
