//! The floor of calls: a minimal caller over UDP. INVITE, ACK, BYE from fixed texts; nothing goes again, nothing is kept.

use std::{
    io::Write,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use super::{Result, process};

/// Makes `count` calls, a bounded number at a time, and says as one line what they took.
pub fn floor(trunk: SocketAddr, count: usize) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(trunk)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let own = socket.local_addr()?;
    let (mut begun, mut done, mut buffer) = (0, 0, [0u8; 4_096]);
    let started = Instant::now();
    while done < count {
        while begun < count && begun - done < ABREAST {
            socket.send(invite(own, trunk, begun).as_bytes())?;
            begun += 1;
        }
        let length = socket.recv(&mut buffer)?;
        let Ok(text) = std::str::from_utf8(&buffer[..length]) else {
            continue;
        };
        let is_200 = text.starts_with("SIP/2.0 200");
        let line = |name: &str| text.lines().find(|l| l.starts_with(name)).unwrap_or("");
        let number = line("Call-ID: floor-")
            .trim_start_matches("Call-ID: floor-")
            .to_owned();
        if is_200 && line("CSeq: ").contains("INVITE") {
            let to = line("To: ").to_owned();
            socket.send(within("ACK", own, trunk, &number, &to, 1).as_bytes())?;
            socket.send(within("BYE", own, trunk, &number, &to, 2).as_bytes())?;
        } else if is_200 {
            done += 1;
        }
    }
    say(count, started.elapsed())
}

/// What a part measured of itself: calls, seconds, microseconds of CPU per call.
pub fn say(count: usize, took: Duration) -> Result<()> {
    let cpu = process::cpu(std::process::id())?.as_secs_f64() * 1e6 / count as f64;
    let mut out = std::io::stdout();
    writeln!(out, "{count} {} {cpu}", took.as_secs_f64())?;
    Ok(out.flush()?)
}

fn invite(own: SocketAddr, trunk: SocketAddr, n: usize) -> String {
    let offer = format!(
        "v=0\r\no=- {n} 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 19000 RTP/AVP 0 101\r\n\
         a=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
    );
    let to = format!("To: <sip:+12025550123@{trunk}>");
    let head = head("INVITE", own, trunk, &n.to_string(), &to, 1);
    format!(
        "{head}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{offer}",
        offer.len()
    )
}

fn within(
    method: &str,
    own: SocketAddr,
    trunk: SocketAddr,
    n: &str,
    to: &str,
    cseq: u32,
) -> String {
    format!(
        "{}Content-Length: 0\r\n\r\n",
        head(method, own, trunk, n, to, cseq)
    )
}

fn head(method: &str, own: SocketAddr, trunk: SocketAddr, n: &str, to: &str, cseq: u32) -> String {
    format!(
        "{method} sip:+12025550123@{trunk} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{method}{n}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:+18553308653@{own}>;tag=f{n}\r\n{to}\r\nCall-ID: floor-{n}\r\n\
         CSeq: {cseq} {method}\r\nContact: <sip:floor@{own}>\r\n"
    )
}

/// Calls at a time.
pub const ABREAST: usize = 64;
