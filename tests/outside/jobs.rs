//! Who is asked for what, and how it must end: the table of finals by the behaviour of the person at the number.

use serde_json::{Value, json};

use crate::caller::Letter;

/// One kind of challenge.
#[derive(Debug)]
pub struct Row {
    pub name: &'static str,
    /// Of a thousand.
    pub share: u32,
    pub method: &'static str,
    /// The last four digits are 90NN; None: a person like everybody.
    pub nn: Option<u8>,
    /// The finals that are right, as `event/reason`, some of them `by` one carrier only.
    pub finals: &'static [&'static str],
}

const fn row(
    name: &'static str,
    share: u32,
    method: &'static str,
    nn: Option<u8>,
    finals: &'static [&'static str],
) -> Row {
    Row {
        name,
        share,
        method,
        nn,
        finals,
    }
}

/// Of most of them, in seconds: what is in doubt ends with it.
const LIFE: u32 = 60;
const TEXT: &str = "sms_code";
const CALL: &str = "voice_confirm";
const DELIVERED: &[&str] = &["delivered/delivered"];
const CONFIRMED: &[&str] = &["confirmed/confirmed"];
const NO_KEY: &[&str] = &["undelivered/no_keypress"];
/// A carrier by HTTP tells no cause.
const NEGATIVE: &[&str] = &["undelivered/unreachable"];

pub const TABLE: &[Row] = &[
    row("a text", 527, TEXT, None, DELIVERED),
    row("a text with a made code", 150, TEXT, None, DELIVERED),
    row("a text, asked for twice", 30, TEXT, None, DELIVERED),
    row("handset off", 20, TEXT, Some(1), NEGATIVE),
    row("no receipt", 10, TEXT, Some(2), &["unconfirmed/no_receipt"]),
    row("late receipt", 20, TEXT, Some(3), DELIVERED),
    row("early receipt", 20, TEXT, Some(4), DELIVERED),
    row("double receipt", 20, TEXT, Some(5), DELIVERED),
    row(
        "refused at submit",
        14,
        TEXT,
        Some(6),
        &["failed/invalid_number", "failed/carriers_exhausted"],
    ),
    row("rejected", 14, TEXT, Some(7), NEGATIVE),
    row(
        "dropped unanswered",
        2,
        TEXT,
        Some(8),
        &["delivered/delivered", "unconfirmed/in_doubt"],
    ),
    row(
        "expired at the carrier",
        14,
        TEXT,
        Some(9),
        &["undelivered/handset_off", "undelivered/unreachable"],
    ),
    row(
        "other id base",
        20,
        TEXT,
        Some(10),
        &["delivered/delivered", "unconfirmed/no_receipt by tailspin"],
    ),
    row("id in the TLV alone", 20, TEXT, Some(11), DELIVERED),
    row("replies", 20, TEXT, Some(12), DELIVERED),
    row("intermediate first", 20, TEXT, Some(13), DELIVERED),
    row(
        "a text that fails, then a call",
        6,
        TEXT,
        Some(1),
        CONFIRMED,
    ),
    row("a call", 20, CALL, None, CONFIRMED),
    row("a code by voice", 2, "voice_code", None, DELIVERED),
    row("busy", 2, CALL, Some(20), &["undelivered/busy"]),
    row("no answer", 2, CALL, Some(21), &["undelivered/no_answer"]),
    row("declined", 2, CALL, Some(22), &["undelivered/declined"]),
    row(
        "voicemail",
        1,
        CALL,
        Some(23),
        &["undelivered/no_keypress", "undelivered/voicemail"],
    ),
    row("silent", 1, CALL, Some(24), NO_KEY),
    row("wrong key, then #", 1, CALL, Some(25), CONFIRMED),
    row("wrong keys", 1, CALL, Some(26), NO_KEY),
    row(
        "unreachable",
        2,
        CALL,
        Some(27),
        &["undelivered/unreachable"],
    ),
    row(
        "503",
        1,
        CALL,
        Some(28),
        &["failed/carriers_exhausted", "expired/expired"],
    ),
    row("hangs up", 1, CALL, Some(29), NO_KEY),
    row("# after the repeat", 1, CALL, Some(31), CONFIRMED),
    row("digits in band", 2, CALL, Some(32), CONFIRMED),
    row("digits by INFO", 2, CALL, Some(33), CONFIRMED),
    row("early media", 2, CALL, Some(34), CONFIRMED),
    row("BYE in the prompt", 1, CALL, Some(35), NO_KEY),
    row(
        "blocked",
        1,
        CALL,
        Some(36),
        &["failed/blocked_by_operator"],
    ),
    row("480", 2, CALL, Some(37), &["undelivered/no_answer"]),
    row("two answers", 2, CALL, Some(38), CONFIRMED),
    row("no number", 8, TEXT, None, &["rejected/invalid_number"]),
    row("a landline", 8, TEXT, None, &["rejected/number_type"]),
    row(
        "a method to come",
        8,
        "voice_pin",
        None,
        &["rejected/method_disabled"],
    ),
];

