//! The caller's side of the media: speaks, and hears keys.

use super::caller::{Call, Tone};
use simulators::trunk::g711::Law;
use simulators::trunk::rtp::{Event, Packet};
use simulators::trunk::tones::Sound;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;

pub struct Speaker {
    media: Arc<UdpSocket>,
    remote: SocketAddr,
    tone: Tone,
    at: u32,
    pace: tokio::time::Interval,
    pub keys: Vec<String>,
    last_event: Option<u32>,
    begun: Instant,
}

impl Speaker {
    pub fn new(call: &Call, tone: Tone) -> Speaker {
        Speaker {
            media: call.media(),
            remote: call.media_remote(),
            tone,
            at: 0,
            pace: tokio::time::interval(Duration::from_millis(20)),
            keys: Vec::new(),
            last_event: None,
            begun: Instant::now(),
        }
    }

    /// Send twenty milliseconds and listen meanwhile.
    pub async fn frame(&mut self) {
        assert!(
            self.begun.elapsed() < Duration::from_secs(15),
            "keys so far: {:?}",
            self.keys
        );
        self.pace.tick().await;
        let sample = |at: u32| {
            if self.tone == Tone::Speech {
                Sound::Key('1').sample(at)
            } else {
                0
            }
        };
        let payload: Vec<u8> = (0..160)
            .map(|at| Law::Mu.encode(sample(self.at * 160 + at)))
            .collect();
        self.media
            .send_to(&packet(self.at, &payload), self.remote)
            .await
            .unwrap();
        self.at += 1;
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = self.media.try_recv_from(&mut buffer) {
            assert_eq!(
                from, self.remote,
                "media comes from the address in the answer"
            );
            let packet = Packet::read(&buffer[..length]).unwrap();
            match packet.kind {
                101 => {
                    let event = Event::read(packet.payload).unwrap();
                    if event.end
                        && self.last_event.replace(packet.timestamp) != Some(packet.timestamp)
                    {
                        self.keys.push(
                            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#"]
                                [usize::from(event.code)]
                            .into(),
                        );
                    }
                }
                0 if self.keys.is_empty() && is_dual_tone(packet.payload) => {
                    self.keys.push("tones".into())
                }
                _ => {}
            }
        }
    }
}

pub fn packet(at: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Packet {
        marker: at == 0,
        kind: 0,
        sequence: at as u16,
        timestamp: at * 160,
        ssrc: 77,
        payload,
    }
    .write(&mut bytes);
    bytes
}

/// 941 and 1477 Hz carry most of the energy: the key `#`.
fn is_dual_tone(payload: &[u8]) -> bool {
    let samples: Vec<f32> = payload
        .iter()
        .map(|octet| f32::from(Law::Mu.decode(*octet)))
        .collect();
    let energy: f32 = samples.iter().map(|s| s * s).sum();
    let at = |frequency: f32| {
        let turn = |n: usize| std::f32::consts::TAU * frequency * n as f32 / 8000.0;
        let re: f32 = samples
            .iter()
            .enumerate()
            .map(|(n, s)| s * turn(n).cos())
            .sum();
        let im: f32 = samples
            .iter()
            .enumerate()
            .map(|(n, s)| s * turn(n).sin())
            .sum();
        2.0 * (re * re + im * im) / samples.len() as f32
    };
    energy > 1e8 && at(941.0) + at(1477.0) > 0.8 * energy
}
