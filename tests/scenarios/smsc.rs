//! A message centre of which a scenario says every word: when a submit is answered and how, which receipt comes when.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, tcp::OwnedReadHalf},
    sync::{mpsc, watch},
};

use crate::world::LIMIT;

const BIND_TRANSCEIVER: u32 = 0x09;
const SUBMIT_SM: u32 = 0x04;
const DELIVER_SM: u32 = 0x05;
const RESPONSE: u32 = 0x8000_0000;

/// A submit as it came.
#[derive(Clone, Debug)]
pub struct Submit {
    pub from: String,
    pub to: String,
    sequence: u32,
    connection: usize,
}

#[derive(Default)]
struct State {
    submits: Vec<Submit>,
    /// Sequence and status of each deliver_sm_resp.
    answers: Vec<(u32, u32)>,
    connections: Vec<mpsc::UnboundedSender<Vec<u8>>>,
    sequence: u32,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Smsc {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    news: watch::Sender<u64>,
}

impl Smsc {
    pub async fn start() -> Smsc {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let smsc = Smsc {
            address: listener.local_addr().expect("an address"),
            state: Arc::default(),
            news: watch::Sender::new(0),
        };
        let all = smsc.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (reading, mut writing) = stream.into_split();
                let (out, mut to_write) = mpsc::unbounded_channel::<Vec<u8>>();
                tokio::spawn(async move {
                    while let Some(octets) = to_write.recv().await {
                        if writing.write_all(&octets).await.is_err() {
                            return;
                        }
                    }
                });
                tokio::spawn(all.clone().serve(reading, out));
            }
        });
        smsc
    }

    async fn serve(self, mut reading: OwnedReadHalf, out: mpsc::UnboundedSender<Vec<u8>>) {
        let connection = {
            let mut state = self.state();
            state.connections.push(out.clone());
            state.connections.len() - 1
        };
        let mut header = [0; 16];
        while reading.read_exact(&mut header).await.is_ok() {
            let word = |at: usize| {
                u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
            };
            let (length, command, status, sequence) = (word(0), word(4), word(8), word(12));
            let mut body = vec![0; (length as usize).saturating_sub(16)];
            if reading.read_exact(&mut body).await.is_err() {
                return;
            }
            match command {
                SUBMIT_SM => {
                    // NUL, the sender's ton and npi, its address, NUL, our number's ton and npi, its digits.
                    let mut addresses =
                        body.get(3..).unwrap_or_default().split(|octet| *octet == 0);
                    let mut next = |skip: usize| {
                        let address = addresses.next().and_then(|octets| octets.get(skip..));
                        String::from_utf8_lossy(address.unwrap_or_default()).into_owned()
                    };
                    let (from, to) = (next(0), next(2));
                    self.state().submits.push(Submit {
                        sequence,
                        from,
                        to,
                        connection,
                    });
                }
                command if command == DELIVER_SM | RESPONSE => {
                    self.state().answers.push((sequence, status));
                }
                command if command & RESPONSE != 0 => {}
                BIND_TRANSCEIVER => {
                    let _ = out.send(pdu(command | RESPONSE, 0, sequence, b"x\0"));
                }
                _ => {
                    let _ = out.send(pdu(command | RESPONSE, 0, sequence, b""));
                }
            }
            self.news.send_modify(|n| *n += 1);
        }
    }

    pub fn submits(&self) -> Vec<Submit> {
        self.state().submits.clone()
    }

    /// Waits for so many submits.
    pub async fn submitted(&self, count: usize) -> Vec<Submit> {
        self.until("submits", || {
            let submits = self.submits();
            (submits.len() >= count).then_some(submits)
        })
        .await
    }

    /// Answers a submit with this body.
    pub fn accept(&self, submit: &Submit, body: &[u8]) {
        let answer = pdu(SUBMIT_SM | RESPONSE, 0, submit.sequence, body);
        let _ = self.state().connections[submit.connection].send(answer);
    }

    /// Sends a receipt on the newest connection; gives its number.
    pub fn receipt(&self, id: &str, phone: &str, state: &str) -> u32 {
        self.receipt_to(id, phone, "97671", state)
    }

    /// The same for a text of this sender.
    pub fn receipt_to(&self, id: &str, phone: &str, sender: &str, state: &str) -> u32 {
        let text = format!(
            "id:{id} sub:001 dlvrd:001 submit date:2601011200 done date:2601011201 stat:{state} err:000 text:"
        );
        let mut body = vec![0, 1, 1];
        body.extend(phone.as_bytes());
        body.extend([0, 3, 0]);
        body.extend(sender.as_bytes());
        // NUL, esm_class: a receipt, protocol_id to sm_default_msg_id.
        body.extend([0, 4, 0, 0, 0, 0, 0, 0, 0, 0, text.len() as u8]);
        body.extend(text.as_bytes());
        let mut state = self.state();
        state.sequence += 1;
        let sequence = 1_000 + state.sequence;
        if let Some(newest) = state.connections.last() {
            let _ = newest.send(pdu(DELIVER_SM, 0, sequence, &body));
        }
        sequence
    }

    /// Waits for the answer to a receipt: its status.
    pub async fn answered(&self, sequence: u32) -> u32 {
        self.until("an answer to a receipt", || self.answer_to(sequence))
            .await
    }

    pub fn answer_to(&self, sequence: u32) -> Option<u32> {
        let state = self.state();
        let mut answers = state.answers.iter();
        answers.find(|(n, _)| *n == sequence).map(|(_, s)| *s)
    }

    async fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let mut news = self.news.subscribe();
        let wait = async {
            loop {
                if let Some(value) = found() {
                    return value;
                }
                news.changed().await.expect("the centre lives on");
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .unwrap_or_else(|_| panic!("{what}: not in time"))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pdu(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = 16 + body.len() as u32;
    let words = [length, command, status, sequence].map(u32::to_be_bytes);
    [&words.concat()[..], body].concat()
}