/// A challenge of a storm.
pub struct Job {
    pub row: &'static Row,
    pub id: String,
    /// Digits, as the phone has them.
    pub number: String,
    pub code: Option<String>,
    pub letter: Letter,
}

/// So many challenges, mixed evenly; the same every time.
pub fn mix(count: usize) -> Vec<Job> {
    let shares: u32 = TABLE.iter().map(|row| row.share).sum();
    assert_eq!(shares, 1_000, "shares are of a thousand");
    let deck: Vec<&Row> = TABLE
        .iter()
        .flat_map(|row| (0..row.share).map(move |_| row))
        .collect();
    // 617 has no factor in common with 1000: every card once in a thousand, well shuffled.
    (0..count)
        .map(|n| job(deck[n * 617 % deck.len()], n))
        .collect()
}

fn job(row: &'static Row, n: usize) -> Job {
    let id = format!("storm-{n}");
    let number = number(row, n);
    let given = match row.name {
        "a text with a made code" => false,
        _ => row.method != CALL,
    };
    let code = given.then(|| format!("{:08}", 10_000_000 + n * 7_919 % 90_000_000));
    let mut body = json!({ "v": 1, "id": id, "to": format!("+{number}"), "method": row.method, "lifetime_s": LIFE });
    if let Some(code) = &code {
        body["code"] = json!(code);
    }
    match row.name {
        "no receipt" | "dropped unanswered" | "other id base" => body["lifetime_s"] = json!(25),
        "a text that fails, then a call" => {
            body["fallback"] = json!([{ "method": CALL, "after_s": 60 }]);
        }
        "no number" => body["to"] = json!("what is this"),
        "a landline" => body["to"] = json!(format!("+468505501{:02}", n / 7 % 100)),
        "a method to come" => {
            body["pin"] = json!(
                "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$5kpyaNQwkGhGSqIlFuPDVCnRbD5LMTyIVyjxxdZ2Eas"
            );
        }
        _ => {}
    }
    Job {
        row,
        letter: letter(&id, &body),
        id,
        number,
        code,
    }
}

pub fn letter(id: &str, body: &Value) -> Letter {
    Letter {
        id: id.to_owned(),
        body: serde_json::to_vec(body).expect("JSON"),
    }
}

/// Everybody has a number of their own: five challenges in five minutes are the limit.
fn number(row: &Row, n: usize) -> String {
    const AREAS: [u32; 20] = [
        202, 206, 212, 213, 214, 215, 216, 303, 305, 312, 404, 415, 503, 512, 602, 615, 617, 702,
        704, 713,
    ];
    const CANADA: [u32; 4] = [416, 514, 604, 403];
    let area = match row.method {
        "voice_code" => CANADA[n % CANADA.len()],
        _ => AREAS[n % AREAS.len()],
    };
    // No service codes, and none of the exchange that is for films.
    let exchange = match 230 + n / AREAS.len() % 500 {
        411 => 801,
        511 => 802,
        555 => 803,
        611 => 804,
        exchange => exchange,
    };
    let last = row.nn.map_or(n % 8_999, |nn| 9_000 + usize::from(nn));
    format!("1{area}{exchange}{last:04}")
}
