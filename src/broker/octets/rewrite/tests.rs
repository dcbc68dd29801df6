//! Frames as no client library writes them, and the library itself as the reader of what becomes of them.

use lapin::protocol::basic::parse_properties;
use proptest::prelude::*;

use super::{
    super::{
        CORRELATION_ID, NoText,
        frames::{Frames, LONGEST},
        header::{DELIVERY_COUNT, HEADER_START, PLACE_CORRELATION_ID, PROPERTIES},
        wire::{put_long, put_short},
    },
    *,
};

fn short(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_short(&mut out, text);
    out
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    put_long(&mut out, payload);
    out.push(0xCE);
    out
}

fn header(flags: u16, properties: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    payload.extend_from_slice(&flags.to_be_bytes());
    payload.extend_from_slice(properties);
    frame(HEADER, 1, &payload)
}

fn deliver(key: &[u8]) -> Vec<u8> {
    let tag = [0, 0, 0, 0, 0, 0, 0, 7, 0];
    let method = [
        &[0, 60, 0, 60][..],
        &short(b"ctag"),
        &tag,
        &short(b""),
        &short(key),
    ];
    frame(METHOD, 1, &method.concat())
}

fn incoming(octets: &[u8]) -> Vec<u8> {
    let (mut frames, mut incoming, mut out) =
        (Frames::default(), Incoming::new(LONGEST), Vec::new());
    frames.take(octets, &mut out, |frame, out| incoming.rewrite(frame, out));
    out
}

fn outgoing(octets: &[u8]) -> Vec<u8> {
    let (mut frames, mut out) = (Frames::default(), Vec::new());
    frames.take(octets, &mut out, super::outgoing);
    out
}

/// The properties of one header frame, as the library reads them.
fn properties(frame: &[u8]) -> lapin::BasicProperties {
    let (rest, read) = parse_properties(&payload(frame)[HEADER_START..]).expect("it can be read");
    assert!(rest.is_empty());
    read
}

#[test]
fn what_is_good_passes_as_it_is() {
    let table = [short(b"k"), b"S\0\0\0\x02\xff\xfe".to_vec()].concat();
    let mut written = short("text/plän".as_bytes());
    put_long(&mut written, &table);
    let good = [
        b"AMQP\0\0\x09\x01".to_vec(),
        deliver(b"challenge"),
        header(1 << 15 | 1 << 13, &written),
        frame(3, 1, b"\xff\xfebody"),
        frame(8, 0, b""),
    ]
    .concat();
    assert_eq!(incoming(&good), good);
    assert_eq!(outgoing(&good), good);
}

#[test]
fn a_string_of_a_method_keeps_its_length() {
    assert_eq!(incoming(&deliver(b"ch\xff\xfeal\xc3")), deliver(b"ch??al?"));
}

#[test]
fn a_correlation_id_of_any_octets_passes_the_library_and_comes_back() {
    let id: Vec<u8> = (0..=254).rev().collect();
    let came = header(1 << 10, &short(&id));
    let mended = incoming(&came);
    let read = properties(&mended);
    assert_eq!(read.correlation_id(), &None);
    let text = crate::broker::octets::correlation_id(&read)
        .unwrap()
        .into_owned();
    // The library writes the entry as it read it.
    let gone = outgoing(&mended);
    assert_eq!(gone, came);
    assert_eq!(crate::broker::octets::from_text(&text).as_ref(), &id[..]);
}

/// No queue has such a name, and none of those that look alike may be taken for it.
#[test]
fn a_reply_queue_that_is_no_text_is_told_as_such() {
    let read = |name: &[u8]| properties(&incoming(&header(1 << 9, &short(name))));
    let broken = read(b"answers-\xff");
    assert_eq!(crate::broker::octets::reply_to(&broken), Err(NoText));
    let sound = read("answers-é".as_bytes());
    assert_eq!(
        crate::broker::octets::reply_to(&sound),
        Ok(Some("answers-é"))
    );
}

#[test]
fn nobody_else_names_an_entry_like_ours() {
    let mut entry = short(CORRELATION_ID.as_bytes());
    entry.push(b'S');
    put_long(&mut entry, b"forged");
    let mut table = Vec::new();
    put_long(&mut table, &entry);
    assert_eq!(incoming(&header(1 << 13, &table)), header(0, &[]));
}

#[test]
fn deep_tables_go_and_the_delivery_count_stays() {
    let mut nested = Vec::new();
    for _ in 0..10_000 {
        let mut outer = vec![b'A'];
        put_long(&mut outer, &nested);
        nested = outer;
    }
    let mut table = [short(b"deep"), nested].concat();
    table.extend_from_slice(&short(DELIVERY_COUNT));
    table.extend_from_slice(b"l\0\0\0\0\0\0\0\x05");
    let mut written = Vec::new();
    put_long(&mut written, &table);
    let read = properties(&incoming(&header(1 << 13, &written)));
    let headers = read.headers().as_ref().unwrap();
    assert_eq!(headers.inner().len(), 1);
    assert!(headers.contains_key("x-delivery-count"));
}

