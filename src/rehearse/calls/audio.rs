//! The audio of a trunk's calls, as events: what is played lasts as long as its recordings.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    carrier::sip::media::{MediaId, MediaPort},
    challenge::AttemptKey,
    message::speech::{Catalogue, Clip, Voice},
    protocol::rtp::{Codec, Segment},
};

/// How long no audio comes until that is told, and again.
pub use crate::carrier::sip::media::SILENCE;

const FIRST_PORT: u16 = 25_000;
const PORTS: u64 = 15_000;
/// A key of ours, with the pause after it.
const KEY: Duration = Duration::from_millis(200);

#[derive(Default)]
pub struct Audio {
    /// Never used twice, over all lives.
    last: u64,
    open: BTreeMap<MediaId, Stream>,
    by_port: BTreeMap<u16, MediaId>,
}

/// One call's audio.
struct Stream {
    port: u16,
    /// The attempt and its Call-ID, once an INVITE has left.
    of: Option<(AttemptKey, Arc<str>)>,
    connected: bool,
    hears: bool,
    /// What is playing: its tag, and the digits in it.
    playing: Option<(u32, String)>,
}

impl Audio {
    pub fn of_next_life(&self) -> Audio {
        Audio {
            last: self.last,
            ..Audio::default()
        }
    }

    pub fn open(&mut self) -> MediaPort {
        self.last += 1;
        let port = FIRST_PORT + (2 * (self.last % PORTS)) as u16;
        let id = MediaId::of(self.last);
        let stream = Stream {
            port,
            of: None,
            connected: false,
            hears: false,
            playing: None,
        };
        self.open.insert(id, stream);
        self.by_port.insert(port, id);
        MediaPort {
            id,
            local: SocketAddr::from(([127, 0, 0, 1], port)),
        }
    }

    pub fn belongs_to(&mut self, port: u16, key: AttemptKey, call: &Arc<str>) {
        let id = self.by_port.get(&port);
        if let Some(stream) = id.and_then(|id| self.open.get_mut(id)) {
            stream.of = Some((key, call.clone()));
        }
    }

    /// True for the first time.
    pub fn connect(&mut self, id: MediaId, hears: bool) -> bool {
        let Some(stream) = self.open.get_mut(&id) else {
            return false;
        };
        stream.hears = hears;
        if !hears {
            stream.playing = None;
        }
        !std::mem::replace(&mut stream.connected, true)
    }

    /// How long it lasts; none where nobody hears it.
    pub fn play(
        &mut self,
        id: MediaId,
        tag: u32,
        segments: &[Segment],
        voices: &Catalogue,
    ) -> Option<Duration> {
        let stream = self.open.get_mut(&id).filter(|l| l.connected && l.hears)?;
        let voice = voices.best("en-US");
        let digits = segments.iter().filter_map(|segment| digit(segment, voice));
        stream.playing = Some((tag, digits.collect()));
        Some(segments.iter().map(lasts).sum())
    }

    /// Whose it was, and the digits that were heard, unless something else was played meanwhile.
    pub fn played(&mut self, id: MediaId, tag: u32) -> Option<(AttemptKey, String)> {
        let stream = self.open.get_mut(&id)?;
        let (_, digits) = stream.playing.take_if(|(playing, _)| *playing == tag)?;
        Some((stream.of.as_ref()?.0, digits))
    }

    pub fn close(&mut self, id: MediaId) {
        if let Some(stream) = self.open.remove(&id) {
            self.by_port.remove(&stream.port);
        }
    }

    pub fn is_connected(&self, id: MediaId) -> bool {
        self.open.get(&id).is_some_and(|stream| stream.connected)
    }

    pub fn is_open(&self, port: u16) -> bool {
        self.at(port).is_some()
    }

    pub fn at(&self, port: u16) -> Option<MediaId> {
        self.by_port.get(&port).copied()
    }

    /// The Call-ID.
    pub fn call_of(&self, id: MediaId) -> Option<Arc<str>> {
        let (_, call) = self.open.get(&id)?.of.as_ref()?;
        Some(call.clone())
    }
}

fn lasts(segment: &Segment) -> Duration {
    match segment {
        Segment::Sound(sound) => sound.duration(),
        Segment::Silence(time) => *time,
        Segment::Key(_) => KEY,
    }
}

/// The digit that is said, if it is one.
fn digit(segment: &Segment, voice: &Voice) -> Option<char> {
    let Segment::Sound(sound) = segment else {
        return None;
    };
    let said = sound.octets(Codec::Pcmu).as_ptr();
    ('0'..='9').find(|digit| {
        let clip = Clip::digit(*digit).map(|clip| voice.say(clip));
        matches!(clip, Some(Segment::Sound(sound)) if sound.octets(Codec::Pcmu).as_ptr() == said)
    })
}
