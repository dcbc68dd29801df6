//! After a run with everything logged that can be logged: no code, PIN, full number, text or meta lies about in logs,
//! metrics, pages, dead letters, or in clear in the ledger's files.

use std::time::Duration;

use serde_json::json;

use crate::{
    ALONE,
    broker::Broker,
    caller::{Caller, Letter, take_dead},
    gateway::{Gateway, get, log, post, tail, until},
    jobs::letter,
    town::{CALLER_ID, Town},
};

const LIMIT: Duration = Duration::from_secs(90);
/// Everything of ours, and everything of the libraries that handle what is ours.
const LOG: &str = "trace";

/// What must be found nowhere, and what it is.
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn keep(&mut self, what: &str, secret: &str) {
        self.0.push((what.to_owned(), secret.to_owned()));
    }

    /// E.164 with and without its plus, and as written at home.
    fn number(&mut self, number: &str) {
        self.keep("a number", number.trim_start_matches('+'));
        let home = number.trim_start_matches("+1").trim_start_matches("+46");
        self.keep("a number in its national form", home);
        let (area, rest) = home.split_at(3);
        let (exchange, line) = rest.split_at(rest.len() - 4);
        self.keep(
            "a number written out",
            &format!("({area}) {exchange}-{line}"),
        );
        self.keep("a number written out", &format!("{area}-{exchange}-{line}"));
    }

    /// Those that stand in there.
    fn found(&self, place: &str, octets: &[u8]) -> Vec<String> {
        let in_it = |secret: &str| octets.windows(secret.len()).any(|w| w == secret.as_bytes());
        self.0
            .iter()
            .filter(|(_, secret)| in_it(secret))
            .map(|(what, secret)| {
                format!("{place}: {what} ({secret}): {}", line_with(octets, secret))
            })
            .collect()
    }
}

