//! Octets read and written as AMQP 0-9-1 writes strings (4.2.5.3). Pure.

/// At most 255 octets, as everything that came as a short string.
pub(super) fn put_short(out: &mut Vec<u8>, text: &[u8]) {
    let text = &text[..text.len().min(255)];
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

pub(super) fn put_long(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend_from_slice(&(octets.len() as u32).to_be_bytes());
    out.extend_from_slice(octets);
}

/// What has not been read.
pub(super) struct Octets<'a>(pub &'a [u8]);

impl<'a> Octets<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (now, later) = self.0.split_at_checked(count)?;
        self.0 = later;
        Some(now)
    }

    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|octets| octets[0])
    }

    pub fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub fn short(&mut self) -> Option<&'a [u8]> {
        let size = self.u8()?;
        self.take(size.into())
    }

    pub fn long(&mut self) -> Option<&'a [u8]> {
        let size = self.take(4)?.try_into().ok().map(u32::from_be_bytes)?;
        self.take(usize::try_from(size).ok()?)
    }
}

/// Each octet that doesn't belong to UTF-8 becomes a question mark.
pub(super) fn question_marks(text: &mut [u8]) {
    let mut from = 0;
    while let Err(error) = std::str::from_utf8(&text[from..]) {
        from += error.valid_up_to();
        let wrong = error.error_len().unwrap_or(text.len() - from);
        text[from..from + wrong].fill(b'?');
    }
}
