//! What a challenge costs in the ledger: challenges a second, CPU of the writer, and how long a commit takes.
//!
//! `cargo bench --bench ledger [-- CHALLENGES [FOLDER]]`. A challenge is what a delivered text is: accepted with its
//! intent, gone on with a reference, two reports out and done, ended. First as fast as it goes, then at 500 a second
//! for the time an accept waits to be durable.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use ringback::{
    challenge::{AttemptKey, ChallengeKey, Millis},
    config::settings::{LedgerSettings, LedgerUrl, Limits, OnLoss, Settings},
    ledger::{
        Batch, DoneReceiver, Ledger, LimitCheck, NewChallenge, Op, OutboxReport, ReportKey, Target,
        Wipe,
    },
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = std::env::args().skip(1).filter(|a| a != "--bench");
    let count: i64 = words.next().map_or(Ok(100_000), |n| n.parse())?;
    let folder = words.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("ringback-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for round in 1..=3 {
        let path = folder.join(format!("{round}.db"));
        runtime.block_on(flat_out(&path, count))?;
    }
    runtime.block_on(paced(&folder.join("paced.db"), 500, 5_000))?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// Opened, and its writer at work.
async fn open(path: &Path) -> Result<(Ledger, DoneReceiver, i64), Box<dyn std::error::Error>> {
    let settings = LedgerSettings {
        url: LedgerUrl::Sqlite(path.to_path_buf()),
        keys: Vec::new(),
        retention: Duration::from_secs(86_400),
        outcomes: Duration::ZERO,
        on_loss: OnLoss::Refuse,
    };
    let wipe = Wipe {
        job: |_| Vec::new(),
        life: <[u8]>::to_vec,
        report: <[u8]>::to_vec,
        outcome: |_| Vec::new(),
    };
    let (ledger, mut done, recovered) =
        Ledger::open(&settings, "bench", &Settings::default().limits, wipe)?;
    let (number, ops) = (0, Vec::new());
    ledger.submit(Batch { number, ops }).await?;
    done.recv().await.ok_or("the ledger ended")?;
    Ok((ledger, done, recovered.first_challenge.0))
}

/// Four steps a challenge, each in a batch with its neighbours', as dispatch gathers them in one turn.
async fn flat_out(path: &Path, count: i64) -> Result<(), Box<dyn std::error::Error>> {
    let (ledger, mut done, first) = open(path).await?;
    let (begun, cpu, writer) = (Instant::now(), cpu_of("self")?, writer_cpu()?);
    let limits = Arc::new(Settings::default().limits);
    let mut open = VecDeque::new();
    let (mut given, mut received) = (0u64, 0u64);
    let mut next = first;
    while next < first + count || !open.is_empty() {
        let mut ops = Vec::with_capacity(TURN * 7);
        for _ in 0..TURN {
            if next < first + count {
                accept(next, &limits, &mut ops);
                open.push_back((next, 0u8));
                next += 1;
            }
            if (open.len() > IN_FLIGHT || next >= first + count)
                && let Some((key, step)) = open.pop_front()
            {
                advance(key, step, &mut ops);
                if step < 2 {
                    open.push_back((key, step + 1));
                }
            }
        }
        for _ in 0..TURN {
            if let Some((key, step)) = open.pop_front() {
                advance(key, step, &mut ops);
                if step < 2 {
                    open.push_back((key, step + 1));
                }
            }
        }
        ledger.submit(Batch { number: given, ops }).await?;
        given += 1;
        while done.try_recv().is_ok() {
            received += 1;
        }
    }
    while received < given {
        done.recv().await.ok_or("the ledger ended")?;
        received += 1;
    }
    let elapsed = begun.elapsed();
    let (cpu, writer) = (cpu_of("self")? - cpu, writer_cpu()? - writer);
    ledger.close().await;
    let size = std::fs::metadata(path)?.len();
    println!(
        "flat out: {count} challenges in {elapsed:.2?}: {:.0} challenges/s, {:.0} ops/s; CPU per challenge: \
         {:.1} us, the writer {:.1} us; {} octets each on disk",
        count as f64 / elapsed.as_secs_f64(),
        7.0 * count as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / count as f64,
        writer.as_secs_f64() * 1e6 / count as f64,
        size / count as u64,
    );
    Ok(())
}

