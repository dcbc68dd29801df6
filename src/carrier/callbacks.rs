//! The way in for HTTP carriers: `POST /callbacks/{carrier}`, for the `[callbacks]` listener.
//!
//! It finds the carrier's [`CallbackHandle`] and lets it decide. The table is swapped as a whole when carriers are
//! reloaded. Answers are bare status codes: a stranger learns nothing.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
    routing::post,
};
use http_body_util::{BodyExt, Limited};

use super::http::{CallbackHandle, MAX_CALLBACK};
use crate::clock;

/// Carriers by name.
pub type Table = Arc<ArcSwap<HashMap<Arc<str>, CallbackHandle>>>;

/// The routes, over a table that may change while they serve.
pub fn router(table: Table) -> Router {
    Router::new()
        .route("/callbacks/{carrier}", post(receive))
        .with_state(table)
}

async fn receive(
    State(table): State<Table>,
    Path(carrier): Path<String>,
    request: Request,
) -> StatusCode {
    let Some(handle) = table.load().get(carrier.as_str()).cloned() else {
        return StatusCode::NOT_FOUND;
    };
    let (head, body) = request.into_parts();
    let body = match whole(body).await {
        Ok(body) => body,
        Err(status) => return status,
    };
    // The sender dated its signature by its wall clock.
    let answer = handle.receive(&head.headers, &body, clock::wall()).await;
    StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn whole(body: Body) -> Result<bytes::Bytes, StatusCode> {
    match Limited::new(body, MAX_CALLBACK).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(StatusCode::PAYLOAD_TOO_LARGE)
        }
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}
