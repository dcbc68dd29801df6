//! Another configuration while calls talk: what stays, what is handed over, what a refusal leaves as it was.

use std::{
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use ringback::{
    challenge::Method,
    config::{ReloadOutcome, Reloader},
    dispatch::{CarrierView, Query},
};
use tokio::sync::oneshot;

use crate::world::{Folder, LIMIT, Plan, World, challenge, prompts};

/// Far shorter than a call of somebody who presses nothing.
const AT_ONCE: Duration = Duration::from_secs(2);
/// Answers, and presses no key.
const LISTENS: &str = "+12025559024";

/// Reads the files and lets them take over, as a reload does.
async fn reload(w: &mut World) -> Result<(), String> {
    let mut reloader = Reloader::new(w.gateway.config());
    let new = match reloader.read(true) {
        ReloadOutcome::New(new) => new,
        other => panic!("nothing new: {other:?}"),
    };
    let begun = Instant::now();
    let ready = w.gateway.prepare(new.config).await;
    let ready = ready.map_err(|error| error.to_string())?;
    w.gateway.commit(ready).await;
    assert!(begun.elapsed() < AT_ONCE, "took {:?}", begun.elapsed());
    Ok(())
}

async fn answered(w: &World, id: &str) {
    let found = |heard: &[serde_json::Value]| {
        let answered = heard.iter().find(|r| r["event"] == "answered");
        answered.cloned()
    };
    w.caller.until(id, found).await;
}

fn file(w: &World, name: &str) -> String {
    std::fs::read_to_string(w.folder.0.join(name)).expect("a file")
}

/// An address that nobody has, and that the system gives to nobody meanwhile: below the ports that it takes by itself,
/// each process of the tests from another one on.
fn free() -> SocketAddr {
    let first = 20_000 + (std::process::id() % 800) as u16 * 10;
    let mut all = (first..30_000).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    all.find(|address| UdpSocket::bind(address).is_ok())
        .expect("a free port")
}

/// The trunk has this address.
async fn fixed(bind: SocketAddr) -> World {
    let mut w = World::with(Plan::default()).await;
    let text = file(&w, "carriers/fabrikam.toml").replace("127.0.0.1:0", &bind.to_string());
    w.folder.write("carriers/fabrikam.toml", &text);
    reload(&mut w).await.expect("the trunk has moved");
    w
}

async fn carrier(w: &World, name: &str) -> CarrierView {
    let (to, answer) = oneshot::channel();
    let asked = w.gateway.queries.send(Query::Carriers(to)).await;
    asked.expect("dispatch runs");
    let all = answer.await.expect("an answer");
    let found = all.into_iter().find(|view| &*view.name == name);
    found.expect("the carrier")
}

/// One is talking: whether it says so at the end, and not that it was cut.
async fn heard_to_the_end(w: &World, id: &str) {
    let last = w.caller.last(id).await;
    assert_eq!(last["reason"], "no_keypress", "{last:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_talks_on_while_its_trunk_gets_another_pace() {
    let mut w = fixed(free()).await;
    w.send(challenge("p-1", LISTENS, Method::VoiceConfirm))
        .await;
    answered(&w, "p-1").await;
    let text = file(&w, "carriers/fabrikam.toml");
    w.folder.write(
        "carriers/fabrikam.toml",
        &format!("pace = \"50/s\"\nmax_calls = 9\n{text}"),
    );
    reload(&mut w).await.expect("reloaded");
    let view = carrier(&w, "fabrikam").await;
    assert_eq!((view.pace, view.in_flight), (Some(50.0), 1), "{view:?}");
    // The next one is called at once, beside the one that talks.
    let begun = Instant::now();
    w.send(challenge("p-2", "+12025550123", Method::VoiceConfirm))
        .await;
    answered(&w, "p-2").await;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    assert!(w.caller.of("p-1").iter().all(|r| r["final"] != true));
    assert_eq!(w.caller.last("p-2").await["event"], "confirmed");
    heard_to_the_end(&w, "p-1").await;
    assert_eq!(carrier(&w, "fabrikam").await.slots, 9);
    w.no_protocol_errors();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_are_published_no_more_are_left_out_from_the_next_challenge_on() {
    let amqp = "[jobs.amqp]\nurl = \"amqp://127.0.0.1:9\"\n";
    let mut w = World::with(Plan {
        settings: amqp.to_owned(),
        ..Plan::default()
    })
    .await;
    let settings = file(&w, "ringback.toml");
    let all = ["accepted", "sent", "delivered"];
    for (id, events, told) in [
        ("v-1", "\"all\"", &all[..]),
        ("v-2", "[\"sent\"]", &all[1..]),
        ("v-3", "[]", &all[2..]),
        ("v-4", "[\"accepted\", \"sent\"]", &all[..]),
    ] {
        if id != "v-1" {
            w.folder
                .write("ringback.toml", &format!("{settings}events = {events}\n"));
            reload(&mut w).await.expect("reloaded");
        }
        let last = w.ask(challenge(id, "+12025550123", Method::SmsCode)).await;
        assert_eq!(last["event"], "delivered", "{last:#}");
        assert_eq!(w.caller.events(id), told, "{events}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_set_leaves_every_carrier_as_it_is() {
    let mut w = World::with(Plan::default()).await;
    w.send(challenge("q-1", LISTENS, Method::VoiceConfirm))
        .await;
    answered(&w, "q-1").await;
    let before = (
        carrier(&w, "fabrikam").await.slots,
        carrier(&w, "northwind").await.slots,
    );
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = taken.local_addr().expect("an address").to_string();
    let (sip, smpp) = (
        file(&w, "carriers/fabrikam.toml"),
        file(&w, "carriers/northwind.toml"),
    );
    w.folder.write(
        "carriers/fabrikam.toml",
        &sip.replace("127.0.0.1:0", &address),
    );
    w.folder.write(
        "carriers/northwind.toml",
        &smpp.replace("binds = 2", "binds = 3"),
    );
    let why = reload(&mut w).await.expect_err("the port is taken");
    assert!(why.contains("fabrikam") && why.contains(&address), "{why}");
    let after = (
        carrier(&w, "fabrikam").await.slots,
        carrier(&w, "northwind").await.slots,
    );
    assert_eq!(before, after);
    let text = w
        .ask(challenge("q-2", "+12025550124", Method::SmsCode))
        .await;
    assert_eq!(text["event"], "delivered", "{text:#}");
    let call = w
        .ask(challenge("q-3", "+12025550123", Method::VoiceConfirm))
        .await;
    assert_eq!(call["event"], "confirmed", "{call:#}");
    heard_to_the_end(&w, "q-1").await;
    // As it was: that is what is in force.
    w.folder.write("carriers/fabrikam.toml", &sip);
    w.folder.write("carriers/northwind.toml", &smpp);
    let mut reloader = Reloader::new(w.gateway.config());
    let read = reloader.read(false);
    assert!(matches!(read, ReloadOutcome::Unchanged { .. }), "{read:?}");
    // And when the port is free, the same set is taken.
    w.folder.write(
        "carriers/fabrikam.toml",
        &sip.replace("127.0.0.1:0", &address),
    );
    drop(taken);
    reload(&mut w).await.expect("the port is free");
    let call = w
        .ask(challenge("q-4", "+12025550125", Method::VoiceConfirm))
        .await;
    assert_eq!(call["event"], "confirmed", "{call:#}");
    w.no_protocol_errors();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_taken_out_and_put_back_during_a_call_has_its_address_again() {
    let mut w = fixed(free()).await;
    w.send(challenge("b-1", LISTENS, Method::VoiceConfirm))
        .await;
    answered(&w, "b-1").await;
    let us = file(&w, "routes/us.toml");
    let (texts, _) = us.split_once("[[voice]]").expect("calls");
    w.folder.write("routes/us.toml", texts);
    reload(&mut w).await.expect("without the trunk");
    let none = w
        .ask(challenge("b-2", "+12025550123", Method::VoiceConfirm))
        .await;
    assert_eq!(none["reason"], "no_route", "{none:#}");
    assert!(w.caller.of("b-1").iter().all(|r| r["final"] != true));
    w.folder.write("routes/us.toml", &us);
    reload(&mut w).await.expect("with the trunk again");
    let back = w
        .ask(challenge("b-3", "+12025550124", Method::VoiceConfirm))
        .await;
    assert_eq!(back["event"], "confirmed", "{back:#}");
    heard_to_the_end(&w, "b-1").await;
    // Taken out for good it lets go once the last call is over.
    w.folder.write("routes/us.toml", texts);
    reload(&mut w).await.expect("without the trunk");
    w.no_protocol_errors();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trunk_with_another_name_keeps_its_address_and_its_calls() {
    let bind = free();
    let mut w = fixed(bind).await;
    w.send(challenge("n-1", LISTENS, Method::VoiceConfirm))
        .await;
    answered(&w, "n-1").await;
    let text = file(&w, "carriers/fabrikam.toml");
    w.folder.write("carriers/contoso.toml", &text);
    std::fs::remove_file(w.folder.0.join("carriers/fabrikam.toml")).expect("removed");
    let us = file(&w, "routes/us.toml").replace("fabrikam", "contoso");
    w.folder.write("routes/us.toml", &us);
    reload(&mut w).await.expect("renamed");
    let next = w
        .ask(challenge("n-2", "+12025550123", Method::VoiceConfirm))
        .await;
    assert_eq!(
        (&next["event"], &next["carrier"]),
        (&"confirmed".into(), &"contoso".into()),
        "{next:#}"
    );
    // Another address for the same name: the calls of the old one end there.
    let another = "+12025549024";
    w.send(challenge("n-3", another, Method::VoiceConfirm))
        .await;
    answered(&w, "n-3").await;
    let moved = text.replace(&bind.to_string(), &free().to_string());
    w.folder.write("carriers/contoso.toml", &moved);
    reload(&mut w).await.expect("moved");
    let next = w
        .ask(challenge("n-4", "+12025550124", Method::VoiceConfirm))
        .await;
    assert_eq!(next["event"], "confirmed", "{next:#}");
    heard_to_the_end(&w, "n-1").await;
    assert_eq!(w.caller.last("n-1").await["carrier"], "fabrikam");
    heard_to_the_end(&w, "n-3").await;
    w.no_protocol_errors();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_recordings_are_spoken_without_a_restart() {
    let own = Folder::new();
    let folder = own.0.join("prompts");
    let (from, to) = (prompts().join("en-US"), folder.join("en-US"));
    std::fs::create_dir_all(&to).expect("a folder");
    for clip in std::fs::read_dir(&from).expect("recordings") {
        let clip = clip.expect("a clip").path();
        std::fs::copy(&clip, to.join(clip.file_name().expect("a name"))).expect("copied");
    }
    let plan = Plan {
        ear: true,
        prompts: folder,
        ..Plan::default()
    };
    let mut w = World::with(plan).await;
    let spoken = async |w: &World, id: &str, number: &str| {
        let last = w.ask(challenge(id, number, Method::VoiceConfirm)).await;
        assert_eq!(last["event"], "confirmed", "{last:#}");
        // The call is written down when it is over: after its goodbye.
        let of_it = |line: &simulators::record::Line| {
            let call = line.entry.call();
            call.is_some_and(|call| call.to.ends_with(&number[1..]))
        };
        let line = w.record.wait_for(LIMIT, of_it).await.expect("a call");
        let call = line.entry.call().cloned().expect("a call");
        let heard: Vec<String> = call.heard.iter().map(|h| h.clip.clone()).collect();
        heard
    };
    let before = spoken(&w, "v-1", "+12025550123").await;
    assert!(before.contains(&"greeting".to_owned()), "{before:?}");
    // One that is missing is a reason to refuse, and what is spoken stays.
    std::fs::remove_file(to.join("greeting.wav")).expect("removed");
    let why = reload(&mut w).await.expect_err("a recording is missing");
    assert!(why.contains("greeting"), "{why}");
    assert_eq!(spoken(&w, "v-2", "+12025550124").await, before);
    std::fs::copy(from.join("approved.wav"), to.join("greeting.wav")).expect("copied");
    reload(&mut w).await.expect("other recordings");
    let after = spoken(&w, "v-3", "+12025550125").await;
    assert!(!after.contains(&"greeting".to_owned()), "{after:?}");
}
