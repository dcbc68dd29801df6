//! The simulated SMSC over real sockets, spoken to by a minimal client that knows only octets.

use simulators::record::Record;
use simulators::smsc::{Smsc, SmscConfig, SmscHandle};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LONG: Duration = Duration::from_secs(20);

/// A bound transceiver.
struct Client {
    stream: TcpStream,
}

impl Client {
    async fn bound(smsc: &SmscHandle) -> Client {
        let stream = TcpStream::connect(smsc.address()).await.unwrap();
        let mut client = Client { stream };
        client
            .write(&pdu(0x09, 1, b"mfa\0secret\0\0\x34\0\0\0"))
            .await;
        let (command, status, ..) = client.read().await.unwrap();
        assert_eq!((command, status), (0x8000_0009, 0));
        client
    }

    async fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.unwrap();
    }

    /// The next PDU: command, status, sequence, body; none at the end of the stream.
    async fn read(&mut self) -> Option<(u32, u32, u32, Vec<u8>)> {
        let read = async {
            let mut header = [0; 16];
            self.stream.read_exact(&mut header).await.ok()?;
            let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
            let mut body = vec![0; word(0) as usize - 16];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((word(4), word(8), word(12), body))
        };
        tokio::time::timeout(LONG, read)
            .await
            .expect("the SMSC says something in time")
    }
}

fn pdu(command: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = 16 + body.len() as u32;
    let mut pdu: Vec<u8> = [length, command, 0, sequence]
        .iter()
        .flat_map(|w| w.to_be_bytes())
        .collect();
    pdu.extend_from_slice(body);
    pdu
}

fn submit(sequence: u32, to: &str, text: &str) -> Vec<u8> {
    let mut body = b"\0\x03\x0097671\0\x01\x01".to_vec();
    body.extend_from_slice(to.as_bytes());
    body.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 0, 0, 0, text.len() as u8]);
    body.extend_from_slice(text.as_bytes());
    pdu(0x04, sequence, &body)
}

async fn start(config: SmscConfig) -> SmscHandle {
    Smsc::start(config).await.unwrap()
}

#[tokio::test]
async fn a_text_and_its_receipt() {
    let smsc = start(SmscConfig::default()).await;
    let mut client = Client::bound(&smsc).await;
    client
        .write(&submit(2, "12025550123", "Your code is 482913"))
        .await;
    let (command, status, sequence, _) = client.read().await.unwrap();
    assert_eq!((command, status, sequence), (0x8000_0004, 0, 2));
    let (command, _, sequence, body) = client.read().await.unwrap();
    assert_eq!(command, 0x05);
    assert!(String::from_utf8_lossy(&body).contains("stat:DELIVRD"));
    client.write(&pdu(0x8000_0005, sequence, b"\0")).await;
    client.write(&pdu(0x15, 3, b"")).await;
    assert_eq!(client.read().await.unwrap().0, 0x8000_0015);

    assert_eq!(
        smsc.record().texts_to("12025550123")[0].receipts,
        ["DELIVRD"]
    );
    assert!(smsc.text_from("+12025550123", "97671", "STOP"));
    assert!(client.read().await.unwrap().3.ends_with(b"STOP"));
    assert_eq!(smsc.record().summary().protocol_errors, 0);
}

#[tokio::test]
async fn down_and_up_again_on_the_same_port() {
    let smsc = start(SmscConfig::default()).await;
    let mut client = Client::bound(&smsc).await;
    client.write(&submit(2, "12025559003", "code 1234")).await;
    client.read().await.unwrap();

    smsc.faults().change(|faults| faults.down = true);
    assert!(client.read().await.is_none(), "sessions end");
    let until = Instant::now() + LONG;
    while TcpStream::connect(smsc.address()).await.is_ok() {
        assert!(Instant::now() < until, "the port stays open");
        tokio::task::yield_now().await;
    }

    smsc.faults().change(|faults| faults.down = false);
    while TcpStream::connect(smsc.address()).await.is_err() {
        assert!(Instant::now() < until, "the port stays closed");
        tokio::task::yield_now().await;
    }
    let mut client = Client::bound(&smsc).await;
    client.write(&submit(2, "12025550123", "code 1234")).await;
    assert_eq!(client.read().await.unwrap().1, 0);
}

