//! Files that are read whole: regular ones only, and not beyond a bound. To open a FIFO waits until somebody writes into
//! it, perhaps for ever; a device may never end.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::unix::fs::FileTypeExt,
    path::Path,
};

use crate::telemetry::descriptors;

/// Largest file that is read where nothing else is said: far above any certificate chain or key.
const MOST: u64 = 16 << 20;

/// Why there is no content of a file.
#[derive(Debug, thiserror::Error)]
pub enum ReadFault {
    #[error("{}", descriptors::words(.0))]
    System(#[from] io::Error),
    /// What it is instead.
    #[error("is not a file, but {0}")]
    NoFile(&'static str),
    #[error("is larger than {} KiB", .0 / 1024)]
    TooLarge(u64),
}

/// A file whole, of so many octets at most.
pub fn octets(path: &Path, most: u64) -> Result<Vec<u8>, ReadFault> {
    check(path)?;
    let mut octets = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut octets)?;
    match octets.len() as u64 > most {
        true => Err(ReadFault::TooLarge(most)),
        false => Ok(octets),
    }
}

pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    Ok(octets(path, MOST)?)
}

pub fn read_text(path: &Path) -> io::Result<String> {
    let not_text = |_| io::Error::new(ErrorKind::InvalidData, "is not UTF-8 text");
    String::from_utf8(read(path)?).map_err(not_text)
}

/// Is it a regular file?
pub fn check(path: &Path) -> Result<(), ReadFault> {
    let kind = fs::metadata(path)?.file_type();
    Err(ReadFault::NoFile(match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }))
}

impl From<ReadFault> for io::Error {
    fn from(fault: ReadFault) -> io::Error {
        match fault {
            // Whoever shows it names the cause.
            ReadFault::System(error) if descriptors::exhausted(&error) => {
                io::Error::new(error.kind(), descriptors::words(&error))
            }
            ReadFault::System(error) => error,
            ReadFault::NoFile(_) => io::Error::new(ErrorKind::InvalidInput, fault),
            ReadFault::TooLarge(_) => io::Error::new(ErrorKind::InvalidData, fault),
        }
    }
}
