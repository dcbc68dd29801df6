//! Recordings and sentences: what is spoken in which language, and which folders are refused.

use super::*;
use crate::protocol::rtp::Codec;
use proptest::prelude::*;

fn shipped() -> Catalogue {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts");
    Catalogue::load(&dir).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn wav(rate: u32, channels: u16, seconds: f32) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
    for i in 0..(rate as f32 * seconds) as i32 * i32::from(channels) {
        writer.write_sample((i * 7 % 2000) as i16).unwrap();
    }
    writer.finalize().unwrap();
    bytes.into_inner()
}

/// A prompts directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir =
            std::env::temp_dir().join(format!("ringback-prompts-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    fn voice(&self, locale: &str) {
        fs::create_dir_all(self.0.join(locale)).unwrap();
        for clip in Clip::ALL {
            self.put(locale, clip, &wav(8000, 1, 0.1));
        }
    }

    fn put(&self, locale: &str, clip: Clip, bytes: &[u8]) {
        fs::write(
            self.0.join(locale).join(format!("{}.wav", clip.name())),
            bytes,
        )
        .unwrap();
    }

    fn faults(&self) -> Vec<String> {
        let faults = Catalogue::load(&self.0).err().unwrap_or_default();
        faults
            .iter()
            .map(|fault| {
                fault
                    .to_string()
                    .replace(&self.0.display().to_string(), "prompts")
            })
            .collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_shipped_prompts_have_five_whole_voices() {
    let catalogue = shipped();
    let locales: Vec<&str> = catalogue.voices().map(|voice| voice.locale()).collect();
    assert_eq!(locales, ["de-DE", "en-US", "es-MX", "fr-CA", "sv-SE"]);
    for voice in catalogue.voices() {
        for sound in &voice.sounds {
            let time = sound.duration();
            assert!(
                time > Duration::from_millis(150) && time < Duration::from_secs(10),
                "{time:?}"
            );
            let octets = sound.octets(Codec::Pcmu);
            // No silence at the start: within 100 ms something is heard.
            assert!(
                octets
                    .iter()
                    .take(800)
                    .any(|o| Codec::Pcmu.decode(*o).abs() > 300)
            );
        }
    }
}

#[test]
fn every_shipped_recording_has_its_sentence() {
    for voice in shipped().voices() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("prompts")
            .join(voice.locale())
            .join("phrases.toml");
        let phrases: std::collections::BTreeMap<String, String> =
            toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        let mut names: Vec<&str> = Clip::ALL.iter().map(|clip| clip.name()).collect();
        names.sort_unstable();
        assert_eq!(phrases.keys().collect::<Vec<_>>(), names);
        assert!(phrases.values().all(|sentence| !sentence.is_empty()));
    }
}

/// The best correlation of two recordings over shifts of up to 100 ms, between 0 and 1.
fn likeness(a: &[f64], b: &[f64]) -> f64 {
    let norm = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    let (a, b) = if a.len() > b.len() { (b, a) } else { (a, b) };
    let mut best: f64 = 0.0;
    for shift in (0..=800).step_by(2) {
        for (x, y) in [
            (a, b.get(shift..).unwrap_or_default()),
            (a.get(shift..).unwrap_or_default(), b),
        ] {
            let dot: f64 = x.iter().zip(y).map(|(p, q)| p * q).sum();
            best = best.max(dot.abs());
        }
    }
    best / (norm(a) * norm(b))
}

#[test]
fn digits_of_a_voice_are_told_apart() {
    for voice in shipped().voices() {
        let digits: Vec<Vec<f64>> = (0..10)
            .map(|d| {
                voice.sounds[d]
                    .octets(Codec::Pcma)
                    .iter()
                    .map(|o| f64::from(Codec::Pcma.decode(*o)))
                    .collect()
            })
            .collect();
        for a in 0..10 {
            for b in 0..a {
                let alike = likeness(&digits[a], &digits[b]);
                assert!(
                    alike < 0.6,
                    "{}: {a} and {b} are alike by {alike:.2}",
                    voice.locale()
                );
            }
        }
    }
}

#[test]
fn a_locale_gets_the_nearest_voice() {
    let catalogue = shipped();
    let cases = [
        ("sv-SE", "sv-SE"),
        ("sv", "sv-SE"),
        ("SV_se", "sv-SE"),
        ("en-GB", "en-US"),
        ("en", "en-US"),
        ("fr-FR", "fr-CA"),
        ("es-419", "es-MX"),
        ("de-AT-1996", "de-DE"),
        ("sv-Latn-FI", "sv-SE"),
        ("fi-FI", "en-US"),
        ("svx", "en-US"),
        ("", "en-US"),
        ("-", "en-US"),
        ("ümlaut-Ö", "en-US"),
    ];
    for (wanted, got) in cases {
        assert_eq!(catalogue.best(wanted).locale(), got, "{wanted}");
    }
}

#[test]
fn the_default_is_preferred_within_its_language_and_a_wider_tag_before_a_sister() {
    let dir = Dir::new("language");
    for locale in ["en-AU", "en-US", "zh-Hans-CN", "zh-Hant", "zh-Hant-HK"] {
        dir.voice(locale);
    }
    let catalogue = Catalogue::load(&dir.0).unwrap();
    assert_eq!(catalogue.best("en-GB").locale(), "en-US");
    assert_eq!(catalogue.best("en-AU").locale(), "en-AU");
    assert_eq!(catalogue.best("zh-Hant-TW").locale(), "zh-Hant");
    assert_eq!(catalogue.best("zh").locale(), "zh-Hans-CN");
}

#[test]
fn a_code_is_its_digits_with_pauses() {
    let catalogue = shipped();
    let voice = catalogue.best("en-US");
    let said = voice.spell("4070");
    assert_eq!(said.len(), 8);
    for (segment, clip) in
        said.iter()
            .step_by(2)
            .zip([Clip::Four, Clip::Zero, Clip::Seven, Clip::Zero])
    {
        let Segment::Sound(sound) = segment else {
            panic!("not a sound")
        };
        assert_eq!(
            sound.octets(Codec::Pcmu),
            voice.sounds[clip as usize].octets(Codec::Pcmu)
        );
    }
    assert!(
        said.iter()
            .skip(1)
            .step_by(2)
            .all(|s| matches!(s, Segment::Silence(time) if *time == DIGIT_GAP))
    );
    assert!(voice.spell("a-b").is_empty());
}

#[test]
fn a_clip_stands_at_its_own_place() {
    for (at, clip) in Clip::ALL.into_iter().enumerate() {
        assert_eq!(clip as usize, at);
    }
    assert_eq!(Clip::digit('7'), Some(Clip::Seven));
    assert_eq!(Clip::digit('x'), None);
}

#[test]
fn all_faults_are_named_at_once_with_file_and_reason() {
    let dir = Dir::new("faults");
    dir.voice("en-US");
    dir.voice("sv-SE");
    fs::create_dir(dir.0.join("not a locale")).unwrap();
    fs::remove_file(dir.0.join("en-US/greeting.wav")).unwrap();
    dir.put("en-US", Clip::One, &wav(44_100, 2, 0.1));
    dir.put("en-US", Clip::Two, b"RIFF but not really");
    dir.put("sv-SE", Clip::Three, &wav(8000, 1, 21.0));
    dir.put("sv-SE", Clip::Four, &wav(8000, 1, 0.0));
    dir.put("sv-SE", Clip::Five, &vec![0; 1_000_001]);
    let faults = dir.faults();
    let expected = [
        ("prompts/not a locale: ", "BCP 47"),
        ("prompts/en-US/digit-1.wav: ", "44100 Hz, 2 channel(s)"),
        ("prompts/en-US/digit-2.wav: ", "not a WAV file"),
        ("prompts/en-US/greeting.wav: ", "missing"),
        ("prompts/sv-SE/digit-3.wav: ", "21 seconds; at most 20"),
        ("prompts/sv-SE/digit-4.wav: ", "empty"),
        ("prompts/sv-SE/digit-5.wav: ", "1000001 octets"),
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (place, what) in expected {
        assert!(
            faults
                .iter()
                .any(|f| f.starts_with(place) && f.contains(what)),
            "{place} {what}: {faults:#?}"
        );
    }
}

#[test]
fn a_directory_without_the_default_or_without_anything_is_a_fault() {
    let dir = Dir::new("default");
    dir.voice("sv-SE");
    let faults = dir.faults();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].starts_with("prompts/en-US: missing"),
        "{faults:?}"
    );
    assert!(
        Catalogue::load(&dir.0.join("nowhere")).unwrap_err()[0]
            .what
            .contains("can't be read")
    );
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(
        mut head in Just(wav(8000, 1, 0.02)), flips in proptest::collection::vec((0usize..60, any::<u8>()), 0..8),
        keep in 0usize..400
    ) {
        for (at, value) in flips { head[at] = value; }
        head.truncate(keep);
        if let Ok(samples) = samples(&head) {
            prop_assert!(!samples.is_empty() && samples.len() <= 160);
        }
    }

    #[test]
    fn any_locale_gets_a_voice(locale in "\\PC{0,20}") {
        prop_assert!(!shipped_once().best(&locale).locale().is_empty());
    }
}