#[tokio::test]
async fn a_dropped_session_leaves_the_text_with_the_person() {
    let smsc = start(SmscConfig::default()).await;
    let mut client = Client::bound(&smsc).await;
    client.write(&submit(2, "12025559008", "code 1234")).await;
    assert!(client.read().await.is_none());
    let text = &smsc.record().texts_to("12025559008")[0];
    assert!(!text.answered && text.text == "code 1234");
    // The receipt of the text in doubt comes to whoever binds next.
    let mut client = Client::bound(&smsc).await;
    assert_eq!(client.read().await.unwrap().0, 0x05);
}

#[tokio::test]
async fn stopping_says_goodbye() {
    let smsc = start(SmscConfig::default()).await;
    let address = smsc.address();
    let mut client = Client::bound(&smsc).await;
    let (seen, ()) = tokio::join!(
        async {
            let seen = client.read().await.unwrap();
            client.write(&pdu(0x8000_0006, seen.2, b"")).await;
            assert!(client.read().await.is_none());
            seen
        },
        smsc.stop()
    );
    assert_eq!(seen.0, 0x06);
    assert!(TcpStream::connect(address).await.is_err());
}

/// Many texts in few writes: every one is answered once, receipted once and read once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_run_keeps_count() {
    const TEXTS: u32 = 20_000;
    let record = Record::counters_only();
    let smsc = start(SmscConfig {
        record: record.clone(),
        ..SmscConfig::default()
    })
    .await;
    let client = Client::bound(&smsc).await;
    let (mut reader, mut writer) = client.stream.into_split();
    let (answers, mut answered) = tokio::sync::mpsc::channel::<u32>(TEXTS as usize);
    let begin = Instant::now();
    let reading = tokio::spawn(async move {
        let (mut responses, mut receipts) = (0, 0);
        let mut buffer = Vec::new();
        let mut chunk = vec![0; 65_536];
        while receipts < TEXTS {
            let count = reader.read(&mut chunk).await.unwrap();
            assert!(count > 0);
            buffer.extend_from_slice(&chunk[..count]);
            let mut at = 0;
            while buffer.len() - at >= 16 {
                let word =
                    |n: usize| u32::from_be_bytes(buffer[at + n..at + n + 4].try_into().unwrap());
                if buffer.len() - at < word(0) as usize {
                    break;
                }
                match word(4) {
                    0x8000_0004 if word(8) == 0 => responses += 1,
                    0x05 => {
                        receipts += 1;
                        answers.send(word(12)).await.unwrap();
                    }
                    other => panic!("unexpected {other:#x}"),
                }
                at += word(0) as usize;
            }
            buffer.drain(..at);
        }
        responses
    });
    let writing = tokio::spawn(async move {
        for first in (0..TEXTS).step_by(100) {
            let batch: Vec<u8> = (first..first + 100)
                .flat_map(|n| {
                    submit(
                        n + 2,
                        &format!("1{n:07}555"),
                        &format!("Your code is {:06}", n),
                    )
                })
                .collect();
            writer.write_all(&batch).await.unwrap();
        }
        while let Some(sequence) = answered.recv().await {
            writer
                .write_all(&pdu(0x8000_0005, sequence, b"\0"))
                .await
                .unwrap();
        }
        writer
    });
    assert_eq!(reading.await.unwrap(), TEXTS);
    let took = begin.elapsed();
    drop(writing.await.unwrap());
    let sum = record.summary();
    println!("{TEXTS} texts with receipts in {took:?}");
    assert_eq!(sum.texts, u64::from(TEXTS));
    assert_eq!(sum.protocol_errors, 0);
    assert_eq!(record.codes_to("10000017555"), ["000017"]);
}
