//! What the operator is told of the far end's ways, most of it once.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Opening, Resolved, Trunk, TrunkOutput, own};
use crate::{carrier::sip::media::OpenError, protocol::sip::codec::Fault};

/// For the operator.
#[derive(Debug)]
pub enum Notice {
    /// A call of an earlier run is being ended: its Call-ID.
    EndsUnterminated(Arc<str>),
    /// The state of an earlier call can't be read.
    UnreadableState,
    /// The state of a call can't be written: its INVITE, or its ACK, never leaves.
    UnwritableState(serde_json::Error),
    /// A name has no address.
    Unresolved(Arc<str>),
    /// A name has come to stand for an address that ours can't reach.
    OutOfReach {
        endpoint: Arc<str>,
        address: IpAddr,
        /// The setting of our own address, and the address.
        setting: &'static str,
        own: IpAddr,
        reason: &'static str,
    },
    /// Calls get no audio.
    NoAudio(OpenError),
    /// They do again: how many did not, for how long.
    AudioAgain(u64, Duration),
    /// Something that would have matched a call came from there, and was not taken.
    Foreign(IpAddr),
    /// The far end writes SIP with this fault; the message was taken, or not.
    Malformed(Fault, bool),
    /// A redirection (call, status) was followed, to this number, masked.
    Redirected(Arc<str>, u16, String),
    /// A redirection (call, status) was not followed.
    NotRedirected(Arc<str>, u16, &'static str),
}

/// Calls get no audio, since a limit of ours is reached: told when it begins and when it is over.
#[derive(Debug)]
pub(super) struct Mute {
    since: Instant,
    /// When the last call got none.
    last: Instant,
    calls: u64,
    /// Audio has been asked for, to see whether there is some.
    asked: bool,
}

/// As long as no call has lacked audio, and there is some, it is over. Longer than a challenge waits between two tries.
const CALM: Duration = Duration::from_secs(10);

impl Mute {
    /// When it may be over, and that is to be looked at.
    pub(super) fn may_end(&self) -> Option<Instant> {
        (!self.asked).then(|| self.last + CALM)
    }
}

impl Trunk {
    /// A call got no audio.
    pub(super) fn muted(&mut self, now: Instant, error: OpenError) {
        match &mut self.mute {
            Some(mute) => (mute.last, mute.calls) = (now, mute.calls + 1),
            None => {
                self.notice(Notice::NoAudio(error));
                self.mute = Some(Mute {
                    since: now,
                    last: now,
                    calls: 1,
                    asked: false,
                });
            }
        }
    }

    /// Is there audio for calls again?
    pub(super) fn unmute(&mut self, now: Instant) {
        let due = |mute: &&mut Mute| mute.may_end().is_some_and(|at| at <= now);
        if let Some(mute) = self.mute.as_mut().filter(due) {
            mute.asked = true;
            self.opening.push_back(Opening::Look);
            self.out.push_back(TrunkOutput::OpenMedia);
        }
    }

    /// There is some, or still none.
    pub(super) fn looked(&mut self, now: Instant, there_is: bool) {
        let Some(mute) = &mut self.mute else {
            return;
        };
        mute.asked = false;
        if there_is {
            let (calls, lasted) = (mute.calls, mute.last - mute.since);
            self.notice(Notice::AudioAgain(calls, lasted));
            self.mute = None;
        } else {
            mute.last = now;
        }
    }

    /// Does a name stand for an address that ours can't reach?
    pub(super) fn check_reach(&mut self, resolved: &Resolved) {
        let Some(endpoint) = self.endpoints.get(resolved.endpoint) else {
            return;
        };
        let host = endpoint.host.clone();
        let ours = [("bind", self.own.bind.ip()), ("rtp.address", self.own.rtp)];
        for address in &resolved.addresses {
            for (setting, own) in ours {
                if let Some(reason) = own::unable(own, address.ip()) {
                    self.out.push_back(TrunkOutput::Notice(Notice::OutOfReach {
                        endpoint: host.clone(),
                        address: address.ip(),
                        setting,
                        own,
                        reason,
                    }));
                }
            }
        }
    }
}
