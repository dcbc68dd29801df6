//! Challenges (401, 407) on any of our requests, and what each request carries in answer (RFC 3261 22).
//!
//! Credentials belong to a realm: a proxy and the server behind it ask each for its own, one after the other or both in
//! one answer, and a request then carries an answer for each. A nonce may be good for one request only, so a challenge
//! is taken up whenever the request did not answer that realm with a nonce of its own already.

use std::net::SocketAddr;
use std::time::Instant;

use super::write;
use super::{Endpoint, Owner, Pending, Transport};
use crate::protocol::sip::codec::{HeaderName, Message};
use crate::protocol::sip::digest::{Authorization, Challenge, Credentials, Session};

/// Challenges taken up for one request: two servers in series whose nonces are good for one request each, and both
/// once too old.
pub(super) const MAX_CHALLENGES: u8 = 6;
/// Realms remembered, whose last challenge is answered in advance with the next request.
const MAX_REALMS: usize = 4;

/// The last challenge of each realm of this trunk.
#[derive(Default)]
pub(super) struct Realms(Vec<Session>);

impl Realms {
    pub fn forget(&mut self) {
        self.0.clear();
    }

    fn learn(&mut self, challenge: Challenge) {
        self.0
            .retain(|known| !known.challenge().asks_as(&challenge));
        if self.0.len() == MAX_REALMS {
            self.0.remove(0);
        }
        self.0.push(Session::new(challenge));
    }

    fn authorize(
        &mut self,
        who: &Credentials,
        method: &str,
        uri: &str,
        cnonce: u64,
    ) -> Vec<Authorization> {
        self.0
            .iter_mut()
            .map(|session| session.authorize(who, method, uri, cnonce))
            .collect()
    }
}

impl Endpoint {
    /// Answers for every realm that has asked so far.
    pub(super) fn authorize(&mut self, method: &str, uri: &str) -> Vec<Authorization> {
        let Some(who) = &self.config.credentials else {
            return Vec::new();
        };
        let cnonce = self.tokens.draw();
        self.realms.authorize(who, method, uri, cnonce)
    }

    /// Takes up the challenges of an answer to a request that carried these. False where nothing can be answered, or
    /// the same was answered already and refused.
    pub(super) fn take_challenges(
        &mut self,
        message: &Message,
        carried: &[Authorization],
        taken: u8,
    ) -> bool {
        if self.config.credentials.is_none() || taken >= MAX_CHALLENGES {
            return false;
        }
        let mut asked = Challenge::all(message.lines_of(HeaderName::ProxyAuthenticate), true);
        asked.extend(Challenge::all(
            message.lines_of(HeaderName::WwwAuthenticate),
            false,
        ));
        let refused = |challenge| carried.iter().any(|given| given.is_refused_by(challenge));
        if asked.is_empty() || asked.iter().any(refused) {
            return false;
        }
        asked
            .into_iter()
            .for_each(|challenge| self.realms.learn(challenge));
        true
    }

    /// Sends a challenged request other than INVITE again, with its answers and as a transaction of its own (22.2).
    pub(super) fn answer_challenge(&mut self, now: Instant, key: u64, message: &Message) -> bool {
        let Some(pending) = self.pending.get_mut(&key) else {
            return false;
        };
        let carried = std::mem::take(&mut pending.carried);
        let (owner, taken, bytes) = (pending.owner, pending.challenges, pending.bytes.clone());
        let to: (SocketAddr, Transport) = (pending.to, pending.transport);
        let (Ok(request), true) = (
            Message::parse(&bytes),
            self.take_challenges(message, &carried, taken),
        ) else {
            return false;
        };
        let cseq = request.cseq().saturating_add(1);
        if let Owner::Bye(call) | Owner::Alive(call) = owner
            && let Some(dialog) = self
                .calls
                .get_mut(&call.0)
                .and_then(|call| call.dialog.as_mut())
        {
            dialog.cseq = cseq;
        }
        let answers = self.authorize(request.method_name(), request.uri());
        let branch = self.tokens.draw();
        let bytes = write::again(&self.config, &request, (cseq, branch, to.1), &answers);
        self.send_other(
            now,
            branch,
            Pending::other(owner, bytes, to).with(answers, taken + 1),
        );
        true
    }
}
