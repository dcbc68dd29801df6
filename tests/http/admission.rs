//! What may be sent at all, changed while the gateway runs: countries, and numbers that skip the checks.

use serde_json::json;

use crate::world::{World, ask, text};

const US: &str = "+12025550123";
const SE: &str = "+46701740605";
/// A landline in Sweden: no text is sent there.
const LANDLINE: &str = "+468123456";

/// These lines are added to the settings of the start, and take effect.
async fn change(w: &World, settings: &str, more: &str) {
    let file = format!("{settings}\n{more}");
    w.folder.write("ringback.toml", &file);
    let answer = ask("POST", w.running.admin, "/admin/reload", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(
        (&answer["reloaded"], &answer["restart_needed"]),
        (&json!(true), &json!([])),
        "{answer}"
    );
}

/// The final event and its reason.
async fn last(w: &World, id: &str, to: &str) -> (String, String) {
    let taken = w.post(&text(id, to)).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    let (_, event, report) = w.reports(id).await.pop().expect("a final");
    (event, report["reason"].as_str().unwrap_or("").to_owned())
}

fn rejected(reason: &str) -> (String, String) {
    ("rejected".to_owned(), reason.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_country_is_refused_and_allowed_again_from_the_next_challenge_on() {
    let w = World::new("").await;
    let file = w.folder.0.join("ringback.toml");
    let settings = std::fs::read_to_string(file).expect("settings");
    assert_eq!(last(&w, "a-1", SE).await.0, "delivered");
    change(&w, &settings, "[countries]\nsms = [\"US\"]").await;
    assert_eq!(last(&w, "a-2", SE).await, rejected("country_blocked"));
    assert_eq!(last(&w, "a-3", US).await.0, "delivered");
    change(&w, &settings, "[countries]\nsms = [\"SE\"]").await;
    assert_eq!(last(&w, "a-4", SE).await.0, "delivered");
    assert_eq!(last(&w, "a-5", US).await, rejected("country_blocked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefix_skips_the_checks_from_the_next_challenge_on() {
    let w = World::new("").await;
    let file = w.folder.0.join("ringback.toml");
    let settings = std::fs::read_to_string(file).expect("settings");
    assert_eq!(last(&w, "n-1", LANDLINE).await, rejected("number_type"));
    change(&w, &settings, "[numbers]\nallow = [\"+468\"]").await;
    assert_eq!(last(&w, "n-2", LANDLINE).await.0, "delivered");
    change(&w, &settings, "").await;
    assert_eq!(last(&w, "n-3", LANDLINE).await, rejected("number_type"));
}