/// For the one who looks into it: where.
fn line_with(octets: &[u8], secret: &str) -> String {
    let text = String::from_utf8_lossy(octets);
    let line = text
        .lines()
        .find(|line| line.contains(secret))
        .unwrap_or("");
    line.chars().take(400).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_personal_is_left_lying_about() {
    let _alone = ALONE.lock().await;
    let Some(broker) = Broker::find() else {
        return;
    };
    let town = Town::build("privacy").await;
    let caller = Caller::start(&broker.url, &town.name).await;
    caller.keep_copies();
    let gateway = Gateway::start(&town, &broker.url, LOG).await;
    let mut secrets = Secrets(Vec::new());
    let letters = traffic(&mut secrets);
    caller.publish(&letters, 100).await;
    let bad = spoilt(&mut secrets);
    caller.publish(&bad, 100).await;
    by_http(&town, &mut secrets).await;
    let all = |c: &Caller| c.ended().0 >= letters.len() && c.errors().len() >= bad.len();
    let came = caller.until(LIMIT, all).await;
    let open = letters.iter().map(|l| (&l.id, caller.story(&l.id)));
    let open = open.filter(|(_, story)| story.finals.is_empty());
    let open = open.map(|(id, story)| format!("{id} {:?}", story.events));
    assert!(
        came,
        "{} of {} have ended, {} of {} errors; open: {:?}",
        caller.ended().0,
        letters.len(),
        caller.errors().len(),
        bad.len(),
        open.collect::<Vec<_>>()
    );
    let made = letters.iter().filter_map(|l| caller.story(&l.id).code);
    made.collect::<Vec<_>>()
        .iter()
        .for_each(|code| secrets.keep("a made code", &format!(" {code} ")));
    take_dead(&caller).await;
    assert_eq!(caller.dead().len(), bad.len());

    let mut found = Vec::new();
    for path in ["/metrics", "/", "/admin/carriers", "/readyz"] {
        let answer = get(town.admin, path).await.expect("an answer");
        found.extend(secrets.found(path, answer.as_bytes()));
    }
    for letter in caller.dead() {
        found.extend(secrets.found("dead letter", &letter));
    }
    // Reports echo who was asked, for whoever may read them; never number, code, text or PIN.
    let echoed = ["a name", "an e-mail address", "a user"];
    let unsaid = secrets
        .0
        .iter()
        .filter(|(what, _)| !echoed.contains(&what.as_str()));
    let unsaid = Secrets(unsaid.cloned().collect());
    assert!(caller.copies().len() > letters.len(), "copies were kept");
    for copy in caller.copies() {
        found.extend(unsaid.found("report on the exchange", &copy));
    }
    found.extend(files(&town, &secrets, "while it runs"));
    gateway.reload().await;
    // What libraries say at their finest is held back by the gateway's own filter; the rest is all there.
    until(LIMIT, "the log says all it can", || {
        log(&town).contains("DEBUG")
    })
    .await;
    assert_eq!(gateway.drain().await, 0, "{}", tail(&town));
    found.extend(files(&town, &secrets, "after its end"));
    found.extend(secrets.found("log", log(&town).as_bytes()));
    found.dedup();
    let shown: Vec<&str> = found.iter().take(30).map(String::as_str).collect();
    assert!(
        found.is_empty(),
        "{} places\n{}",
        found.len(),
        shown.join("\n")
    );
}

/// The ledger's files, its journal among them.
fn files(town: &Town, secrets: &Secrets, when: &str) -> Vec<String> {
    let entries = std::fs::read_dir(town.folder.join("data")).expect("the ledger's folder");
    let mut found = Vec::new();
    let mut looked = 0;
    for entry in entries {
        let path = entry.expect("a file").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let octets = std::fs::read(&path).expect("a file that can be read");
        looked += octets.len();
        found.extend(secrets.found(&format!("{name} {when}"), &octets));
    }
    assert!(looked > 10_000, "the ledger was not found");
    found
}

/// Texts and calls with everything in them that is somebody's own.
fn traffic(secrets: &mut Secrets) -> Vec<Letter> {
    let methods = [
        "sms_code",
        "sms_code",
        "voice_code",
        "voice_confirm",
        "voice_pin",
    ];
    let ends = [
        "0123", "9001", "9006", "9008", "9020", "9022", "9028", "9036",
    ];
    let mut letters = Vec::new();
    for (n, (method, end)) in methods
        .iter()
        .flat_map(|m| ends.iter().map(move |e| (*m, *e)))
        .enumerate()
    {
        let area = if method == "voice_code" { 416 } else { 202 };
        let number = format!("+1{area}{}{end}", 301 + n);
        let (id, code) = (
            format!("p-{n}"),
            format!("{}", 7_100_000_019_u64 + n as u64 * 9_973),
        );
        let name = format!("Aurelia Quandt{n}");
        let email = format!("aurelia{n}@quandt.example");
        secrets.number(&number);
        secrets.keep("a name", &name);
        secrets.keep("an e-mail address", &email);
        let mut body = json!({
            "id": id, "to": number, "method": method, "lifetime_s": 40,
            "user": format!("quandt-user-{n}"), "meta": { "name": name, "email": email },
        });
        secrets.keep("a user", &format!("quandt-user-{n}"));
        if method == "voice_pin" {
            let hash = format!(
                "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0${n:02}HashOfPin5kpyaNQwkGhGSqIlFuPDVCnRbD5LMTyIV"
            );
            body["pin"] = json!(hash);
            secrets.keep("the hash of a PIN", &format!("{n:02}HashOfPin"));
        }
        if n % 3 == 0 {
            let text = format!("Dear Aurelia, hush {n}: {{code}} is yours");
            secrets.keep("a text", &format!("hush {n}:"));
            body["text"] = json!(text);
        }
        if n % 2 == 0 && method != "voice_confirm" {
            body["code"] = json!(code);
            secrets.keep("a code", &code);
        }
        if method == "voice_confirm" {
            body["caller_id"] = json!(CALLER_ID);
        }
        letters.push(letter(&id, &body));
    }
    letters
}

/// Bad jobs with the same in places where it is looked at.
fn spoilt(secrets: &mut Secrets) -> Vec<Letter> {
    secrets.number("+12025557711");
    secrets.keep("a code in a bad job", "66554433");
    secrets.keep("a PIN in a bad job", "pin-8080-1");
    let bodies = [
        json!({ "id": "s-1", "to": "+12025557711", "method": "sms_code", "+12025557711": 1 }),
        json!({ "id": "s-2", "to": "+12025557711", "method": "66554433" }),
        json!({ "id": "s-3", "to": "+12025557711", "method": "voice_pin", "pin": "pin-8080-1" }),
        json!({ "id": "+12025557711 66554433", "to": 5, "method": "sms_code" }),
        json!({ "id": "s-5", "to": ["+12025557711"], "method": "sms_code", "code": "66554433x" }),
        json!({ "id": "s-6", "to": "+12025557711", "method": "sms_code", "locale": "66554433", "caller_id": "12025557711" }),
    ];
    let mut letters: Vec<Letter> = bodies.iter().map(|body| letter("spoilt", body)).collect();
    letters.push(Letter {
        id: "spoilt".into(),
        body: b"to +12025557711 say 66554433".to_vec(),
    });
    letters
}

/// The other door, and a receipt that nobody waits for.
async fn by_http(town: &Town, secrets: &mut Secrets) {
    secrets.number("+12025558822");
    secrets.keep("a code by HTTP", "9182736450");
    let body =
        json!({ "id": "h-1", "to": "+12025558822", "method": "sms_code", "code": "9182736450" });
    let answer = post(town.http, "/v1/challenges", body.to_string().as_bytes()).await;
    let answer = answer.unwrap_or_default();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let bad = json!({ "id": "h-2", "to": "+12025558822", "method": "9182736450" });
    let answer = post(town.http, "/v1/challenges", bad.to_string().as_bytes()).await;
    assert!(answer.is_some_and(|a| a.starts_with("HTTP/1.1 400")));
    let stray = b"{\"id\":\"+12025558822\",\"status\":\"9182736450\"}";
    let answer = post(town.callbacks, "/callbacks/tailspin", stray).await;
    assert!(answer.is_some_and(|a| a.starts_with("HTTP/1.1 401")));
}