fn shipped_once() -> &'static Catalogue {
    static CATALOGUE: std::sync::OnceLock<Catalogue> = std::sync::OnceLock::new();
    CATALOGUE.get_or_init(shipped)
}

#[test]
fn a_directory_from_before_a_clip_existed_stays_good() {
    let dir = Dir::new("older");
    dir.voice("en-US");
    for clip in [Clip::WrongKey, Clip::NotApproved] {
        fs::remove_file(dir.0.join("en-US").join(clip.name()).with_extension("wav")).unwrap();
    }
    dir.put("en-US", Clip::Goodbye, &wav(8000, 1, 0.3));
    let voice = Catalogue::load(&dir.0).unwrap().best("en-US").clone();
    let length = |clip: Clip| voice.sounds[clip as usize].duration();
    assert_eq!(length(Clip::WrongKey), length(Clip::Again));
    assert_eq!(length(Clip::NotApproved), length(Clip::Goodbye));
    // One that is there and broken is a fault.
    dir.put("en-US", Clip::WrongKey, b"noise");
    assert_eq!(dir.faults().len(), 1);
}

/// A chunk, with its pad octet where its length is odd.
fn chunk(name: &[u8; 4], size: u32, body: &[u8]) -> Vec<u8> {
    let pad: &[u8] = if body.len() % 2 == 1 { &[0] } else { &[] };
    [name, &size.to_le_bytes()[..], body, pad].concat()
}

