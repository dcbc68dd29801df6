//! What a trunk has for its operator, as lines of the log.

use std::sync::Arc;

use crate::carrier::sip::trunk::Notice;

pub(super) fn log(carrier: &str, notice: Notice) {
    match notice {
        Notice::EndsUnterminated(call) => {
            tracing::info!(%carrier, %call, "ending a call of an earlier run");
        }
        Notice::UnreadableState => {
            tracing::warn!(%carrier, "the state of a call of an earlier run can't be read: it is not hung up");
        }
        Notice::UnwritableState(error) => tracing::error!(%carrier, %error,
            "the state of a call can't be written: after a crash it would not be hung up"),
        Notice::Unresolved(reason) => tracing::warn!(%carrier, %reason,
            "an endpoint of a trunk leads to no address; it is looked up again"),
        Notice::OutOfReach {
            endpoint,
            address,
            setting: key,
            own,
            reason,
        } => {
            tracing::warn!(%carrier, %endpoint, %key, "{own} can't reach {address}: {reason}");
        }
        Notice::NoAudio(error) => tracing::warn!(%carrier, %error,
            "no audio for calls: a limit of the gateway, not the trunk's fault; they go elsewhere or wait"),
        Notice::AudioAgain(calls, lasted) => {
            tracing::info!(%carrier, calls, seconds = lasted.as_secs(), "there is audio for calls again");
        }
        Notice::Foreign(from) => tracing::warn!(%carrier, %from,
            "a SIP message of one of our calls came from an address that is not the trunk's, and was not taken; if the carrier sends from there, write in carriers/{carrier}.toml: allow = [\"{from}\"]"),
        Notice::Malformed(fault, true) => tracing::warn!(%carrier, %fault,
            "the far end writes SIP that is not by the standard; what can't be read is left out of account, the call goes on"),
        Notice::Malformed(fault, false) => {
            tracing::warn!(%carrier, %fault, "a SIP message of the far end can't be read, and was not taken");
        }
        Notice::Redirected(call, status, to) => {
            tracing::info!(%carrier, %call, status, %to, "redirection followed");
        }
        Notice::NotRedirected(call, status, why) => {
            tracing::info!(%carrier, %call, status, why, "redirection not followed");
        }
    }
}

/// The far end of a call sent no audio at all.
pub(super) fn one_way(carrier: &str, call: &Arc<str>) {
    tracing::warn!(%carrier, %call,
        "no audio came from the address that the far end has signalled: keys can't be heard; does a firewall or NAT keep it from rtp.ports?");
}
