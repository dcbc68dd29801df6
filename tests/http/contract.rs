//! Real answers against the OpenAPI document that `ringback schema openapi` prints, and the listeners against its paths.

use std::{collections::BTreeMap, net::SocketAddr};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

use crate::world::{Answer, World, ask, ask_with, text};

/// The document, and what its schemas find wrong.
struct Contract {
    document: Value,
    compiler: Compiler,
    schemas: Schemas,
    known: BTreeMap<String, SchemaIndex>,
}

const AT: &str = "http://ringback.test/openapi.json";

impl Contract {
    fn new() -> Contract {
        let document = ringback::contract::openapi();
        let mut compiler = Compiler::new();
        compiler.enable_format_assertions();
        compiler
            .add_resource(AT, document.clone())
            .expect("a document");
        Contract {
            document,
            compiler,
            schemas: Schemas::new(),
            known: BTreeMap::new(),
        }
    }

    /// The value is as the schema at this place of the document says.
    #[track_caller]
    fn fits(&mut self, pointer: &str, value: &Value) {
        let schema = match self.known.get(pointer) {
            Some(schema) => *schema,
            None => {
                let at = format!("{AT}#{pointer}");
                let compiled = self.compiler.compile(&at, &mut self.schemas);
                compiled.unwrap_or_else(|e| panic!("{pointer}: {e:#}"))
            }
        };
        self.known.insert(pointer.to_owned(), schema);
        if let Err(e) = self.schemas.validate(value, schema) {
            panic!("{e:#}\nis wrong with\n{value:#}");
        }
    }

    /// The answer is one of those that the document knows.
    #[track_caller]
    fn answers(&mut self, verb: &str, path: &str, answer: &Answer) {
        let response = format!(
            "/paths/{}/{verb}/responses/{}",
            path.replace('/', "~1"),
            answer.status
        );
        let told = self.document.pointer(&response);
        let told = told.unwrap_or_else(|| panic!("{response}: {}", answer.text()));
        let media = told["content"].as_object().and_then(|c| c.keys().next());
        let Some(media) = media.cloned() else {
            assert!(answer.body.is_empty(), "{response}: {}", answer.text());
            return;
        };
        assert_eq!(answer.head["content-type"], media.as_str(), "{response}");
        match media.as_str() {
            "application/json" => {
                let schema = format!("{response}/content/application~1json/schema");
                self.fits(&schema, &answer.json());
            }
            "text/event-stream" => {
                for (_, _, report) in answer.events() {
                    self.fits(&format!("{response}/x-event-data"), &report);
                }
            }
            _ => assert!(!answer.body.is_empty(), "{response}"),
        }
    }
}

