//! Challenges over a limit: what becomes of them, what is counted, and what the log says of the limit.

use serde_json::Value;

use crate::{
    reload::{self, Process},
    world::{Folder, ask, text, until},
};

/// A gateway of its own whose settings end with these limits.
async fn limited(folder: &Folder, limits: &str) -> Process {
    let file = folder.0.join("ringback.toml");
    let settings = std::fs::read_to_string(file).expect("settings");
    folder.write("ringback.toml", &format!("{settings}[limits]\n{limits}\n"));
    Process::start(folder, &[]).await
}

async fn post(p: &Process, id: &str, to: &str) {
    let taken = ask("POST", p.http, "/v1/challenges", &text(id, to).to_string()).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
}

/// The last report of a text to this number.
async fn last(p: &Process, id: &str, to: &str) -> Value {
    post(p, id, to).await;
    let path = format!("/v1/challenges/{id}/reports");
    let events = ask("GET", p.http, &path, "").await.events();
    events.last().expect("a final").2.clone()
}

/// What is counted over limits: each limit and action with its number.
async fn over(p: &Process) -> Vec<String> {
    let metrics = ask("GET", p.admin, "/metrics", "").await.text();
    let counted = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("ringback_over_limit_total"));
    let mut counted: Vec<String> = counted.map(str::to_owned).collect();
    counted.sort();
    counted
}

/// The one line of its level that names this limit, told at once and then once a minute.
async fn line(p: &Process, limit: &str) -> Value {
    until("said", async || p.said(&["\"limit\":", limit]) > 0).await;
    let lines = p.lines();
    let mut about = lines.iter().filter(|line| line["limit"] == limit);
    let one = about.next().expect("a line").clone();
    assert!(about.next().is_none(), "once a minute: {lines:#?}");
    one
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_records_stops_nobody_and_one_that_denies_does_each_by_its_limits_name() {
    for (guard, event, action) in [
        ("record", "delivered", "recorded"),
        ("deny", "rejected", "refused"),
    ] {
        let (folder, _smsc) = reload::one_carrier().await;
        let limits =
            format!("challenges_per_country = {{ count = 2, per = \"5m\" }}\nguard = \"{guard}\"");
        let gateway = limited(&folder, &limits).await;
        for n in 0..2 {
            let (id, to) = (format!("within-{n}"), format!("+1202555012{n}"));
            assert_eq!(last(&gateway, &id, &to).await["event"], "delivered");
        }
        for n in 0..3 {
            let (id, to) = (format!("over-{n}"), format!("+1202555013{n}"));
            let last = last(&gateway, &id, &to).await;
            assert_eq!(last["event"], event, "{last}");
            if guard == "deny" {
                assert_eq!(last["reason"], "fraud_guard", "{last}");
            }
        }
        let counted = format!("{{limit=\"challenges_per_country\",action=\"{action}\"}} 3");
        assert_eq!(over(&gateway).await, [counted]);
        let line = line(&gateway, "challenges_per_country").await;
        let message = line["message"].as_str().unwrap_or_default();
        assert!(message.starts_with("over a fraud guard's limit"), "{line}");
        assert_eq!(line["level"], "WARN", "{line}");
        assert_eq!(
            (&line["action"], &line["is"], &line["challenges"]),
            (&action.into(), &"2 in 5m".into(), &1.into()),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_refused_whatever_the_guard_and_told_without_alarm() {
    let (folder, _smsc) = reload::one_carrier().await;
    let limits = "challenges_per_number = { count = 1, per = \"5m\" }\nguard = \"record\"";
    let gateway = limited(&folder, limits).await;
    let to = "+12025550123";
    assert_eq!(last(&gateway, "n-1", to).await["event"], "delivered");
    for id in ["n-2", "n-3"] {
        let last = last(&gateway, id, to).await;
        assert_eq!(
            (&last["event"], &last["reason"]),
            (&"rejected".into(), &"too_many_attempts".into()),
            "{last}"
        );
    }
    let counted = "{limit=\"challenges_per_number\",action=\"refused\"} 2";
    assert_eq!(over(&gateway).await, [counted]);
    let line = line(&gateway, "challenges_per_number").await;
    assert_eq!(
        (&line["level"], &line["action"]),
        (&"INFO".into(), &"refused".into()),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prefix_guard_that_no_file_names_is_on_and_only_records() {
    let (folder, _smsc) = reload::one_carrier().await;
    // The other guards deny.
    let gateway = limited(&folder, "guard = \"deny\"").await;
    for n in 0..200 {
        post(&gateway, &format!("p-{n}"), &format!("+12025550{n:03}")).await;
    }
    assert_eq!(over(&gateway).await, [""; 0]);
    let last = last(&gateway, "p-200", "+12025550200").await;
    assert_eq!(last["event"], "delivered", "{last}");
    let counted = "{limit=\"challenges_per_prefix\",action=\"recorded\"} 1";
    assert_eq!(over(&gateway).await, [counted]);
    let line = line(&gateway, "challenges_per_prefix").await;
    assert_eq!(
        (&line["action"], &line["is"]),
        (&"recorded".into(), &"200 in 10m".into()),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_prefix_guard_that_a_file_names_denies_as_guard_says() {
    let (folder, _smsc) = reload::one_carrier().await;
    let limits = "challenges_per_prefix = { count = 1, per = \"10m\" }";
    let gateway = limited(&folder, limits).await;
    let first = last(&gateway, "p-1", "+12025550123").await;
    assert_eq!(first["event"], "delivered", "{first}");
    let second = last(&gateway, "p-2", "+12025550124").await;
    assert_eq!(second["reason"], "fraud_guard", "{second}");
}
