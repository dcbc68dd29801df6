//! By HTTP: POST, then the reports as server-sent events; a stream that is cut is taken up where it was.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::StatusCode;
use serde_json::{Map, Value};

use super::{SendArgs, SendError, Teller};
use crate::cli::client::{Gateway, MOST, escaped, faults, whole};

/// How often a cut stream is taken up again, and after what pause.
const AGAIN: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn send(
    args: &SendArgs,
    job: &Map<String, Value>,
    teller: &mut Teller,
) -> Result<(), SendError> {
    let gateway = Gateway::at(&args.http, args.token.as_deref())?;
    let body = Value::Object(job.clone()).to_string();
    let answer = gateway.ask("POST", "/v1/challenges", &[], body).await?;
    let status = answer.status();
    let said = whole(answer).await;
    match status {
        StatusCode::ACCEPTED => {
            teller.taken(said["id"].as_str().unwrap_or(""), said["code"].as_str());
        }
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST => return Err(SendError::Usage(faults(&said["errors"]))),
        status => {
            let reason = faults(&said["errors"]);
            return Err(SendError::Failed(format!("{status}: {reason}")));
        }
    }
    let id = job["id"].as_str().unwrap_or("");
    let tenant = args.tenant.as_deref().unwrap_or("default");
    let path = format!(
        "/v1/challenges/{}/reports?tenant={}",
        escaped(id),
        escaped(tenant)
    );
    for _ in 0..AGAIN {
        if follow(&gateway, &path, teller).await? {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
    Err(SendError::Failed(
        "the reports broke off before the final one".to_owned(),
    ))
}

/// True after the final; false where the stream was cut before.
async fn follow(gateway: &Gateway, path: &str, teller: &mut Teller) -> Result<bool, SendError> {
    let after = teller.last_seq.to_string();
    let headers = [("Accept", "text/event-stream"), ("Last-Event-ID", &*after)];
    let mut answer = gateway.ask("GET", path, &headers, String::new()).await?;
    if answer.status() != StatusCode::OK {
        let status = answer.status();
        let reason = faults(&whole(answer).await["errors"]);
        return Err(SendError::Failed(format!("{status}: {reason}")));
    }
    let mut lines = Vec::new();
    while let Some(Ok(frame)) = answer.frame().await {
        let Ok(data) = frame.into_data() else {
            continue;
        };
        lines.extend_from_slice(&data);
        while let Some(end) = lines.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = lines.drain(..=end).collect();
            // Every report is one line of data; id and event stand in it, too.
            if let Some(body) = line.strip_prefix(b"data:")
                && teller.report(body.trim_ascii())
            {
                return Ok(true);
            }
        }
        if lines.len() > MOST {
            return Err(SendError::Failed(
                "an event without an end; is this a gateway?".to_owned(),
            ));
        }
    }
    Ok(false)
}
