//! Writes ended calls down, after the ear has said what was heard in them; on a thread of its own, because
//! recognising takes milliseconds and neither signalling nor media may wait for it.

use super::talk::Audio;
use crate::ear::Ear;
use crate::record::{Call, Entry, Heard, Record};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The way into the record.
pub struct Listening {
    carrier: Arc<str>,
    record: Record,
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
        let mut listening = Listening {
            carrier: carrier.clone(),
            record: record.clone(),
            work: None,
            thread: None,
        };
        if let Some(ear) = ear {
            let (work, calls) = sync_channel::<(Box<Call>, Audio)>(MAX_UNHEARD);
            let thread = std::thread::Builder::new()
                .name(format!("ear-{carrier}"))
                .spawn(move || {
                    for (mut call, audio) in calls {
                        listen(&ear, &mut call, &audio, gain_db);
                        record.push(&carrier, Entry::Call(*call));
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
        self.record.push(&self.carrier, Entry::Call(*call));
    }

    /// The gateway broke a rule.
    pub fn broken(&self, protocol: &str, reason: String) {
        self.record.protocol_error(&self.carrier, protocol, reason);
    }

    /// Wait until everything is written down.
    pub fn finish(mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
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
