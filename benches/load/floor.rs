//! Floors: the least that makes the same traffic. Each runs as a child of the benchmark, so that its CPU is its own.

use std::{collections::VecDeque, convert::Infallible, io::Write, time::Duration};

use futures_util::StreamExt;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Bytes, service::service_fn};
use hyper_util::rt::TokioIo;
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    types::FieldTable,
};
use tokio::sync::mpsc;

use super::Result;

/// Takes `count` jobs from a quorum queue; two persistent reports each to the asker, confirmed in a window; acks in
/// batches, once the reports are confirmed. As many AMQP messages as the gateway exchanges.
pub async fn amqp(url: &str, queue: &str, count: u64) -> Result<()> {
    let connect = || Connection::connect(url, ConnectionProperties::default());
    let (consuming, publishing) = (connect().await?, connect().await?);
    let (jobs, reports) = (
        consuming.create_channel().await?,
        publishing.create_channel().await?,
    );
    jobs.basic_qos(2_000, BasicQosOptions::default()).await?;
    reports
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut consumer = jobs
        .basic_consume(
            queue.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    ready()?;
    let (first, last) = (body(false, 480), body(true, 900));
    let (confirms, mut waiting) = mpsc::channel(2_000);
    let acker = tokio::spawn(async move {
        let (mut done, mut pending) = (0, None);
        while done < count {
            let next = match waiting.try_recv() {
                Ok(next) => Some(next),
                Err(_) => {
                    // Nothing more just now: what is confirmed is acked, then it waits.
                    ack(&jobs, &mut pending).await?;
                    waiting.recv().await
                }
            };
            let Some((tag, [one, two])): Option<(u64, [lapin::PublisherConfirm; 2])> = next else {
                break;
            };
            one.await?;
            two.await?;
            pending = Some(tag);
            done += 1;
            if done % ACK_BATCH == 0 {
                ack(&jobs, &mut pending).await?;
            }
        }
        ack(&jobs, &mut pending).await
    });
    for _ in 0..count {
        let Some(job) = consumer.next().await else {
            break;
        };
        let job = job?;
        let both = [
            reply(&reports, &job, &first).await?,
            reply(&reports, &job, &last).await?,
        ];
        confirms.send((job.delivery_tag, both)).await?;
    }
    drop(confirms);
    acker.await??;
    // Whoever measures reads the accounting of this process before it ends.
    tokio::time::sleep(Duration::from_secs(600)).await;
    Ok(())
}

async fn ack(jobs: &lapin::Channel, pending: &mut Option<u64>) -> Result<()> {
    if let Some(tag) = pending.take() {
        jobs.basic_ack(tag, BasicAckOptions { multiple: true })
            .await?;
    }
    Ok(())
}

async fn reply(
    reports: &lapin::Channel,
    job: &Delivery,
    body: &[u8],
) -> lapin::Result<lapin::PublisherConfirm> {
    let to = job.properties.reply_to().clone().unwrap_or_default();
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    reports
        .basic_publish("".into(), to, options, body, properties(job))
        .await
}

fn properties(job: &Delivery) -> BasicProperties {
    let properties = BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/json".into())
        .with_type("report".into());
    match job.properties.correlation_id().clone() {
        Some(id) => properties.with_correlation_id(id),
        None => properties,
    }
}

fn body(last: bool, size: usize) -> Vec<u8> {
    let mut body = format!(r#"{{"v":1,"seq":1,"final":{last},"event":""#).into_bytes();
    body.resize(size, b'.');
    body
}

/// Answers every POST with 202, having read it.
pub async fn http(address: &str) -> Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    ready()?;
    let mut served = VecDeque::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = service_fn(|request: Request<hyper::body::Incoming>| async {
            // A broken body is answered like a whole one.
            let length = request
                .into_body()
                .collect()
                .await
                .map_or(0, |b| b.to_bytes().len());
            let body = Bytes::from(format!(r#"{{"octets":{length}}}"#));
            let mut answer = Response::new(Full::new(body));
            *answer.status_mut() = hyper::StatusCode::ACCEPTED;
            Ok::<_, Infallible>(answer)
        });
        let io = TokioIo::new(stream);
        served.push_back(tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(io, answer),
        ));
    }
}

/// Tells the parent that the load may begin.
fn ready() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(b"ready\n")?;
    out.flush()
}

const ACK_BATCH: u64 = 100;
