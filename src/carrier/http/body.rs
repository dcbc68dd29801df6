//! The octets of a body as text: content codings undone under a cap, charsets read. Pure.
//!
//! What arrives labelled wrongly is common: a coding that a gateway on the way has undone, Latin-1 that is called
//! UTF-8. So the octets decide where the label can't be true.

use std::io::Read;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use hyper::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

/// What may stand in `Accept-Encoding`: exactly what is undone here.
pub const CODINGS: &str = "gzip, deflate, br";
/// Codings one around the other.
const MAX_CODINGS: usize = 2;

/// Why a body is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreadable {
    /// The connection ended, or the coding did, before the body did.
    CutOff,
    /// More octets than are taken, before or after decoding.
    TooLong,
    /// A coding that isn't known, or one that its octets are not.
    Coding,
}

/// The text of a body with these headers, of at most `most` octets.
pub fn text(headers: &HeaderMap, octets: &[u8], most: usize) -> Result<String, Unreadable> {
    let plain = decoded(headers, octets, most)?;
    let octets = plain.as_deref().unwrap_or(octets);
    if octets.len() > most {
        return Err(Unreadable::TooLong);
    }
    Ok(read(octets, charset(headers)))
}

/// None: no coding is around it.
fn decoded(headers: &HeaderMap, octets: &[u8], most: usize) -> Result<Option<Vec<u8>>, Unreadable> {
    let named = headers.get_all(CONTENT_ENCODING);
    let mut codings = Vec::new();
    for value in named {
        let value = value.to_str().map_err(|_| Unreadable::Coding)?;
        codings.extend(
            value
                .split(',')
                .map(|coding| coding.trim().to_ascii_lowercase())
                .filter(|coding| !coding.is_empty() && coding != "identity"),
        );
    }
    if codings.len() > MAX_CODINGS {
        return Err(Unreadable::Coding);
    }
    let mut plain: Option<Vec<u8>> = None;
    // The last one named was put around it last (RFC 9110, 8.4).
    for coding in codings.iter().rev() {
        let inside = plain.as_deref().unwrap_or(octets);
        if let Some(undone) = undo(coding, inside, most)? {
            plain = Some(undone);
        }
    }
    Ok(plain)
}

/// None: the octets are not what the label says, but may be text.
fn undo(coding: &str, octets: &[u8], most: usize) -> Result<Option<Vec<u8>>, Unreadable> {
    match coding {
        "gzip" | "x-gzip" if !octets.starts_with(&[0x1f, 0x8b]) => Ok(None),
        "gzip" | "x-gzip" => whole(flate2::read::MultiGzDecoder::new(octets), most).map(Some),
        "br" => whole(brotli_decompressor::Decompressor::new(octets, 4096), most).map(Some),
        // RFC 9110, 8.4.1.2: in the zlib format, though some leave its head away.
        "deflate" => whole(flate2::read::ZlibDecoder::new(octets), most)
            .or_else(|error| match error {
                Unreadable::TooLong => Err(error),
                Unreadable::CutOff | Unreadable::Coding => {
                    whole(flate2::read::DeflateDecoder::new(octets), most)
                }
            })
            .map(Some),
        _ => Err(Unreadable::Coding),
    }
}

/// Reads on until the end, or until it is too much: a small body may hold a very large one.
fn whole(reader: impl Read, most: usize) -> Result<Vec<u8>, Unreadable> {
    let mut plain = Vec::new();
    let most = most as u64;
    match reader.take(most + 1).read_to_end(&mut plain) {
        Ok(_) if plain.len() as u64 > most => Err(Unreadable::TooLong),
        Ok(_) => Ok(plain),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(Unreadable::CutOff),
        Err(_) => Err(Unreadable::Coding),
    }
}

/// The charset that `Content-Type` names, if we know it.
fn charset(headers: &HeaderMap) -> Option<&'static Encoding> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let named = kind.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_it = name.trim().eq_ignore_ascii_case("charset");
        is_it.then(|| value.trim().trim_matches(['"', '\'']))
    })?;
    Encoding::for_label_no_replacement(named.as_bytes())
}

/// A byte order mark decides and is dropped; then UTF-16 that shows itself (RFC 4627, 3: JSON begins with two ASCII
/// characters), then the label, then UTF-8, and what is none of these is Latin-1.
fn read(octets: &[u8], named: Option<&'static Encoding>) -> String {
    if let Some((encoding, length)) = Encoding::for_bom(octets) {
        return lossy(encoding, &octets[length..]);
    }
    match octets {
        [0, second, ..] if *second != 0 => return lossy(UTF_16BE, octets),
        [first, 0, third, ..] if *first != 0 && *third != 0 => return lossy(UTF_16LE, octets),
        _ => {}
    }
    if let Some(encoding) = named
        && encoding != UTF_8
        && encoding != UTF_16LE
        && encoding != UTF_16BE
    {
        return lossy(encoding, octets);
    }
    match std::str::from_utf8(octets) {
        Ok(text) => text.to_owned(),
        Err(_) => lossy(WINDOWS_1252, octets),
    }
}

