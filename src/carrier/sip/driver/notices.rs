//! What the operator is told of the far end's ways, once each.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Trunk, local, targets::Resolved};
use crate::{carrier::sip::media::OpenError, protocol::sip::codec::Fault};

/// Calls get no audio, since a limit of ours is reached: told when it begins and when it is over.
#[derive(Debug)]
pub(super) struct Mute {
    since: Instant,
    /// When the last call got none.
    last: Instant,
    calls: u64,
}

/// As long as no call has lacked audio, and there is some, it is over. Longer than a challenge waits between two tries.
const CALM: Duration = Duration::from_secs(10);

impl Mute {
    /// When it may be over.
    pub(super) fn may_end(&self) -> Instant {
        self.last + CALM
    }
}

impl Trunk {
    /// A call got no audio.
    pub(super) fn muted(&mut self, now: Instant, error: &OpenError) {
        match &mut self.mute {
            Some(mute) => (mute.last, mute.calls) = (now, mute.calls + 1),
            None => {
                tracing::warn!(carrier = %self.config.name, %error,
                    "no audio for calls: a limit of the gateway, not the trunk's fault; they go elsewhere or wait");
                self.mute = Some(Mute {
                    since: now,
                    last: now,
                    calls: 1,
                });
            }
        }
    }

    /// Is there audio for calls again?
    pub(super) fn unmute(&mut self, now: Instant) {
        let Some(mute) = self.mute.as_mut().filter(|mute| mute.may_end() <= now) else {
            return;
        };
        match self.media.open() {
            Ok(media) => {
                self.media.close(media.id);
                let (calls, lasted) = (mute.calls, mute.last - mute.since);
                tracing::info!(carrier = %self.config.name, calls, seconds = lasted.as_secs(),
                    "there is audio for calls again");
                self.mute = None;
            }
            Err(_) => mute.last = now,
        }
    }

    /// Something that would have matched a call was not taken.
    pub(super) fn foreign(&self, from: IpAddr) {
        tracing::warn!(carrier = %self.config.name, %from,
            "a SIP message of one of our calls came from an address that is not the trunk's, and was not taken; if the carrier sends from there, write in carriers/{}.toml: allow = [\"{from}\"]",
            self.config.name);
    }

    pub(super) fn malformed(&self, fault: Fault, taken: bool) {
        if taken {
            tracing::warn!(carrier = %self.config.name, %fault,
                "the far end writes SIP that is not by the standard; what can't be read is left out of account, the call goes on");
        } else {
            tracing::warn!(carrier = %self.config.name, %fault, "a SIP message of the far end can't be read, and was not taken");
        }
    }

    /// A name has come to stand for an address that ours can't reach.
    pub(super) fn check_reach(&self, resolved: &Resolved) {
        let Some(endpoint) = self.endpoints.get(resolved.endpoint) else {
            return;
        };
        for address in &resolved.addresses {
            let own = [("bind", self.own.bind.ip()), ("rtp.address", self.own.rtp)];
            for (key, own) in own {
                if let Some(reason) = local::unable(own, address.ip()) {
                    tracing::warn!(carrier = %self.config.name, endpoint = %endpoint.host, %key,
                        "{own} can't reach {}: {reason}", address.ip());
                }
            }
        }
    }
}
