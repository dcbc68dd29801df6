//! What an SMPP command_status means for an attempt: the one table, and the carrier's own meanings over it.

use std::{collections::BTreeMap, sync::Arc};

use crate::cause::{About, Blame, Cause, Failure, Verdict};

/// `command_status` of a submit_sm_resp as a failure (SMPP 3.4, 5.1.3; 5.0, 4.7.6 from 0x100).
#[derive(Clone, Debug, Default)]
pub struct Statuses {
    own: BTreeMap<u32, Cause>,
    /// The same settings by the word itself: `err` of a receipt may be anything.
    words: BTreeMap<Arc<str>, Cause>,
}

impl Statuses {
    /// The carrier's own meanings: keys such as `0x0414`, or decimal.
    pub fn new(own: &BTreeMap<Arc<str>, Cause>) -> Statuses {
        let numbers = own
            .iter()
            .filter_map(|(key, cause)| Some((parse(key)?, *cause)));
        Statuses {
            own: numbers.collect(),
            words: own.clone(),
        }
    }

    pub fn failure(&self, status: u32) -> Failure {
        let code: Option<Arc<str>> = Some(format!("{status:#010x}").into());
        if let Some(cause) = self.own.get(&status) {
            return cause.failure(code);
        }
        let Some(known) = TABLE.iter().find(|known| known.status == status) else {
            return Cause::CarrierFault.failure(code);
        };
        let mut failure = known.cause.failure(code);
        failure.about = known.about.unwrap_or(failure.about);
        match known.ours {
            true => Failure {
                verdict: Verdict::NextCandidate,
                blame: Blame::Us,
                ..failure
            },
            false => failure,
        }
    }

    /// What the carrier's settings say about the `err` of a receipt: the word as it stands, or without its zeros.
    pub fn receipt_cause(&self, err: &str) -> Option<Cause> {
        let bare = err.trim_start_matches('0');
        self.words
            .get(err)
            .or_else(|| self.words.get(bare))
            .copied()
    }
}

/// The name of a status, for the operator.
pub fn name(status: u32) -> &'static str {
    TABLE
        .iter()
        .find(|known| known.status == status)
        .map_or("not in SMPP 3.4", |known| known.name)
}

fn parse(key: &str) -> Option<u32> {
    match key.strip_prefix("0x").or_else(|| key.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        // With zeros in front it is the `err` of a receipt.
        None if key.len() > 1 && key.starts_with('0') => None,
        None => key.parse().ok(),
    }
}

struct Known {
    status: u32,
    name: &'static str,
    cause: Cause,
    /// It speaks against our own request or setting; another carrier may still take it.
    ours: bool,
    /// What it is about, where that is not what its cause says.
    about: Option<About>,
}

const fn known(status: u32, name: &'static str, cause: Cause) -> Known {
    Known {
        status,
        name,
        cause,
        ours: false,
        about: None,
    }
}

const fn ours(status: u32, about: About, name: &'static str) -> Known {
    Known {
        status,
        name,
        cause: Cause::CarrierFault,
        ours: true,
        about: Some(about),
    }
}

/// It speaks against our account.
const fn account(status: u32, name: &'static str) -> Known {
    Known {
        about: Some(About::Account),
        ..known(status, name, Cause::CarrierFault)
    }
}