/// Whoever sent it agreed on longer frames with the broker than we did.
#[test]
fn a_header_that_is_too_long_goes_without_its_table() {
    for size in [200_000, LONGEST, 3 * LONGEST] {
        let mut table = short(b"k");
        table.push(b'x');
        put_long(&mut table, &vec![7; size]);
        let mut written = Vec::new();
        put_long(&mut written, &table);
        written.extend_from_slice(&short(b"id-1"));
        let long = header(1 << 13 | 1 << 10, &written);
        let stream = [
            deliver(b"a"),
            long.clone(),
            frame(3, 1, b"body!"),
            deliver(b"b"),
        ]
        .concat();
        let kept = if long.len() <= LONGEST {
            header(1 << 10, &short(b"id-1"))
        } else {
            header(0, &[])
        };
        let expected = [deliver(b"a"), kept, frame(3, 1, b"body!"), deliver(b"b")].concat();
        for cut in [1, 19, 20, 4_096, usize::MAX] {
            let (mut frames, mut mender, mut out) =
                (Frames::default(), Incoming::new(131_072), Vec::new());
            for part in stream.chunks(cut.min(stream.len())) {
                frames.take(part, &mut out, |frame, out| mender.rewrite(frame, out));
            }
            assert_eq!(out, expected, "{size} in parts of {cut}");
        }
    }
}

#[test]
fn the_broker_s_version_is_read_from_its_greeting() {
    for (text, major) in [("3.10.8", Some(3)), ("4.3.0", Some(4)), ("x", None)] {
        let mut table = VERSION.to_vec();
        put_long(&mut table, text.as_bytes());
        let mut start = vec![0, 10, 0, 10, 0, 9];
        put_long(&mut start, &table);
        let (mut greeting, mut out) = (Incoming::new(LONGEST), Vec::new());
        greeting.rewrite(&frame(METHOD, 0, &start), &mut out);
        assert_eq!(greeting.version, major);
        assert_eq!(out, frame(METHOD, 0, &start));
    }
}

/// A value of a table: mostly well-formed, of any octets, nested now and then.
fn any_value() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        any::<Vec<u8>>().prop_map(|octets| {
            let mut value = vec![b'S'];
            put_long(&mut value, &octets);
            value
        }),
        any::<[u8; 8]>().prop_map(|octets| [&b"l"[..], &octets].concat()),
        any::<u8>().prop_map(|octet| vec![b't', octet]),
        Just(vec![b'V']),
        any::<[u8; 3]>().prop_map(Vec::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        (
            proptest::collection::vec((any_short(), inner), 0..4),
            any::<bool>(),
        )
            .prop_map(|(entries, named)| {
                let mut inside = Vec::new();
                for (name, value) in entries {
                    if named {
                        inside.extend_from_slice(&short(&name));
                    }
                    inside.extend_from_slice(&value);
                }
                let mut value = vec![if named { b'F' } else { b'A' }];
                put_long(&mut value, &inside);
                value
            })
    })
}

fn any_short() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..=255),
        "\\PC{0,20}".prop_map(|text| text.into_bytes()),
    ]
}

prop_compose! {
    fn any_header()(
        flags in any::<u16>(),
        strings in proptest::collection::vec(any_short(), 14),
        entries in proptest::collection::vec((any_short(), any_value()), 0..4),
        more in prop_oneof![4 => Just(Vec::new()), 1 => any::<Vec<u8>>()],
    ) -> (Option<Vec<u8>>, Vec<u8>) {
        let mut written = Vec::new();
        for (place, kind) in PROPERTIES.bytes().enumerate() {
            match kind {
                _ if flags & (1 << (15 - place)) == 0 => {}
                b's' => written.extend_from_slice(&short(&strings[place])),
                b't' => {
                    let table: Vec<u8> =
                        entries.iter().flat_map(|(name, value)| [short(name), value.clone()].concat()).collect();
                    put_long(&mut written, &table);
                }
                b'L' => written.extend_from_slice(&[0; 8]),
                _ => written.push(1),
            }
        }
        written.extend_from_slice(&more);
        let id = flags & (1 << 10) != 0;
        (id.then(|| strings[PLACE_CORRELATION_ID].clone()), header(flags, &written))
    }
}

proptest! {
    /// The library reads whatever comes, the correlation id is what was sent, and no cut of the stream changes that.
    #[test]
    fn any_header_can_be_read_and_any_cut_gives_the_same((id, came) in any_header(), cuts in proptest::collection::vec(1_usize..60, 1..40)) {
        let stream = [deliver(b"a\xffb"), came, frame(3, 1, b"body!"), deliver(b"x")].concat();
        let whole = incoming(&stream);
        let at = deliver(b"a?b").len();
        let size = HEAD + u32::from_be_bytes(whole[at + 3..at + HEAD].try_into().unwrap()) as usize + 1;
        let read = properties(&whole[at..at + size]);
        let text = crate::broker::octets::correlation_id(&read).map(|text| crate::broker::octets::from_text(&text).into_owned());
        prop_assert_eq!(text, id);
        prop_assert!(whole.ends_with(&[frame(3, 1, b"body!"), deliver(b"x")].concat()));

        let (mut frames, mut mender, mut out) = (Frames::default(), Incoming::new(LONGEST), Vec::new());
        let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            frames.take(now, &mut out, |frame, out| mender.rewrite(frame, out));
            rest = later;
        }
        prop_assert_eq!(out, whole);
    }

    /// No octets stop the machine.
    #[test]
    fn any_octets_are_survived(octets in any::<Vec<u8>>()) {
        incoming(&octets);
        outgoing(&octets);
        let (mut from_broker, mut out) = (Incoming::new(LONGEST), Vec::new());
        for kind in [METHOD, HEADER] {
            from_broker.rewrite(&frame(kind, 1, &octets), &mut out);
            super::outgoing(&frame(kind, 1, &octets), &mut out);
        }
    }
}
