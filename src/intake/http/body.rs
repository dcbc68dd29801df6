//! A request's body: bounded in size and in time.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    http::{StatusCode, header},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::fault;
use crate::intake::job::BODY;

/// The whole body must be there in this time.
const BODY_TIME: Duration = Duration::from_secs(10);
/// So much of a body that is too long is read and dropped: a client that is still writing would not see the answer.
const DROPPED: usize = 1024 * 1024;

/// The body, or the answer that refuses it.
pub(super) async fn read(request: Request) -> Result<Bytes, Box<Response>> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|v| v.to_str().ok()?.parse().ok());
    if length.is_some_and(|length| length > (BODY + DROPPED) as u64) {
        return Err(too_long());
    }
    match tokio::time::timeout(BODY_TIME, collect(request.into_body())).await {
        Ok(read) => read,
        Err(_) => Err(Box::new(fault(
            StatusCode::REQUEST_TIMEOUT,
            "body",
            "came too slowly",
        ))),
    }
}

async fn collect(mut body: Body) -> Result<Bytes, Box<Response>> {
    let mut whole = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            let refusal = fault(
                StatusCode::BAD_REQUEST,
                "body",
                "was cut off or is malformed",
            );
            return Err(Box::new(refusal));
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length += data.len();
        if length <= BODY {
            whole.extend_from_slice(&data);
        } else if length > BODY + DROPPED {
            return Err(too_long());
        }
    }
    match length {
        0..=BODY => Ok(whole.freeze()),
        _ => Err(too_long()),
    }
}

fn too_long() -> Box<Response> {
    Box::new(fault(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body",
        "longer than 64 KiB",
    ))
}
