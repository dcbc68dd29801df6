//! What the operator is told of the far end's ways, once each.

use std::{net::IpAddr, sync::Arc};

use super::{Trunk, local, targets::Resolved};
use crate::{operate::minutely::Minutely, protocol::sip::codec::Fault};

/// Calls that got no audio, by why: what they lack is lacking for many at once.
pub(super) fn mute(carrier: Arc<str>) -> Minutely<String> {
    Minutely::new(move |error: &String, count| {
        tracing::warn!(%carrier, %error, count, "no audio for calls");
    })
}

impl Trunk {
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
