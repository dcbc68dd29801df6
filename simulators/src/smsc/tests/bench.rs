//! A message centre on the bench: one connection, and a hand on the clock.

use crate::record::Record;
use crate::script::Script;
use crate::smsc::SmscConfig;
use crate::smsc::centre::{Centre, Now};
use crate::smsc::session::SessionId;
use std::time::{Duration, Instant};

/// A centre, one connection and a hand on the clock.
pub struct Bench {
    pub centre: Centre,
    pub session: SessionId,
    pub now: Now,
    pub record: Record,
    pub script: Script,
}

/// A PDU as the test sees it: command, status, sequence, body.
pub type Seen = (u32, u32, u32, Vec<u8>);

impl Bench {
    pub fn new(config: SmscConfig) -> Bench {
        let (record, script) = (config.record.clone(), config.script.clone());
        let mut centre = Centre::new(&config, 0xA000_0001);
        let now = Now {
            at: Instant::now(),
            unix: 1_750_000_000,
        };
        let session = centre.connected(now).unwrap();
        Bench {
            centre,
            session,
            now,
            record,
            script,
        }
    }

    pub fn bound() -> Bench {
        let mut bench = Bench::new(SmscConfig::default());
        let answers = bench.say(&pdu(0x09, 0, 1, &bind_body("mfa", "secret")));
        assert_eq!(answers[0].0, 0x8000_0009);
        assert_eq!(answers[0].1, 0);
        bench
    }

    pub fn say(&mut self, octets: &[u8]) -> Vec<Seen> {
        self.centre.received(self.session, octets, self.now);
        self.heard()
    }

    pub fn heard(&mut self) -> Vec<Seen> {
        let mut out = Vec::new();
        self.centre.output(self.session, &mut out);
        let mut seen = Vec::new();
        let mut rest = &out[..];
        while !rest.is_empty() {
            let word = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().unwrap());
            let length = word(0) as usize;
            seen.push((word(4), word(8), word(12), rest[16..length].to_vec()));
            rest = &rest[length..];
        }
        seen
    }

    pub fn pass(&mut self, time: Duration) -> Vec<Seen> {
        self.now = Now {
            at: self.now.at + time,
            unix: self.now.unix + time.as_secs(),
        };
        self.centre.tick(self.now);
        self.heard()
    }
}

pub fn pdu(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = 16 + body.len() as u32;
    let mut pdu: Vec<u8> = [length, command, status, sequence]
        .iter()
        .flat_map(|w| w.to_be_bytes())
        .collect();
    pdu.extend_from_slice(body);
    pdu
}

pub fn bind_body(system_id: &str, password: &str) -> Vec<u8> {
    format!("{system_id}\0{password}\0\0\x34\0\0\0").into_bytes()
}

pub fn submit_body(to: &str, esm: u8, coding: u8, message: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x03\x0097671\0\x01\x01".to_vec();
    body.extend_from_slice(to.as_bytes());
    body.extend_from_slice(&[0, esm, 0, 0, 0]);
    body.extend_from_slice(b"000000000300000R\0");
    body.extend_from_slice(&[1, 0, coding, 0, message.len() as u8]);
    body.extend_from_slice(message);
    body
}

pub fn submit(sequence: u32, to: &str, text: &str) -> Vec<u8> {
    pdu(0x04, 0, sequence, &submit_body(to, 0, 0, text.as_bytes()))
}

pub fn has(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|w| w == text.as_bytes())
}
