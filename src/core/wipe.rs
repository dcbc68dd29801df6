//! What is left of a challenge in the ledger when its time is over: nothing personal.

use serde_json::Value;

use crate::{challenge::Challenge, ledger::Wipe};

pub const WIPE: Wipe = Wipe {
    job,
    life,
    report,
    outcome,
};

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

/// What is remembered of a final beyond retention.
fn outcome(last: &[u8]) -> Vec<u8> {
    let Ok(Value::Object(mut body)) = serde_json::from_slice(last) else {
        return Vec::new();
    };
    let attempts = body.get("attempts").and_then(Value::as_array).map(Vec::len);
    body.retain(|key, _| OUTCOME.contains(&key.as_str()));
    if let Some(attempts) = attempts {
        body.insert("attempts_made".to_owned(), attempts.into());
    }
    serde_json::to_vec(&body).unwrap_or_default()
}

/// What of a final is its outcome.
const OUTCOME: [&str; 8] = [
    "challenge",
    "tenant",
    "event",
    "reason",
    "method",
    "country",
    "carrier",
    "billable",
];

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        challenge::{AttemptKey, ChallengeKey, Millis},
        config::settings::{LedgerSettings, LedgerUrl, OnLoss, Settings},
        ledger::{Batch, Ledger, LimitCheck, NewChallenge, Op, check},
    };

    /// In a far future, so that the ledger's own housekeeping finds nothing to do.
    const T0: Millis = Millis(4_000_000_000_000);
    const DAY: Duration = Duration::from_secs(86_400);
    const MANY: i64 = 2_000;

    /// A text that was delivered, as it lies in the ledger from its job to its final.
    fn delivered(key: i64, n: i64) -> Vec<Op> {
        let id = format!("{:08x}-5717-4562-b3fc-{:012x}", n * 48_271, n * 69_621);
        let (to, reference) = (4_670_174_000 + n, 46_919_150_365_310_977 + n * 7);
        let job = format!(
            r#"{{"id":"{id}","tenant":"contoso-bank","user":"user-{n}","to":"+{to}","country":"SE","method":"sms_code","until":"delivered","expect":"code","code":"{}","code_made":false,"locale":"sv-SE","issued":{},"deadline":{},"arrived":{},"meta":{{"server":"login-3","client_ip":"192.0.2.{}"}},"door":"amqp","content":"{}"}}"#,
            100_000 + n * 7,
            T0.0,
            T0.0 + 180_000,
            T0.0,
            n % 250,
            hex::encode([n as u8; 32]).replace('0', "7")
        );
        let life = format!(
            r#"{{"seq":3,"legs":[{{"method":"sms_code","state":{{"closed":null}},"started":{0}}}],"attempts":[{{"n":1,"leg":0,"method":"sms_code","carrier":"litware","sender":"Ringback","route":"se.sms[1]","why":"weighted","started":{0},"ended":{1},"references":["{reference}"],"taken":true,"phase":{{"settled":"delivered"}},"parts_delivered":1,"receipt_by":9223372036854775807}}],"hedged":false,"code_told":true,"ended":{{"at":{1},"event":"delivered","attempt":1,"seq":3}},"first_told":{0},"told":[[0,"accepted",0],[{2},"sent",1],[{3},{{"final":"delivered"}},1]]}}"#,
            T0.0,
            T0.0 + 2_000 + n % 977,
            n % 89,
            2_000 + n % 977
        );
        let last = format!(
            r#"{{"v":1,"report_id":"gw-1-{key:x}-3","challenge":"{id}","tenant":"contoso-bank","user":"user-{n}","at":"{1}","node":"gw-1","meta":{{"server":"login-3","client_ip":"192.0.2.{2}"}},"seq":3,"event":"delivered","final":true,"result":"undetermined","reason":"delivered","method":"sms_code","channel":"sms","country":"SE","attempt":1,"carrier":"litware","sender":"Ringback","route":"se.sms[1]","why":"weighted","reference":"{reference}","in_doubt":false,"hedge":false,"attempts":[{{"attempt":1,"method":"sms_code","channel":"sms","carrier":"litware","sender":"Ringback","route":"se.sms[1]","why":"weighted","reference":"{reference}","references":["{reference}"],"started":"{0}","ended":"{1}","outcome":"delivered","in_doubt":false,"hedge":false}}],"billable":true}}"#,
            T0.rfc3339(),
            (T0 + Duration::from_millis(2_000 + n as u64 % 977)).rfc3339(),
            n % 250
        );
        let challenge = ChallengeKey(key);
        vec![
            Op::Accept(Box::new(NewChallenge {
                key: challenge,
                tenant: "contoso-bank".into(),
                id: id.into(),
                content: [n as u8; 32],
                arrived: T0,
                deadline: T0 + Duration::from_secs(180),
                job: job.into_bytes(),
                life: b"{}".to_vec(),
                last: None,
                claim: None,
                limits: Some(LimitCheck {
                    keys: [n as u64 + 1, n as u64 + 1, 5, 8, 9],
                    limits: Arc::new(Settings::default().limits),
                }),
            })),
            Op::Reference {
                carrier: "litware".into(),
                reference: reference.to_string().into(),
                key: AttemptKey {
                    challenge,
                    attempt: 1,
                },
                part: 0,
                phone: None,
            },
            Op::End {
                key: challenge,
                life: life.into_bytes(),
                last: last.into_bytes(),
                at: T0,
            },
        ]
    }

    #[tokio::test]
    async fn a_challenge_takes_a_kilobyte_once_it_is_wiped_and_its_outcome_a_third() {
        let name = format!("ringback-octets-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let settings = LedgerSettings {
            url: LedgerUrl::Sqlite(folder.join("ringback.db")),
            keys: Vec::new(),
            retention: DAY,
            outcomes: DAY * 7,
            on_loss: OnLoss::Refuse,
        };
        let limits = Settings::default().limits;
        let (ledger, mut done, recovered) = Ledger::open(&settings, "gw-1", &limits, WIPE).unwrap();
        let first = recovered.first_challenge.0;
        for n in 0..MANY {
            let ops = delivered(first + n, n);
            ledger.submit(Batch { number: 0, ops }).await.unwrap();
            done.recv().await.unwrap();
        }
        let content = || {
            check::check(&settings, check::Depth::Whole)
                .unwrap()
                .content
                .unwrap()
        };
        let settled = content();
        while ledger
            .housekeep(T0 + Duration::from_secs(400))
            .await
            .unwrap()
        {}
        let wiped = content();
        assert_eq!((wiped.challenges, wiped.wiped), (MANY, MANY));
        let repeated = ledger.get(ChallengeKey(first + 5)).await.unwrap().unwrap();
        let said: Value = serde_json::from_slice(&repeated.last.unwrap()).unwrap();
        assert_eq!(said["attempts"][0]["outcome"], "delivered");
        let trace: crate::delivery::DeliveryState = serde_json::from_slice(&repeated.life).unwrap();
        assert_eq!(trace.attempts.len(), 1);
        while ledger
            .housekeep(T0 + DAY + Duration::from_secs(1))
            .await
            .unwrap()
        {}
        let retired = content();
        assert_eq!((retired.challenges, retired.outcomes), (0, MANY));
        let found = ledger.outcomes("contoso-bank", &repeated.id).await.unwrap();
        let outcome: Value = serde_json::from_slice(&found[0].outcome).unwrap();
        assert_eq!(outcome["event"], "delivered");
        println!("settled {:?}", settled.tables);
        println!("wiped {:?}", wiped.tables);
        println!("retired {:?}", retired.tables);
        let octets = (
            settled.octets_per_challenge().unwrap(),
            wiped.octets_per_challenge().unwrap(),
            retired.octets_per_outcome().unwrap(),
        );
        assert!(
            octets.0 < 4_300 && octets.1 < 1_024 && octets.2 < 400,
            "{octets:?}"
        );
        while ledger.housekeep(T0 + DAY * 8).await.unwrap() {}
        assert_eq!(content().outcomes, 0);
        ledger.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_final_told_again_later_has_no_secrets() {
        let left = report(br##"{"event":"delivered","code":"482913","digits":"#","seq":3}"##);
        assert_eq!(left, br#"{"event":"delivered","seq":3}"#);
        assert!(report(b"garbage").is_empty());
    }

    #[test]
    fn an_outcome_says_how_it_ended_and_nothing_of_the_person() {
        let last = br##"{"event":"delivered","challenge":"a","user":"alice","meta":{"name":"Alice"},"attempts":[{},{}],"seq":3}"##;
        let left = outcome(last);
        assert_eq!(
            left,
            br#"{"attempts_made":2,"challenge":"a","event":"delivered"}"#
        );
        assert!(outcome(b"").is_empty());
    }
}