/// One challenge at a time: all its steps, while others are on their way too.
async fn paced(path: &Path, rate: u32, count: i64) -> Result<(), Box<dyn std::error::Error>> {
    let (ledger, mut done, first) = open(path).await?;
    let (writer, mut waits) = (writer_cpu()?, Vec::new());
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    let limits = Arc::new(Settings::default().limits);
    let mut sent = VecDeque::new();
    let (mut key, mut number) = (first, 0);
    while waits.len() < count as usize * 4 {
        tokio::select! {
            biased;
            Some(_) = done.recv() => {
                let (at, key, step): (Instant, i64, u8) = sent.pop_front().ok_or("none was given")?;
                waits.push(at.elapsed());
                if step < 3 {
                    let mut ops = Vec::new();
                    advance(key, step, &mut ops);
                    sent.push_back((Instant::now(), key, step + 1));
                    ledger.submit(Batch { number, ops }).await?;
                    number += 1;
                }
            }
            _ = tick.tick(), if key < first + count => {
                let mut ops = Vec::new();
                accept(key, &limits, &mut ops);
                sent.push_back((Instant::now(), key, 0));
                ledger.submit(Batch { number, ops }).await?;
                (key, number) = (key + 1, number + 1);
            }
        }
    }
    let writer = writer_cpu()? - writer;
    ledger.close().await;
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    println!(
        "at {rate}/s: durable after p50 {:.2?}, p99 {:.2?}, at most {:.2?}; writer {:.1} us CPU per challenge",
        at(0.5),
        at(0.99),
        at(1.0),
        writer.as_secs_f64() * 1e6 / count as f64,
    );
    Ok(())
}

fn accept(key: i64, limits: &Arc<Limits>, ops: &mut Vec<Op>) {
    ops.push(Op::Accept(Box::new(NewChallenge {
        key: ChallengeKey(key),
        tenant: "contoso-bank".into(),
        id: format!("login-{key:x}").into(),
        content: [7; 32],
        arrived: T0,
        deadline: T0 + Duration::from_secs(180),
        job: vec![b'j'; 420],
        life: vec![b'l'; 260],
        last: None,
        claim: None,
        limits: Some(LimitCheck {
            keys: [key as u64, key as u64, 1, 0, 2],
            limits: limits.clone(),
        }),
    })));
}

fn advance(key: i64, step: u8, ops: &mut Vec<Op>) {
    let challenge = ChallengeKey(key);
    match step {
        0 => {
            ops.push(Op::Life {
                key: challenge,
                life: vec![b'l'; 320],
            });
            ops.push(Op::Reference {
                carrier: "northwind".into(),
                reference: format!("{key:08X}").into(),
                key: AttemptKey {
                    challenge,
                    attempt: 1,
                },
                part: 0,
                phone: None,
            });
            ops.push(report(key, 1, 420));
        }
        1 => {
            ops.push(Op::ReportDone {
                report: ReportKey(key * 2),
            });
            ops.push(Op::End {
                key: challenge,
                life: vec![b'l'; 360],
                last: vec![b'f'; 700],
                at: T0,
            });
            ops.push(report(key, 2, 700));
        }
        _ => ops.push(Op::ReportDone {
            report: ReportKey(key * 2 + 1),
        }),
    }
}

fn report(key: i64, seq: u32, size: usize) -> Op {
    Op::Report(Box::new(OutboxReport {
        report: ReportKey(key * 2 + i64::from(seq) - 1),
        challenge: ChallengeKey(key),
        seq,
        target: Target::ReplyTo {
            queue: "bank.replies".into(),
            correlation_id: Some("0123456789".into()),
        },
        body: Arc::from(vec![b'r'; size]),
        is_final: seq > 1,
        until: T0,
    }))
}

/// CPU so far of the thread called `ledger`.
fn writer_cpu() -> Result<Duration, Box<dyn std::error::Error>> {
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if std::fs::read_to_string(task.join("comm"))?.trim() == "ledger" {
            let text = std::fs::read_to_string(task.join("schedstat"))?;
            let ns = text.split(' ').next().ok_or("no figure")?.parse()?;
            return Ok(Duration::from_nanos(ns));
        }
    }
    Err("no thread called ledger".into())
}

/// User and system time of a process, in ticks of 10 ms.
fn cpu_of(process: &str) -> Result<Duration, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let rest = text.rsplit(") ").next().ok_or("no figures")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

/// In a far future: nothing is wiped or deleted meanwhile.
const T0: Millis = Millis(4_000_000_000_000);
/// Challenges that dispatch takes on in one turn.
const TURN: usize = 16;
/// Challenges open at a time.
const IN_FLIGHT: usize = 4_096;
