//! Writes ended calls down, after the ear has said what was heard in them; on a thread of its own, because
//! recognising takes milliseconds and neither signalling nor media may wait for it.

use super::talk::Audio;
use crate::ear::Ear;
use crate::record::{Call, Entry, Heard, Record};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The way into the record.
pub struct Listening {
    desk: Desk,
    work: Option<SyncSender<(Box<Call>, Audio)>>,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    /// With an ear, or without.
    pub fn start(
        carrier: Arc<str>,
        record: Record,
        ear: Option<Ear>,
        gain_db: f32,
    ) -> io::Result<Listening> {
        let desk = Desk {
            carrier,
            record,
            written: Arc::default(),
        };
        let mut listening = Listening {
            desk: desk.clone(),
            work: None,
            thread: None,
        };
        if let Some(ear) = ear {
            let (work, calls) = sync_channel::<(Box<Call>, Audio)>(MAX_UNHEARD);
            let thread = std::thread::Builder::new()
                .name(format!("ear-{}", desk.carrier))
                .spawn(move || {
                    for (mut call, audio) in calls {
                        listen(&ear, &mut call, &audio, gain_db);
                        desk.write(*call);
                    }
                })?;
            listening.work = Some(work);
            listening.thread = Some(thread);
        }
        Ok(listening)
    }

    /// A call has ended.
    pub fn ended(&self, call: Box<Call>, audio: Option<Audio>) {
        let call = match (&self.work, audio) {
            (Some(work), Some(audio)) => match work.try_send((call, audio)) {
                Ok(()) => return,
                Err(TrySendError::Full((call, _)) | TrySendError::Disconnected((call, _))) => {
                    let reason = "more calls ended at once than the ear can follow; one is written down unheard";
                    tracing::warn!("{reason}: switch the ear off for load");
                    call
                }
            },
            (_, _) => call,
        };
        self.desk.write(*call);
    }

    /// How many calls are in the record.
    pub fn written(&self) -> Arc<AtomicU64> {
        self.desk.written.clone()
    }

    /// The gateway broke a rule.
    pub fn broken(&self, protocol: &str, reason: String) {
        let Desk {
            carrier, record, ..
        } = &self.desk;
        record.protocol_error(carrier, protocol, reason);
    }

    /// Wait until everything is written down.
    pub fn finish(mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Desk {
    carrier: Arc<str>,
    record: Record,
    written: Arc<AtomicU64>,
}

impl Desk {
    fn write(&self, call: Call) {
        self.record.push(&self.carrier, Entry::Call(call));
        // After the record: who counts it finds it there.
        self.written.fetch_add(1, Ordering::Release);
    }
}

fn listen(ear: &Ear, call: &mut Call, audio: &Audio, gain_db: f32) {
    let gain = 10f32.powf(gain_db / 20.0);
    let samples: Vec<i16> = audio
        .octets
        .iter()
        .map(|octet| (f32::from(audio.law.decode(*octet)) * gain) as i16)
        .collect();
    let understood = ear.listen(&samples);
    call.digits_heard = understood.digits();
    call.locale = understood.locale;
    let millis = |at: Duration| at.as_millis() as u64;
    call.heard = understood
        .clips
        .into_iter()
        .map(|clip| Heard {
            at_ms: millis(audio.offset + clip.at),
            whole: clip.is_whole(),
            clip: clip.name,
        })
        .collect();
}

/// Ended calls that wait for the ear.
const MAX_UNHEARD: usize = 512;
