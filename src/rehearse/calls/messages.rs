//! What is read of SIP messages on their way, without either end's codec.

/// `INVITE`, `180 Ringing`: what a line of the trace says of a message.
pub fn first_line(bytes: &[u8]) -> &str {
    let text = text(bytes);
    let line = text.lines().next().unwrap_or_default();
    match line.strip_prefix("SIP/2.0 ") {
        Some(status) => status,
        None => line.split(' ').next().unwrap_or_default(),
    }
}

pub fn asks_for_credentials(bytes: &[u8]) -> bool {
    let status = first_line(bytes);
    status.starts_with("401") || status.starts_with("407")
}

pub fn call_id(bytes: &[u8]) -> Option<&str> {
    header(bytes, "Call-ID")
}

/// The value of this header, where it stands in its long form.
pub fn header<'a>(bytes: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = text(bytes).lines().take_while(|line| !line.is_empty());
    let mut values = lines.filter_map(|line| {
        let (known, value) = line.split_once(':')?;
        known.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    values.next()
}

/// Who is called, as the Request-URI writes it.
pub fn called(bytes: &[u8]) -> &str {
    let uri = text(bytes).split(' ').nth(1).unwrap_or_default();
    let user = uri.strip_prefix("sip:").unwrap_or_default();
    user.split('@').next().unwrap_or_default()
}

/// Where the offer wants its audio.
pub fn audio_port(bytes: &[u8]) -> u16 {
    let mut lines = text(bytes).lines();
    let port = lines.find_map(|line| line.strip_prefix("m=audio ")?.split(' ').next());
    port.and_then(|port| port.parse().ok()).unwrap_or_default()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}
