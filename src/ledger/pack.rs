//! What is left of a challenge once it is wiped, in one compressed record: its job, its life, its final, and its reports
//! that were kept for HTTP.
//!
//! `version (1) | length of what is packed (4) | raw DEFLATE (RFC 1951)`; packed are, each after its length (4), job, life,
//! final and, for each report, key (8), seq (4), final (1), until (8) and body. Challenges are short and alike: the
//! words that all of them share stand in a dictionary, which both sides have read before they begin. A dictionary that
//! has been released is never changed; another one is another version. Knows no SQL and no key.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{ReportKey, seal::Unsealable};
use crate::challenge::Millis;

/// As it is packed; empty parts were empty or not there.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Rest {
    pub job: Vec<u8>,
    pub life: Vec<u8>,
    pub last: Vec<u8>,
    pub reports: Vec<RestReport>,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) struct RestReport {
    pub report: ReportKey,
    pub seq: u32,
    pub is_final: bool,
    pub until: Millis,
    pub body: Vec<u8>,
}

private_debug!(Rest, RestReport);

/// Packs; kept, since it is large and cheap to use again.
pub(super) struct Packer {
    compress: Compress,
    plain: Vec<u8>,
    scratch: Vec<u8>,
}

impl Packer {
    pub fn new() -> Packer {
        Packer {
            compress: Compress::new(Compression::new(LEVEL), false),
            plain: Vec::new(),
            scratch: Vec::with_capacity(DICTIONARY.len() * 2 + SLACK),
        }
    }

    /// None: longer than is ever kept.
    pub fn pack(&mut self, rest: &Rest) -> Option<Vec<u8>> {
        self.plain.clear();
        write(rest, &mut self.plain)?;
        self.compress.reset();
        self.scratch.clear();
        // The dictionary's own octets are what the reader begins with, so they need not be kept.
        self.compress
            .compress_vec(DICTIONARY, &mut self.scratch, FlushCompress::Sync)
            .ok()?;
        let mut out = Vec::with_capacity(HEADER + self.plain.len() + SLACK);
        out.push(VERSION);
        out.extend_from_slice(&u32::try_from(self.plain.len()).ok()?.to_le_bytes());
        let ended = self
            .compress
            .compress_vec(&self.plain, &mut out, FlushCompress::Finish);
        self.plain.fill(0);
        matches!(ended, Ok(Status::StreamEnd)).then_some(out)
    }
}

pub(super) fn unpack(packed: &[u8]) -> Result<Rest, Unsealable> {
    match packed.split_first() {
        Some((&VERSION, rest)) => inflate(rest).ok_or(Unsealable::Changed),
        Some((&version, _)) => Err(Unsealable::Version(version)),
        None => Err(Unsealable::Changed),
    }
}

/// What stands behind the version.
fn inflate(rest: &[u8]) -> Option<Rest> {
    let (length, deflated) = rest.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > MOST {
        return None;
    }
    let mut decompress = Decompress::new(false);
    let mut scratch = Vec::with_capacity(DICTIONARY.len() + SLACK);
    // A stored block, not the last one.
    let mut block = vec![0];
    block.extend_from_slice(&(DICTIONARY.len() as u16).to_le_bytes());
    block.extend_from_slice(&(!(DICTIONARY.len() as u16)).to_le_bytes());
    block.extend_from_slice(DICTIONARY);
    decompress
        .decompress_vec(&block, &mut scratch, FlushDecompress::Sync)
        .ok()?;
    let mut plain = Vec::with_capacity(length + 1);
    let ended = decompress.decompress_vec(deflated, &mut plain, FlushDecompress::Finish);
    if !matches!(ended, Ok(Status::StreamEnd)) || plain.len() != length {
        return None;
    }
    read(&plain)
}

fn write(rest: &Rest, out: &mut Vec<u8>) -> Option<()> {
    for part in [&rest.job, &rest.life, &rest.last] {
        put(part, out)?;
    }
    for report in &rest.reports {
        out.extend_from_slice(&report.report.0.to_le_bytes());
        out.extend_from_slice(&report.seq.to_le_bytes());
        out.push(u8::from(report.is_final));
        out.extend_from_slice(&report.until.0.to_le_bytes());
        put(&report.body, out)?;
    }
    (out.len() <= MOST).then_some(())
}

fn put(part: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&u32::try_from(part.len()).ok()?.to_le_bytes());
    out.extend_from_slice(part);
    Some(())
}

fn read(plain: &[u8]) -> Option<Rest> {
    let (job, left) = take(plain)?;
    let (life, left) = take(left)?;
    let (last, mut left) = take(left)?;
    let mut reports = Vec::new();
    while !left.is_empty() {
        let (report, rest) = left.split_first_chunk::<8>()?;
        let (seq, rest) = rest.split_first_chunk::<4>()?;
        let (is_final, rest) = rest.split_first()?;
        let (until, rest) = rest.split_first_chunk::<8>()?;
        let (body, rest) = take(rest)?;
        reports.push(RestReport {
            report: ReportKey(i64::from_le_bytes(*report)),
            seq: u32::from_le_bytes(*seq),
            is_final: *is_final != 0,
            until: Millis(i64::from_le_bytes(*until)),
            body: body.to_vec(),
        });
        left = rest;
    }
    Some(Rest {
        job: job.to_vec(),
        life: life.to_vec(),
        last: last.to_vec(),
        reports,
    })
}

fn take(plain: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = plain.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

const VERSION: u8 = 1;
const HEADER: usize = 5;
/// Bound of what is packed together.
const MOST: usize = 4 << 20;
/// More gained a few octets in a hundred, at twice the time.
const LEVEL: u32 = 6;
/// What an empty or incompressible stream may take beyond its input.
const SLACK: usize = 1_024;
/// At most 32 kB, the least common first.
const DICTIONARY: &[u8] = include_bytes!("pack/dictionary-1.txt");

#[cfg(test)]
mod tests {
    use super::*;

    fn rest() -> Rest {
        let report = |seq: u32| RestReport {
            report: ReportKey(70 + i64::from(seq)),
            seq,
            is_final: seq == 2,
            until: Millis(9),
            body: format!("{{\"v\":1,\"event\":\"sent\",\"seq\":{seq}}}").into_bytes(),
        };
        Rest {
            job: b"a job".to_vec(),
            life: Vec::new(),
            last: b"the last".to_vec(),
            reports: vec![report(1), report(2)],
        }
    }

    #[test]
    fn what_is_packed_comes_back() {
        let mut packer = Packer::new();
        for rest in [rest(), Rest::default(), rest()] {
            let packed = packer.pack(&rest).unwrap();
            assert!(unpack(&packed).unwrap() == rest);
        }
        let noise: Vec<u8> = (0..200_000u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let long = Rest {
            life: noise,
            ..rest()
        };
        let packed = packer.pack(&long).unwrap();
        assert!(unpack(&packed).unwrap() == long);
    }

    #[test]
    fn what_was_changed_or_cut_never_comes_back_as_another() {
        let packed = Packer::new().pack(&rest()).unwrap();
        for end in 0..packed.len() {
            assert!(unpack(&packed[..end]).is_err(), "{end}");
        }
        let mut other = packed.clone();
        other[0] = 2;
        assert!(unpack(&other).err() == Some(Unsealable::Version(2)));
    }

    /// The first version's octets, packed by zlib: what they say must be read for as long as a ledger may hold them.
    #[test]
    fn the_first_version_is_read_for_ever() {
        let packed = hex::decode(include_str!("pack/packed-1.hex").trim()).unwrap();
        assert!(unpack(&packed).unwrap() == rest());
    }
}
