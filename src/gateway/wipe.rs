//! What is left of a challenge in the ledger when its time is over: nothing personal.

use serde_json::Value;

use crate::{challenge::Challenge, ledger::Wipe};

pub const WIPE: Wipe = Wipe { job, life, report };

/// A late receipt still needs to know the challenge's id, tenant and country: number, code, text and meta go.
fn job(octets: &[u8]) -> Vec<u8> {
    let Ok(mut ch) = serde_json::from_slice::<Challenge>(octets) else {
        return Vec::new();
    };
    ch.to = None;
    ch.extension = None;
    ch.code = None;
    ch.pin = None;
    ch.text = None;
    ch.caller_id = None;
    ch.meta.clear();
    ch.user = None;
    serde_json::to_vec(&ch).unwrap_or_default()
}

/// Carriers, senders, references and times: nothing personal in it.
fn life(octets: &[u8]) -> Vec<u8> {
    octets.to_vec()
}

/// The final as it is told again: without code, reply and digits.
fn report(octets: &[u8]) -> Vec<u8> {
    let Ok(Value::Object(mut body)) = serde_json::from_slice(octets) else {
        return Vec::new();
    };
    for secret in ["code", "reply", "digits"] {
        body.remove(secret);
    }
    serde_json::to_vec(&body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_told_again_later_has_no_secrets() {
        let left = report(br##"{"event":"delivered","code":"482913","digits":"#","seq":3}"##);
        assert_eq!(left, br#"{"event":"delivered","seq":3}"#);
        assert!(report(b"garbage").is_empty());
    }
}
