//! What an HTTP carrier's callbacks bring: whose it is, and what `kill -9` leaves of it.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    doors::signed,
    process::Process,
    reload,
    world::{Folder, SENDERS, ask, ask_with, free_port, http_file, until},
};

/// An HTTP carrier that answers each text with the next of these ids. Those beyond them it never answers.
#[derive(Clone)]
struct Far {
    at: SocketAddr,
    asked: Arc<Mutex<usize>>,
}

impl Far {
    async fn start(ids: &'static [&'static str]) -> Far {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let far = Far {
            at: listener.local_addr().expect("an address"),
            asked: Arc::default(),
        };
        let all = far.clone();
        tokio::spawn(async move {
            while let Ok((peer, _)) = listener.accept().await {
                tokio::spawn(all.clone().serve(peer, ids));
            }
        });
        far
    }

    async fn serve(self, mut peer: TcpStream, ids: &[&str]) -> std::io::Result<()> {
        let (mut whole, mut octets) = (Vec::new(), [0; 4_096]);
        loop {
            match peer.read(&mut octets).await? {
                0 => return Ok(()),
                n => whole.extend_from_slice(&octets[..n]),
            }
            // The body ends with the reference.
            if !whole.ends_with(b"\"}") {
                continue;
            }
            whole.clear();
            let n = {
                let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
                *asked += 1;
                *asked - 1
            };
            let Some(id) = ids.get(n) else { continue };
            let body = json!({ "id": id }).to_string();
            let head = format!(
                "HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            peer.write_all(format!("{head}{body}").as_bytes()).await?;
        }
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `tailspin` for SE. Its callbacks name the phone.
    fn folder(&self) -> Places {
        let folder = Folder::new();
        let [callbacks, http, admin] = [(); 3].map(|()| free_port());
        folder.write("callback.key", "the callback key");
        let carrier = format!("{}to = \"/to\"\n", http_file(self.at));
        folder.write("carriers/tailspin.toml", &carrier);
        folder.write("routes/senders.toml", SENDERS);
        let route = "[[sms]]\ncarrier = \"tailspin\"\nsenders = [\"Ringback\"]\n";
        folder.write("routes/se.toml", route);
        let settings = format!(
            "[callbacks]\nlisten = \"{callbacks}\"\n[http]\nlisten = \"{http}\"\n[admin]\nlisten = \"{admin}\"\n\
             [log]\nformat = \"json\"\n"
        );
        folder.write("ringback.toml", &settings);
        Places {
            folder,
            callbacks,
            http,
            admin,
        }
    }
}

struct Places {
    folder: Folder,
    callbacks: SocketAddr,
    http: SocketAddr,
    admin: SocketAddr,
}

impl Places {
    async fn run(&self) -> Process {
        let process = Process::start(&self.folder, None);
        process.ready(self.http, self.admin).await;
        process
    }

    async fn text(&self, id: &str, to: &str) {
        let job = json!({ "v": 1, "id": id, "to": to, "method": "sms_code" });
        let taken = ask("POST", self.http, "/v1/challenges", &job.to_string()).await;
        assert_eq!(taken.status, 202, "{}", taken.text());
    }

    async fn bring(&self, receipt: Value) -> u16 {
        let body = receipt.to_string();
        let headers = [("X-Ringback-Signature", &*signed("the callback key", &body))];
        let path = "/callbacks/tailspin";
        let answer = ask_with("POST", self.callbacks, path, &body, &headers).await;
        answer.status
    }

    async fn last(&self, id: &str) -> String {
        let path = format!("/v1/challenges/{id}/reports");
        let events = ask("GET", self.http, &path, "").await.events();
        events.last().expect("a final").1.clone()
    }

    async fn is_sent(&self, id: &str) -> bool {
        let path = format!("/v1/challenges/{id}");
        ask("GET", self.http, &path, "").await.json()["event"] == "sent"
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_overtook_its_answer_and_was_answered_survives_kill_9() {
    let far = Far::start(&[]).await;
    let places = far.folder();
    let mut gateway = places.run().await;
    places.text("k-1", "+46701740605").await;
    until("the carrier is asked", async || far.asked() == 1).await;
    let receipt = json!({ "id": "E1", "status": "delivered", "to": "+46701740605" });
    assert_eq!(places.bring(receipt).await, 200);
    gateway.0.kill().expect("killed");
    gateway.0.wait().expect("gone");
    let _next = places.run().await;
    assert_eq!(places.last("k-1").await, "delivered");
    assert_eq!(far.asked(), 1, "no second text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_find_their_text_in_another_base_or_case() {
    let far = Far::start(&["4660", "00AB17", "  x-7\r\n", "9001"]).await;
    let places = far.folder();
    let _gateway = places.run().await;
    for (n, id) in ["1234", "00ab17", "x-7", "9001"].into_iter().enumerate() {
        let (name, to) = (format!("b-{n}"), format!("+4670174060{n}"));
        places.text(&name, &to).await;
        until("sent", async || places.is_sent(&name).await).await;
        // In another form it is believed with the phone alone: first another's, then none at all.
        if n == 0 {
            for to in ["+46701740699", ""] {
                let foreign = json!({ "id": id, "status": "failed", "to": to });
                assert_eq!(places.bring(foreign).await, 200);
            }
        }
        let receipt = json!({ "id": id, "status": "delivered", "to": to });
        assert_eq!(places.bring(receipt).await, 200);
        assert_eq!(places.last(&name).await, "delivered", "{id}");
    }
    assert_eq!(far.asked(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_that_are_turned_away_are_a_line_for_each_reason() {
    let places = Far::start(&[]).await.folder();
    let gateway = reload::Process::start(&places.folder, &[]).await;
    let forged = signed("another key", "{}");
    let path = "/callbacks/tailspin";
    // The carrier's own signature, over a body that is no JSON and says so.
    let form = "status=delivered";
    let of_a_form = [
        ("X-Ringback-Signature", &*signed("the callback key", form)),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    for _ in 0..3 {
        for headers in [&[][..], &[("X-Ringback-Signature", &*forged)]] {
            let answer = ask_with("POST", places.callbacks, path, "{}", headers).await;
            assert_eq!(answer.status, 401);
        }
        let answer = ask_with("POST", places.callbacks, path, form, &of_a_form).await;
        assert_eq!(answer.status, 415);
    }
    let metrics = ask("GET", places.admin, "/metrics", "").await.text();
    for reason in ["signature_missing", "signature_wrong", "content_type"] {
        let line = ["WARN", "callbacks were not taken", "tailspin", reason];
        until("said", async || gateway.said(&line) > 0).await;
        assert_eq!(gateway.said(&line), 1, "{:#?}", gateway.lines());
        let labels = format!("{{carrier=\"tailspin\",reason=\"{reason}\"}} 3");
        let counted = format!("ringback_callbacks_refused_total{labels}");
        assert!(metrics.lines().any(|l| l == counted), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nothing_decides_is_believed_of_nobody_and_counted() {
    let far = Far::start(&["9001", "9001"]).await;
    let places = far.folder();
    let _gateway = places.run().await;
    let texts = [("d-0", "+46701740600"), ("d-1", "+46701740601")];
    for (id, to) in texts {
        places.text(id, to).await;
        until("sent", async || places.is_sent(id).await).await;
    }
    let nameless = json!({ "id": "9001", "status": "delivered" });
    assert_eq!(places.bring(nameless).await, 200);
    let metrics = ask("GET", places.admin, "/metrics", "").await.text();
    let line = "ringback_receipts_ambiguous_total{carrier=\"tailspin\"} 1";
    assert!(metrics.lines().any(|l| l == line), "{metrics}");
    for (id, to) in texts {
        assert!(places.is_sent(id).await, "{id}");
        let receipt = json!({ "id": "9001", "status": "delivered", "to": to });
        assert_eq!(places.bring(receipt).await, 200);
        assert_eq!(places.last(id).await, "delivered");
    }
}
