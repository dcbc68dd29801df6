//! Files that are read whole: regular ones only, and not beyond a bound. To open a FIFO waits until somebody writes into
//! it, perhaps for ever; a device may never end.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    os::unix::fs::FileTypeExt,
    path::Path,
};

/// Largest file that is read: far above any certificate chain or key.
pub const MOST: u64 = 16 << 20;

pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    check(path)?;
    let mut octets = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > MOST {
        let reason = format!("is larger than {} MiB", MOST >> 20);
        return Err(io::Error::new(ErrorKind::InvalidData, reason));
    }
    Ok(octets)
}

pub fn read_text(path: &Path) -> io::Result<String> {
    let not_text = |_| io::Error::new(ErrorKind::InvalidData, "is not UTF-8 text");
    String::from_utf8(read(path)?).map_err(not_text)
}

/// An error that says what it is instead of a regular file.
pub fn check(path: &Path) -> io::Result<()> {
    let kind = fs::metadata(path)?.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    let reason = format!("is {what}, not a regular file; put one in its place");
    Err(io::Error::new(ErrorKind::InvalidInput, reason))
}