const TABLE: [Known; 46] = [
    // What we wrote is wrong in this carrier's eyes.
    ours(0x01, About::Request, "ESME_RINVMSGLEN: message length"),
    ours(0x02, About::Carrier, "ESME_RINVCMDLEN: command length"),
    ours(0x03, About::Carrier, "ESME_RINVCMDID: unknown command"),
    ours(0x06, About::Carrier, "ESME_RINVPRTFLG: priority flag"),
    ours(
        0x07,
        About::Carrier,
        "ESME_RINVREGDLVFLG: registered delivery flag",
    ),
    ours(0x0A, About::Sender, "ESME_RINVSRCADR: source address"),
    ours(0x15, About::Carrier, "ESME_RINVSERTYP: service type"),
    ours(0x43, About::Request, "ESME_RINVESMCLASS: esm_class"),
    ours(0x48, About::Sender, "ESME_RINVSRCTON: source TON"),
    ours(0x49, About::Sender, "ESME_RINVSRCNPI: source NPI"),
    ours(0x50, About::Country, "ESME_RINVDSTTON: destination TON"),
    ours(0x51, About::Country, "ESME_RINVDSTNPI: destination NPI"),
    ours(0x53, About::Carrier, "ESME_RINVSYSTYP: system type"),
    ours(0x61, About::Request, "ESME_RINVSCHED: scheduled time"),
    ours(0x62, About::Request, "ESME_RINVEXPIRY: validity period"),
    ours(0xC0, About::Request, "ESME_RINVOPTPARSTREAM: optional part"),
    ours(
        0xC1,
        About::Request,
        "ESME_ROPTPARNOTALLWD: optional parameter not allowed",
    ),
    ours(0xC2, About::Request, "ESME_RINVPARLEN: parameter length"),
    ours(
        0xC3,
        About::Request,
        "ESME_RMISSINGOPTPARAM: optional parameter missing",
    ),
    ours(
        0xC4,
        About::Request,
        "ESME_RINVOPTPARAMVAL: optional parameter value",
    ),
    ours(0x104, About::Request, "ESME_RINVDCS: data coding"),
    // The bind: wrong credentials, wrong state.
    account(0x04, "ESME_RINVBNDSTS: wrong bind state"),
    account(0x05, "ESME_RALYBND: already bound"),
    account(0x0D, "ESME_RBINDFAIL: bind failed"),
    account(0x0E, "ESME_RINVPASWD: invalid password"),
    account(0x0F, "ESME_RINVSYSID: invalid system id"),
    // The number.
    known(
        0x0B,
        "ESME_RINVDSTADR: invalid destination",
        Cause::InvalidNumber,
    ),
    known(
        0x34,
        "ESME_RINVDLNAME: invalid distribution list",
        Cause::InvalidNumber,
    ),
    known(
        0x40,
        "ESME_RINVDESTFLAG: invalid destination flag",
        Cause::InvalidNumber,
    ),
    // Full.
    known(0x14, "ESME_RMSGQFUL: message queue full", Cause::Throttled),
    known(0x58, "ESME_RTHROTTLED: throttled", Cause::Throttled),
    // The carrier's own trouble.
    known(0x08, "ESME_RSYSERR: system error", Cause::CarrierFault),
    known(
        0x0C,
        "ESME_RINVMSGID: invalid message id",
        Cause::CarrierFault,
    ),
    known(0x11, "ESME_RCANCELFAIL: cancel failed", Cause::CarrierFault),
    known(
        0x13,
        "ESME_RREPLACEFAIL: replace failed",
        Cause::CarrierFault,
    ),
    known(
        0x44,
        "ESME_RCNTSUBDL: cannot submit to list",
        Cause::CarrierFault,
    ),
    known(0x45, "ESME_RSUBMITFAIL: submit failed", Cause::CarrierFault),
    known(
        0x64,
        "ESME_RX_T_APPN: temporary application error",
        Cause::CarrierFault,
    ),
    known(
        0x65,
        "ESME_RX_P_APPN: permanent application error",
        Cause::CarrierFault,
    ),
    known(
        0x66,
        "ESME_RX_R_APPN: refused by application",
        Cause::CarrierFault,
    ),
    known(
        0xFE,
        "ESME_RDELIVERYFAILURE: delivery failure",
        Cause::CarrierFault,
    ),
    known(0xFF, "ESME_RUNKNOWNERR: unknown error", Cause::CarrierFault),
    // SMPP 5.0, also seen on 3.4 links.
    account(0x100, "ESME_RSERTYPUNAUTH: service not authorised"),
    known(
        0x101,
        "ESME_RPROHIBITED: prohibited for this destination",
        Cause::BlockedByOperator,
    ),
    known(
        0x102,
        "ESME_RSERTYPUNAVAIL: service unavailable",
        Cause::CarrierFault,
    ),
    known(
        0x103,
        "ESME_RSERTYPDENIED: service denied",
        Cause::BlockedByOperator,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn own(pairs: &[(&str, Cause)]) -> BTreeMap<Arc<str>, Cause> {
        pairs
            .iter()
            .map(|(key, cause)| (Arc::from(*key), *cause))
            .collect()
    }

    #[test]
    fn each_status_stands_once_and_says_its_verdict() {
        let mut all: Vec<u32> = TABLE.iter().map(|known| known.status).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), TABLE.len());

        let statuses = Statuses::default();
        let wanted = [
            (0x58, Cause::Throttled, Verdict::Later, Blame::Nobody),
            (0x14, Cause::Throttled, Verdict::Later, Blame::Nobody),
            (
                0x0B,
                Cause::InvalidNumber,
                Verdict::StopChannel,
                Blame::Number,
            ),
            (
                0x08,
                Cause::CarrierFault,
                Verdict::NextCandidate,
                Blame::Carrier,
            ),
            (0x0A, Cause::CarrierFault, Verdict::NextCandidate, Blame::Us),
            (
                0x9999,
                Cause::CarrierFault,
                Verdict::NextCandidate,
                Blame::Carrier,
            ),
        ];
        for (status, cause, verdict, blame) in wanted {
            let failure = statuses.failure(status);
            assert_eq!(
                (failure.cause, failure.verdict, failure.blame),
                (cause, verdict, blame),
                "{status:#x}"
            );
        }
        assert_eq!(
            statuses.failure(0x0B).carrier_code.as_deref(),
            Some("0x0000000b")
        );
    }

    #[test]
    fn the_carriers_own_meaning_wins() {
        let statuses = Statuses::new(&own(&[
            ("0x0414", Cause::BlockedByOperator),
            ("8", Cause::Throttled),
            ("27", Cause::HandsetOff),
        ]));
        assert_eq!(statuses.failure(0x0414).cause, Cause::BlockedByOperator);
        assert_eq!(statuses.failure(0x08).verdict, Verdict::Later);
        assert_eq!(statuses.receipt_cause("027"), Some(Cause::HandsetOff));
        assert_eq!(statuses.receipt_cause("000"), None);
    }
}
