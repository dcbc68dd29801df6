//! What is needed to end a call whose process has died, and how it is ended.

use std::net::SocketAddr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::call::{Call, Phase};
use super::outgoing::call_key;
use super::peers::CallPeers;
use super::write::{self, InviteLines};
use super::{CallHandle, Endpoint, Invite, Limits, Machine, Owner, Pending, Transport};
use crate::protocol::sip::dialog::Dialog;
use crate::protocol::sip::sdp::{Codec, Local};
use crate::protocol::sip::transaction::invite_client::InviteClient;

/// A call as a restart must know it. Holds the number called: to be kept sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    call_id: String,
    uri: String,
    from: String,
    cseq: u32,
    branch: u64,
    to: SocketAddr,
    transport: Transport,
    /// `host:port` of the INVITE's Via: a CANCEL must carry the same.
    sent_by: String,
    /// Once answered.
    dialog: Option<Dialog>,
    /// Other phones that have answered, until each is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    forks: Vec<Dialog>,
}

impl std::fmt::Debug for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = if self.dialog.is_some() {
            "answered"
        } else {
            "unanswered"
        };
        write!(f, "Resume({}, {state})", self.call_id)
    }
}

impl Resume {
    pub fn call_id(&self) -> &str {
        &self.call_id
    }

    /// The port on which the peer reaches who has this call.
    pub fn port(&self) -> Option<u16> {
        let (_, port) = self.sent_by.rsplit_once(':')?;
        port.parse().ok()
    }

    pub fn is_answered(&self) -> bool {
        self.dialog.is_some()
    }
}

/// An earlier life may have sent a few requests that were never recorded; their CSeq must not come again.
const CSEQ_GAP: u32 = 10;

impl Endpoint {
    /// What a restart would need to end this call now; `None` once it is cleared.
    pub fn resume(&self, call: CallHandle) -> Option<Resume> {
        let state = self
            .calls
            .get(&call.0)
            .filter(|state| !state.is_cleared())?;
        Some(Resume {
            call_id: state.call_id.clone(),
            uri: state.invite.uri.clone(),
            from: state.from.clone(),
            cseq: state.cseq,
            branch: state.branch,
            to: state.invite.to,
            transport: state.invite.transport,
            sent_by: self.config.sent_by.clone(),
            dialog: state.dialog.clone(),
            forks: state.unended_forks(),
        })
    }

    /// Ends a call of an earlier life: ACK (the earlier life may not have come to it) and BYE if it was answered, else
    /// CANCEL, and a BYE to an answer that crosses it. That answer is told by
    /// [`Event::Resume`](super::Event::Resume), and waits until it is [`Endpoint::recorded`].
    /// [`Event::Cleared`](super::Event::Cleared) follows, never `Ended`.
    pub fn end_unterminated(&mut self, now: Instant, resume: Resume) -> CallHandle {
        let handle = CallHandle(call_key(&self.tokens, &resume.call_id));
        if self.calls.contains_key(&handle.0) {
            return handle;
        }
        let answered = resume.dialog.is_some();
        let forks = resume.forks.clone();
        let invite = self.unterminated_invite(&resume);
        let mut call = unterminated(resume, now);
        call.peers = self.peers.of_call();
        call.peers.sent_to(call.invite.to);
        if let Some(dialog) = &mut call.dialog {
            let (to, transport) = dialog.next_hop((call.invite.to, call.invite.transport));
            let sequence = (dialog.cseq, self.tokens.draw(), transport);
            let ack = write::in_dialog(&self.config, "ACK", dialog, sequence, &[]);
            call.ack = Some((ack, to, transport));
            dialog.cseq = dialog.cseq.saturating_add(CSEQ_GAP);
        }
        let (branch, to, transport) = (call.branch, call.invite.to, call.invite.transport);
        self.calls.insert(handle.0, Box::new(call));
        // The INVITE's transaction lives on here: its final answer wants an ACK each time it comes, a 2xx also a BYE. As if
        // a provisional had come: it is never sent again.
        let timing = self.config.timing;
        let mut machine = InviteClient::new(now, transport.is_reliable(), timing);
        machine.response(now, 100);
        machine.end_by(now + timing.patience());
        if answered {
            machine.response(now, 200);
        }
        let machine = Machine::Invite(machine);
        let owner = Owner::Invite(handle);
        let pending = Pending::new(machine, owner, invite, (to, transport));
        self.pending.insert(branch, Box::new(pending));
        self.arm_pending(branch);
        if answered {
            self.send_ack(handle);
            for mut fork in forks {
                fork.cseq = fork.cseq.saturating_add(CSEQ_GAP);
                self.unterminated_fork(handle, fork);
            }
            self.end_forks(now, handle);
            self.bye(now, handle);
        } else {
            self.cancel(now, handle);
        }
        handle
    }

    /// The INVITE of the earlier life, as far as a CANCEL and an ACK copy from it.
    fn unterminated_invite(&self, resume: &Resume) -> bytes::Bytes {
        let config = super::Config {
            sent_by: resume.sent_by.clone(),
            ..self.config.clone()
        };
        write::invite(
            &config,
            &InviteLines {
                uri: &resume.uri,
                from: &resume.from,
                to: &format!("<{}>", resume.uri),
                call_id: &resume.call_id,
                cseq: resume.cseq,
                branch: resume.branch,
                transport: resume.transport,
                headers: &[],
                authorizations: &[],
                body: b"",
            },
        )
    }
}

fn unterminated(resume: Resume, now: Instant) -> Call {
    let nothing = std::time::Duration::ZERO;
    let address = SocketAddr::from(([0, 0, 0, 0], 0));
    Call {
        phase: if resume.dialog.is_some() {
            Phase::Up
        } else {
            Phase::Proceeding
        },
        invite: Invite {
            to: resume.to,
            transport: resume.transport,
            uri: resume.uri,
            from: String::new(),
            headers: Vec::new(),
            media: Local {
                address,
                codecs: vec![Codec::Pcmu],
                session: 0,
            },
            limits: Limits {
                first_answer: nothing,
                ring: nothing,
                call: nothing,
            },
        },
        call_id: resume.call_id,
        from: resume.from,
        cseq: resume.cseq,
        branch: resume.branch,
        authorizations: Vec::new(),
        challenges: 0,
        peers: CallPeers::default(),
        ring_until: now,
        deadline: None,
        dialog: resume.dialog,
        held: None,
        ack: None,
        forks: Vec::new(),
        told_resumes: 0,
        recorded_resumes: 0,
        owes_cleared: false,
        remote: None,
        version: 1,
        served: Vec::new(),
        told: true,
        woken_at: None,
    }
}