fn listener(w: &World, tag: &str) -> SocketAddr {
    match tag {
        "http" => w.running.http,
        "callbacks" => w.running.callbacks,
        _ => w.running.admin,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_by_http_is_what_the_document_says() {
    let (w, mut contract) = (World::new("").await, Contract::new());
    let jobs = "/v1/challenges";
    let one = "/v1/challenges/{id}";
    contract.fits(
        "/components/schemas/Challenge",
        &text("a-1", "+12025550123"),
    );
    for (job, status) in [
        (text("a-1", "+12025550123"), 202),
        (text("a-2", "911"), 202),
        (text("a-1", "+12025550124"), 409),
        (json!({ "colour": "blue" }), 400),
        (Value::from("x".repeat(70_000)), 413),
    ] {
        let answer = w.post(&job).await;
        assert_eq!(answer.status, status, "{}", answer.text());
        contract.answers("post", jobs, &answer);
    }
    for id in ["a-1", "a-2"] {
        let path = format!("{jobs}/{id}/reports");
        let reports = ask("GET", w.running.http, &path, "").await;
        assert!(
            reports
                .events()
                .last()
                .is_some_and(|(_, _, r)| r["final"] == true)
        );
        contract.answers("get", "/v1/challenges/{id}/reports", &reports);
        let nothing = ask_with("GET", w.running.http, &path, "", &[("Last-Event-ID", "99")]).await;
        assert_eq!(nothing.status, 204);
        contract.answers("get", "/v1/challenges/{id}/reports", &nothing);
        let state = ask("GET", w.running.http, &format!("{jobs}/{id}"), "").await;
        assert_eq!(state.status, 200);
        contract.answers("get", one, &state);
    }
    contract.answers("post", jobs, &w.post(&text("a-1", "+12025550123")).await);
    let unknown = ask("GET", w.running.http, "/v1/challenges/b-1", "").await;
    assert_eq!(unknown.status, 404);
    contract.answers("get", one, &unknown);
    for id in ["a-1", "b-1"] {
        let path = format!("{jobs}/{id}");
        let cancelled = ask("DELETE", w.running.http, &path, "").await;
        assert_eq!(cancelled.status, 202);
        contract.answers("delete", one, &cancelled);
        for (body, status) in [("{\"verified\":true}", 202), ("{\"verified\":7}", 400)] {
            let answer = ask("POST", w.running.http, &format!("{path}/feedback"), body).await;
            assert_eq!(answer.status, status);
            contract.answers("post", "/v1/challenges/{id}/feedback", &answer);
        }
    }
    let foreign = [("host", "elsewhere.example")];
    let misdirected = ask_with("GET", w.running.http, "/v1/challenges/a-1", "", &foreign).await;
    assert_eq!(misdirected.status, 421);
    contract.answers("get", one, &misdirected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_operator_is_answered_is_what_the_document_says() {
    let (w, mut contract) = (World::new("").await, Contract::new());
    assert_eq!(w.post(&text("o-1", "+12025550123")).await.status, 202);
    assert_eq!(
        w.names("o-1").await.last().map(String::as_str),
        Some("delivered")
    );
    let json = [("content-type", "application/json")];
    let suspend = "/admin/carriers/tailspin/suspend";
    let why = "{\"reason\":\"maintenance\",\"for\":\"2h\"}";
    for (told, path, body, status) in [
        ("/admin/carriers/{name}/suspend", suspend, "{}", 400),
        ("/admin/carriers/{name}/suspend", suspend, why, 200),
        (
            "/admin/carriers/{name}/suspend",
            "/admin/carriers/nobody/suspend",
            why,
            404,
        ),
        (
            "/admin/carriers/{name}/resume",
            "/admin/carriers/northwind/resume",
            "",
            409,
        ),
        (
            "/admin/challenges/{id}/cancel",
            "/admin/challenges/o-1/cancel",
            "",
            409,
        ),
        (
            "/admin/challenges/{id}/cancel",
            "/admin/challenges/o-9/cancel",
            "",
            404,
        ),
        ("/admin/reload", "/admin/reload", "", 200),
    ] {
        let answer = ask_with("POST", w.running.admin, path, body, &json).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        contract.answers("post", told, &answer);
    }
    for (told, path, status) in [
        ("/", "/", 200),
        ("/metrics", "/metrics", 200),
        ("/healthz", "/healthz", 200),
        ("/readyz", "/readyz", 200),
        ("/admin/overview", "/admin/overview", 200),
        ("/admin/carriers", "/admin/carriers", 200),
        ("/admin/challenges", "/admin/challenges", 200),
        ("/admin/routes", "/admin/routes", 200),
        (
            "/admin/explain",
            "/admin/explain?number=%2B12025550123",
            200,
        ),
        ("/admin/explain", "/admin/explain?number=911", 200),
        ("/admin/explain", "/admin/explain", 400),
        ("/admin/overlay", "/admin/overlay", 200),
        ("/admin/challenges/{id}", "/admin/challenges/o-1", 200),
        ("/admin/challenges/{id}", "/admin/challenges/o-9", 404),
    ] {
        let answer = w.admin(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        contract.answers("get", told, &answer);
    }
    let resumed = ask_with(
        "POST",
        w.running.admin,
        "/admin/carriers/tailspin/resume",
        "",
        &json,
    )
    .await;
    contract.answers("post", "/admin/carriers/{name}/resume", &resumed);
    w.folder.write(
        "routes/us.toml",
        "[[sms]]\ncarrier = \"northwind\"\nsenders = [\"69829\"]\n",
    );
    let reloaded = ask("POST", w.running.admin, "/admin/reload", "").await;
    assert_eq!(reloaded.json()["reloaded"], true);
    contract.answers("post", "/admin/reload", &reloaded);
    w.folder
        .write("routes/us.toml", "[[sms]]\ncarrier = \"nobody\"\n");
    let refused = ask("POST", w.running.admin, "/admin/reload", "").await;
    assert_eq!(refused.status, 422);
    contract.answers("post", "/admin/reload", &refused);
}

/// Each path of the document is served by its listener, and by no other; what is not told is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_endpoint_of_the_document_is_served_where_it_says() {
    let (w, mut contract) = (World::new("").await, Contract::new());
    let document = contract.document.clone();
    for (path, verbs) in document["paths"].as_object().expect("paths") {
        let asked = path.replace('{', "").replace('}', "-x");
        for (verb, operation) in verbs
            .as_object()
            .expect("verbs")
            .iter()
            .filter(|(v, _)| *v != "servers")
        {
            let at = operation["tags"][0].as_str().expect("a tag");
            for tag in ["http", "callbacks", "admin"] {
                let answer = ask(&verb.to_uppercase(), listener(&w, tag), &asked, "").await;
                let text = answer.text();
                let missing = answer.status == 405
                    || (answer.status == 404
                        && (text.contains("nothing is here") || text.is_empty()));
                assert_eq!(
                    missing,
                    tag != at,
                    "{verb} {path} at {tag}: {} {text}",
                    answer.status
                );
                if !missing {
                    contract.answers(verb, path, &answer);
                }
            }
        }
        for verb in ["get", "post", "put", "patch", "delete"] {
            if verbs.get(verb).is_none() {
                let tag = verbs
                    .as_object()
                    .and_then(|v| v.values().find_map(|o| o["tags"][0].as_str()));
                let at = listener(&w, tag.expect("a tag"));
                let answer = ask(&verb.to_uppercase(), at, &asked, "").await;
                assert_eq!(answer.status, 405, "{verb} {path}: {}", answer.text());
            }
        }
    }
}
