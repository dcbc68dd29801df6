//! Over real sockets: who is let in, who waits, and who is turned away at once.

use std::{net::SocketAddr, time::Duration};

use axum::routing::{get, post};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::{super::listen::Bound, *};

struct Served {
    at: SocketAddr,
    _stop: tokio_util::sync::DropGuard,
}

/// A listener as the gateway has them: with this token (the name of a variable that is there), these names.
async fn served(section: &'static str, token: Option<&str>, hosts: &[&str]) -> Served {
    let bound = Bound::take(section, SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let listener = Listener {
        listen: bound.address,
        token: token.map(|name| Secret::Env(name.into())),
        hosts: hosts.iter().map(|host| Arc::from(*host)).collect(),
    };
    let router = Router::new()
        .route("/", get(|| async { "in\n" }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/admin/reload", post(|| async { "done\n" }));
    let (at, stop) = (bound.address, CancellationToken::new());
    let guard = Guard::new(section, &listener).unwrap();
    bound.serve(guard.before(router), stop.clone());
    Served {
        at,
        _stop: stop.drop_guard(),
    }
}

impl Served {
    /// The status and the body.
    async fn raw(&self, head: &str) -> (u16, String) {
        let mut peer = TcpStream::connect(self.at).await.unwrap();
        let request = format!("{head}\r\nConnection: close\r\n\r\n");
        peer.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        peer.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    async fn status(&self, head: &str) -> u16 {
        self.raw(head).await.0
    }
}

#[test]
fn a_token_is_read_from_bearer_and_from_basic() {
    let token = |value: &str| given_token(&HeaderValue::from_str(value).unwrap());
    assert_eq!(token("Bearer s3cret"), Some(b"s3cret".to_vec()));
    assert_eq!(token("bearer   s3cret"), Some(b"s3cret".to_vec()));
    let basic = format!("Basic {}", STANDARD.encode("operator:s3:cret"));
    assert_eq!(token(&basic), Some(b"s3:cret".to_vec()));
    for odd in ["", "Bearer", "Basic ???", "Digest x", "Basic bm9jb2xvbg=="] {
        assert_eq!(token(odd), None, "{odd}");
    }
}

#[tokio::test]
async fn without_a_token_only_names_of_its_own_are_taken() {
    let served = served("admin", None, &["gateway.internal"]).await;
    for good in [
        "GET / HTTP/1.1\r\nHost: localhost:8082",
        "GET / HTTP/1.1\r\nHost: 127.0.0.1",
        "GET / HTTP/1.1\r\nHost: [::1]:8082",
        "GET / HTTP/1.1\r\nHost: Gateway.Internal:8082",
        "GET http://localhost/ HTTP/1.1\r\nHost: localhost",
        "GET / HTTP/1.0\r\nX: y",
    ] {
        assert_eq!(served.raw(good).await, (200, "in\n".to_owned()), "{good}");
    }
    for (foreign, status) in [
        ("GET / HTTP/1.1\r\nHost: evil.example", 421),
        ("GET / HTTP/1.1\r\nHost: evil.example:8082", 421),
        ("GET /healthz HTTP/1.1\r\nHost: evil.example", 421),
        ("GET /nowhere HTTP/1.1\r\nHost: localhost.evil.example", 421),
        ("GET http://evil.example/ HTTP/1.1\r\nHost: localhost", 421),
        ("GET / HTTP/1.0\r\nHost: evil.example", 421),
        ("GET / HTTP/1.1\r\nX: y", 400),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: localhost@evil.example", 400),
    ] {
        let (found, body) = served.raw(foreign).await;
        assert_eq!(found, status, "{foreign}: {body}");
        assert!(!body.contains("in\n") && !body.contains("ok\n"), "{body}");
    }
    let (_, body) = served.raw("GET / HTTP/1.1\r\nHost: evil.example").await;
    assert!(body.contains("[admin] hosts"), "says what to do: {body}");
}

#[tokio::test]
async fn pages_of_other_sites_may_not_act() {
    let served = served("http", None, &[]).await;
    let post = "POST /admin/reload HTTP/1.1\r\nHost: 127.0.0.1:8082\r\nContent-Length: 0";
    assert_eq!(served.status(post).await, 200);
    for (more, status) in [
        ("Origin: http://127.0.0.1:8082", 200),
        ("Content-Type: application/x-www-form-urlencoded", 200),
        ("Origin: https://evil.example", 403),
        ("Origin: null", 403),
        ("Sec-Fetch-Site: cross-site", 403),
        ("Sec-Fetch-Site: same-site", 403),
        ("Content-Type: text/plain", 415),
        ("Content-Type: multipart/form-data; boundary=x", 415),
    ] {
        let head = format!("{post}\r\n{more}");
        assert_eq!(served.status(&head).await, status, "{more}");
    }
    let get = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8082\r\nSec-Fetch-Site: cross-site";
    let followed = format!("{get}\r\nSec-Fetch-Mode: navigate");
    assert_eq!(served.status(&followed).await, 200, "a link to the page");
    let loaded = format!("{get}\r\nSec-Fetch-Mode: no-cors");
    assert_eq!(served.status(&loaded).await, 403);
}

#[tokio::test]
async fn wrong_tokens_wait_and_a_right_one_never_does() {
    // Any variable that surely is there will do for a token.
    let token = std::env::var("PATH").unwrap();
    let served = served("admin", Some("PATH"), &[]).await;
    let with = |token: &str| format!("GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}");
    let began = Instant::now();
    for _ in 0..3 {
        assert_eq!(served.status(&with("wrong")).await, 401);
    }
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(700), "{waited:?}");
    // The next one waits for 800 ms: what is right is answered meanwhile.
    let wrong = async {
        assert_eq!(served.status(&with("wrong")).await, 401);
        Instant::now()
    };
    let right = async {
        for _ in 0..5 {
            assert_eq!(served.status(&with(&token)).await, 200);
        }
        Instant::now()
    };
    let (wrong, right) = tokio::join!(wrong, right);
    assert!(right < wrong);
    // No token is no guess: it is refused at once, and a client without one learns how to give it.
    for _ in 0..10 {
        assert_eq!(served.status("GET / HTTP/1.1\r\nHost: x").await, 401);
    }
}

#[tokio::test]
async fn health_asks_for_no_token_and_tells_nothing_else() {
    let served = served("admin", Some("PATH"), &[]).await;
    for head in [
        "GET /healthz HTTP/1.1\r\nHost: evil.example",
        "GET /healthz?x=1 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong",
    ] {
        assert_eq!(served.raw(head).await, (200, "ok\n".to_owned()), "{head}");
    }
    for head in [
        "POST /healthz HTTP/1.1\r\nHost: x",
        "GET /healthz/ HTTP/1.1\r\nHost: x",
        "GET //healthz HTTP/1.1\r\nHost: x",
        "GET /healthz/../ HTTP/1.1\r\nHost: x",
        "GET /%68ealthz HTTP/1.1\r\nHost: x",
    ] {
        assert_eq!(served.status(head).await, 401, "{head}");
    }
}

#[tokio::test]
async fn more_wrong_tokens_than_may_wait_are_refused_at_once() {
    let served = Arc::new(served("admin", Some("PATH"), &[]).await);
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..WAITING + 100 {
        let served = served.clone();
        asked.spawn(async move {
            let head = "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong";
            served.status(head).await
        });
    }
    let mut refused = 0;
    while refused < 20 {
        let status = asked.join_next().await.unwrap().unwrap();
        assert!([401, 429].contains(&status), "{status}");
        refused += usize::from(status == 429);
    }
}
