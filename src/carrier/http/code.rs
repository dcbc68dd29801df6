//! What a carrier's code sounds like, where its file doesn't say what it means. Pure.
//!
//! Carriers refuse with 200 and an id all the same: `REJECTED_SOURCE`, `InvalidNumber`. Words that surely say yes or no
//! are known here; a file that names a verdict or the code in `[status]` is asked first.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    Good,
    Bad,
    /// A number, or a word that says neither.
    Unsaid,
}

const GOOD: [&str; 17] = [
    "ACCEPTD",
    "ACCEPTED",
    "BUFFERED",
    "CREATED",
    "DELIVERED",
    "ENROUTE",
    "NONE",
    "OK",
    "PENDING",
    "PROCESSING",
    "QUEUED",
    "RECEIVED",
    "SCHEDULED",
    "SENT",
    "SUBMITTED",
    "SUCCESS",
    "SUCCESSFUL",
];
const BAD: [&str; 22] = [
    "BLACKLISTED",
    "BLOCKED",
    "CANCELED",
    "CANCELLED",
    "DENIED",
    "ERROR",
    "EXPIRED",
    "FAIL",
    "FAILED",
    "FAILURE",
    "FORBIDDEN",
    "INSUFFICIENT",
    "INVALID",
    "REFUSED",
    "REJECT",
    "REJECTD",
    "REJECTED",
    "UNAUTHORIZED",
    "UNDELIV",
    "UNDELIVERABLE",
    "UNDELIVERED",
    "UNSUPPORTED",
];
const NEGATIONS: [&str; 4] = ["NO", "NON", "NOT", "WITHOUT"];

/// What a code says by itself.
pub fn tone(code: &str) -> Tone {
    if code.bytes().all(|b| b == b'0') || matches!(code, "200" | "201" | "202" | "false") {
        return Tone::Good;
    }
    let words = words(code);
    let (mut good, mut bad) = (false, false);
    for (place, word) in words.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|place| words.get(place));
        let negated = before.is_some_and(|word| NEGATIONS.contains(&&**word));
        let (says_good, says_bad) = (GOOD.contains(&&**word), BAD.contains(&&**word));
        good |= (says_good && !negated) || (says_bad && negated);
        bad |= (says_bad && !negated) || (says_good && negated);
    }
    match (bad, good) {
        (true, _) => Tone::Bad,
        (false, true) => Tone::Good,
        (false, false) => Tone::Unsaid,
    }
}

/// Whether a pointer leads to where errors stand: `/error/code`, `/errorCode`.
pub fn is_place_of_errors(pointer: &str) -> bool {
    let lower = pointer.to_ascii_lowercase();
    lower.contains("err") || lower.contains("fault")
}

/// `PENDING_ACCEPTED`, `invalidNumber`, `not accepted`: its words in capitals.
fn words(code: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in code.chars() {
        if !c.is_alphanumeric() || (small && c.is_uppercase()) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_uppercase());
        }
        small = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_yes_or_no_or_neither() {
        for good in [
            "0",
            "000",
            "200",
            "OK",
            "ok",
            "Success",
            "PENDING_ACCEPTED",
            "PENDING_ENROUTE",
            "message-sent",
            "NoError",
            "no error",
            "none",
            "false",
        ] {
            assert_eq!(tone(good), Tone::Good, "{good}");
        }
        for bad in [
            "REJECTED",
            "REJECTED_SOURCE",
            "invalidNumber",
            "InvalidNumber",
            "error",
            "ERROR: 5",
            "not accepted",
            "NOT_SENT",
            "delivery-failed",
            "EXPIRED_EXPIRED",
            "insufficient balance",
            "no credits: error",
            "not accepted, no error",
        ] {
            assert_eq!(tone(bad), Tone::Bad, "{bad}");
        }
        for neither in [
            "7",
            "21610",
            "-1",
            "true",
            "NO_CREDITS",
            "enterror",
            "\u{1F600}",
        ] {
            assert_eq!(tone(neither), Tone::Unsaid, "{neither}");
        }
        assert!(is_place_of_errors("/error/code") && is_place_of_errors("/messages/0/errorCode"));
        assert!(!is_place_of_errors("/messages/0/status/id"));
    }
}