fn lossy(encoding: &'static Encoding, octets: &[u8]) -> String {
    let (text, _) = encoding.decode_without_bom_handling(octets);
    text.into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write};
    use hyper::header::{HeaderName, HeaderValue};
    use proptest::prelude::*;
    use std::io::Write as _;

    const MOST: usize = 1_000;
    const BODY: &str = r#"{"id":"m-1"}"#;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pair = |(name, value): &(HeaderName, &str)| {
            (name.clone(), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn gzip(octets: &[u8]) -> Vec<u8> {
        let mut packed = write::GzEncoder::new(Vec::new(), Compression::best());
        packed.write_all(octets).unwrap();
        packed.finish().unwrap()
    }

    fn coded(coding: &str, octets: &[u8]) -> Result<String, Unreadable> {
        text(&headers(&[(CONTENT_ENCODING, coding)]), octets, MOST)
    }

    #[test]
    fn codings_are_undone() {
        let zlib = {
            let mut packed = write::ZlibEncoder::new(Vec::new(), Compression::best());
            packed.write_all(BODY.as_bytes()).unwrap();
            packed.finish().unwrap()
        };
        let raw = {
            let mut packed = write::DeflateEncoder::new(Vec::new(), Compression::best());
            packed.write_all(BODY.as_bytes()).unwrap();
            packed.finish().unwrap()
        };
        for (coding, octets) in [
            ("gzip", &gzip(BODY.as_bytes())),
            ("X-GZip", &gzip(BODY.as_bytes())),
            ("deflate", &zlib),
            ("deflate", &raw),
            ("br", &brotli(BODY)),
            ("identity", &BODY.as_bytes().to_vec()),
            ("deflate, gzip", &gzip(&zlib)),
            // The label stayed when the coding was undone on the way.
            ("gzip", &BODY.as_bytes().to_vec()),
        ] {
            assert_eq!(coded(coding, octets).as_deref(), Ok(BODY), "{coding}");
        }
    }

    /// RFC 7932, 9.2: a stream with a window of 16 bits, one uncompressed meta-block, and the last, empty one.
    fn brotli(body: &str) -> Vec<u8> {
        let head = (body.len() as u32 - 1) << 4 | 1 << 20;
        let head = head.to_le_bytes();
        [&head[..3], body.as_bytes(), &[3]].concat()
    }

    #[test]
    fn bombs_cuts_and_unknown_codings_are_unreadable() {
        let bomb = gzip(&vec![b' '; 50_000_000]);
        assert!(bomb.len() < 64 * 1024);
        assert_eq!(coded("gzip", &bomb), Err(Unreadable::TooLong));
        assert_eq!(coded("gzip, gzip", &gzip(&bomb)), Err(Unreadable::TooLong));
        let whole = gzip(BODY.as_bytes());
        let cut = coded("gzip", &whole[..whole.len() - 9]);
        assert_eq!(cut, Err(Unreadable::CutOff));
        for unknown in ["zstd", "compress", "gzip, gzip, gzip"] {
            assert_eq!(coded(unknown, b"{}"), Err(Unreadable::Coding), "{unknown}");
        }
        let long = vec![b' '; MOST + 1];
        assert_eq!(
            text(&HeaderMap::new(), &long, MOST),
            Err(Unreadable::TooLong)
        );
    }

    #[test]
    fn charsets_are_read_by_mark_label_and_shape() {
        let utf_16 = |big: bool, mark: bool| -> Vec<u8> {
            let units = mark
                .then_some(0xfeff)
                .into_iter()
                .chain("\u{7b}é}".encode_utf16());
            units
                .flat_map(|unit| match big {
                    true => unit.to_be_bytes(),
                    false => unit.to_le_bytes(),
                })
                .collect()
        };
        for (label, octets) in [
            ("application/json", b"\xef\xbb\xbf{\xc3\xa9}".to_vec()),
            ("application/json", "{é}".into()),
            ("application/json; charset=utf-8", b"{\xe9}".to_vec()),
            ("application/json", b"{\xe9}".to_vec()),
            ("application/json; charset=ISO-8859-1", b"{\xe9}".to_vec()),
            ("text/json; charset=\"windows-1252\"", b"{\xe9}".to_vec()),
            ("application/json; charset=nonsense", "{é}".into()),
            ("application/json", utf_16(true, true)),
            ("application/json", utf_16(false, true)),
            ("application/json", utf_16(true, false)),
            ("application/json; charset=utf-16le", utf_16(false, false)),
            // Said to be UTF-16, and is not.
            ("application/json; charset=utf-16", "{é}".into()),
        ] {
            let headers = headers(&[(CONTENT_TYPE, label)]);
            assert_eq!(
                text(&headers, &octets, MOST).as_deref(),
                Ok("{é}"),
                "{label}: {octets:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_text_or_not(
            octets in proptest::collection::vec(any::<u8>(), 0..200),
            coding in "(gzip|br|deflate|identity|x)?",
            kind in "(application/json(; charset=(utf-16|latin1|utf-8))?)?",
        ) {
            let headers = headers(&[(CONTENT_ENCODING, &coding), (CONTENT_TYPE, &kind)]);
            if let Ok(text) = text(&headers, &octets, 64) {
                prop_assert!(text.len() <= 64 * 3);
            }
        }
    }
}
