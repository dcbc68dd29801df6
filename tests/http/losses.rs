//! What a reload takes away from people: told by name in the log, in the answer and by `ringback check`.

use std::{path::Path, process::Command};

use serde_json::{Value, json};

use crate::reload::{Process, US, one_carrier};
use crate::world::{Folder, SENDERS, World, ask, text, until};

const DEFAULT: &str = "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"Ringback\"]\n";
const CALLER: &str =
    "[[sender]]\nid = \"+18553308653\"\nkind = \"toll_free\"\ncountries = \"all\"\nvoice = true\n";
const CALLS: &str = "[[voice]]\ncarrier = \"fabrikam\"\ncaller_ids = [\"+18553308653\"]\n";
/// Nobody answers there.
const TRUNK: &str = "transport = \"sip\"\nendpoints = [\"udp:127.0.0.1:9\"]\nbind = \"127.0.0.1:0\"\nrtp = { address = \"127.0.0.1\" }\n";

async fn reloaded(w: &World) -> Value {
    let answer = ask("POST", w.running.admin, "/admin/reload", "").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    assert_eq!(answer["reloaded"], true, "{answer}");
    answer
}

fn checked(folder: &Folder) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ringback"))
        .args(["check", "--config"])
        .arg(folder.0.join("ringback.toml"))
        .output()
        .expect("the binary runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn warns(answer: &Value, words: &[&str]) -> bool {
    let lines = answer["warnings"].as_array().into_iter().flatten();
    let mut lines = lines.map(ToString::to_string);
    lines.any(|line| words.iter().all(|word| line.contains(word)))
}

/// Recordings of these languages, as they are shipped.
fn prompts(folder: &Folder, languages: &[&str]) {
    for language in languages {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("prompts")
            .join(language);
        let own = folder.0.join("prompts").join(language);
        std::fs::create_dir_all(&own).expect("a folder");
        for clip in std::fs::read_dir(shipped).expect("recordings") {
            let clip = clip.expect("a recording");
            std::fs::copy(clip.path(), own.join(clip.file_name())).expect("copied");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn countries_and_languages_that_a_reload_takes_away_stand_in_its_answer() {
    let w = World::new("").await;
    w.folder.write("routes/default.toml", DEFAULT);
    std::fs::remove_file(w.folder.0.join("routes/se.toml")).expect("removed");
    let answer = reloaded(&w).await;
    assert_eq!(answer["routes_gone"], json!(["se.sms"]));
    assert_eq!(answer["countries_without_sender"], json!({}), "{answer}");
    let elsewhere = [
        "default.toml",
        "none of its senders may be shown in",
        "AD, ",
    ];
    assert!(warns(&answer, &elsewhere), "{answer}");
    assert!(checked(&w.folder).contains(elsewhere[1]));

    // The default route reaches Norway in the place of Sweden.
    let senders = SENDERS.replace("\"SE\"", "\"NO\"");
    w.folder.write("routes/senders.toml", &senders);
    let answer = reloaded(&w).await;
    let lost = &answer["countries_without_sender"];
    assert_eq!(*lost, json!({ "sms": ["SE"] }), "{answer}");

    let us = std::fs::read_to_string(w.folder.0.join("routes/us.toml")).expect("a route");
    w.folder
        .write("routes/us.toml", &format!("{us}enabled = false\n"));
    let answer = reloaded(&w).await;
    let lost = &answer["countries_without_sender"];
    assert_eq!(*lost, json!({ "sms": ["US"] }), "{answer}");
    let off = ["us.toml", "every line is switched off"];
    assert!(warns(&answer, &off), "{answer}");
    assert!(checked(&w.folder).contains(off[1]));

    prompts(&w.folder, &["en-US", "sv-SE"]);
    w.folder.write("carriers/fabrikam.toml", TRUNK);
    w.folder
        .write("routes/senders.toml", &format!("{senders}{CALLER}"));
    w.folder
        .write("routes/us.toml", &format!("{us}enabled = false\n{CALLS}"));
    assert_eq!(reloaded(&w).await["languages_gone"], json!([]));
    assert!(checked(&w.folder).contains("calls are spoken in en-US, sv-SE"));
    std::fs::remove_dir_all(w.folder.0.join("prompts/sv-SE")).expect("removed");
    assert_eq!(reloaded(&w).await["languages_gone"], json!(["sv-SE"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_away_is_in_the_log_once() {
    let (folder, _smsc) = one_carrier().await;
    prompts(&folder, &["en-US", "de-DE"]);
    folder.write("routes/default.toml", &format!("{DEFAULT}{CALLS}"));
    folder.write("routes/senders.toml", &format!("{SENDERS}{CALLER}"));
    folder.write("carriers/fabrikam.toml", TRUNK);
    let p = Process::start(&folder, &[]).await;
    let senders = SENDERS.replace("\"SE\"", "\"NO\"");
    folder.write("routes/senders.toml", &format!("{senders}{CALLER}"));
    std::fs::remove_dir_all(folder.0.join("prompts/de-DE")).expect("removed");
    let (country, language) = (
        ["WARN", "no sender is left", "\"SE\""],
        ["WARN", "recordings of this language are gone", "de-DE"],
    );
    until("told", async || {
        p.said(&country) == 1 && p.said(&language) == 1
    })
    .await;
    // Whatever else changes, it is not told again; nor is what the files have said all along.
    folder.write("routes/us.toml", &US.replace("70", "10"));
    until("taken", async || p.said(&["sms[0].weight"]) == 1).await;
    until("told to the end", async || {
        p.said(&["\"message\":\"reloaded\""]) >= 2
    })
    .await;
    assert_eq!((p.said(&country), p.said(&language)), (1, 1));
    let job = text("w-1", "+46701740605").to_string();
    let taken = ask("POST", p.http, "/v1/challenges", &job).await;
    assert_eq!(taken.status, 202, "{}", taken.text());
    let state = async || {
        let state = ask("GET", p.admin, "/admin/challenges/w-1", "").await;
        state.json()
    };
    until("ended", async || state().await["state"] == "ended").await;
    let state = state().await;
    assert_eq!(state["reason"], "carriers_exhausted", "{state}");
    let left_out = json!(["northwind Ringback: not_leased_here"]);
    assert_eq!(state["left_out"], left_out, "{state}");
}