fn own(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    chunk(name, body.len() as u32, body)
}

fn format(tag: u16, further: &[u8]) -> Vec<u8> {
    let head = [
        &tag.to_le_bytes()[..],
        &[1, 0],
        &8000_u32.to_le_bytes(),
        &16_000_u32.to_le_bytes(),
        &[2, 0, 16, 0],
    ]
    .concat();
    own(b"fmt ", &[&head[..], further].concat())
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    [
        b"RIFF",
        &(body.len() as u32 + 4).to_le_bytes()[..],
        b"WAVE",
        &body,
    ]
    .concat()
}

#[test]
fn files_of_recorders_and_editors_are_read() {
    let sound: Vec<u8> = (0..200_i16).flat_map(|n| (n * 7).to_le_bytes()).collect();
    let data = || own(b"data", &sound);
    let meant: Vec<i16> = (0..200).map(|n| n * 7).collect();
    let guid = [
        1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71,
    ];
    let extensible = [&[22, 0, 16, 0, 4, 0, 0, 0][..], &guid].concat();
    let list = || own(b"LIST", b"INFOISFT\x05\0\0\0abcde");
    for (name, file) in [
        ("plain", riff(&[format(1, b""), data()])),
        (
            "LIST of odd length",
            riff(&[format(1, b""), list(), data()]),
        ),
        (
            "bext of odd length first",
            riff(&[own(b"bext", &[b'x'; 603]), format(1, b""), data()]),
        ),
        ("format of 18", riff(&[format(1, &[0, 0]), data()])),
        ("format of 40", riff(&[format(1, &[0; 24]), data()])),
        (
            "extensible",
            riff(&[format(0xfffe, &extensible), own(b"fact", &[0; 4]), data()]),
        ),
        (
            "chunks behind",
            riff(&[format(1, b""), data(), list(), own(b"id3 ", b"odd")]),
        ),
        (
            "streamed, no size",
            riff(&[format(1, b""), chunk(b"data", 0, &sound)]),
        ),
        (
            "streamed, all ones",
            riff(&[format(1, b""), chunk(b"data", u32::MAX, &sound)]),
        ),
        (
            "streamed by sox",
            riff(&[format(1, b""), chunk(b"data", 0x7fff_ffdb, &sound)]),
        ),
        (
            "another size of the whole",
            [&b"RIFF\xff\xff\xff\xffWAVE"[..], &format(1, b""), &data()].concat(),
        ),
    ] {
        assert_eq!(samples(&file).ok(), Some(meant.clone()), "{name}");
    }
    for (name, file, why) in [
        (
            "cut short",
            riff(&[format(1, b""), chunk(b"data", 800, &sound)]),
            "cut short",
        ),
        ("mu-law", riff(&[format(7, b""), data()]), "mu-law"),
        ("floats", riff(&[format(3, b""), data()]), "floating point"),
        (
            "big-endian",
            [b"RIFX", &riff(&[format(1, b""), data()])[4..]].concat(),
            "not a WAV file",
        ),
        ("no samples", riff(&[format(1, b""), list()]), "no samples"),
        ("no format", riff(&[data()]), "format"),
        (
            "short format",
            riff(&[own(b"fmt ", &[1, 0, 1, 0]), data()]),
            "too short",
        ),
    ] {
        let said = samples(&file).expect_err(name).to_string();
        assert!(said.contains(why), "{name}: {said}");
    }
}
