//! A caller of a few lines: what a test needs to be the gateway for a moment.

use super::speaker::{Speaker, packet};
use simulators::trunk::g711::Law;
use simulators::trunk::md5::hex_of;
use simulators::trunk::rtp::FRAME;
use simulators::trunk::sdp::Offer;
use simulators::trunk::sip::{Message, Start, param};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// A signalling address of the caller's.
pub struct Caller {
    socket: Socket,
    local: SocketAddr,
    remote: SocketAddr,
    count: u32,
    inbox: VecDeque<Message>,
}

enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream, Vec<u8>),
}

/// One call; a clone is the same call.
#[derive(Clone)]
pub struct Call {
    number: String,
    pub to: String,
    pub last: Message,
    call_id: String,
    branch: String,
    cseq: u32,
    invite: String,
    media: Arc<UdpSocket>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Tone {
    Speech,
    Silence,
}

impl Caller {
    pub async fn to(remote: SocketAddr, tcp: bool) -> Caller {
        let (socket, local) = if tcp {
            let stream = TcpStream::connect(remote).await.unwrap();
            let local = stream.local_addr().unwrap();
            (Socket::Tcp(stream, Vec::new()), local)
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let local = socket.local_addr().unwrap();
            (Socket::Udp(socket), local)
        };
        Caller {
            socket,
            local,
            remote,
            count: 0,
            inbox: VecDeque::new(),
        }
    }

    pub async fn send(&mut self, bytes: Vec<u8>) {
        match &mut self.socket {
            Socket::Udp(socket) => drop(socket.send_to(&bytes, self.remote).await),
            Socket::Tcp(stream, _) => stream.write_all(&bytes).await.unwrap(),
        }
    }

    /// The next message that `wanted` says yes to; others wait for somebody else.
    pub async fn next(&mut self, wanted: impl Fn(&Message) -> bool) -> Option<Message> {
        if let Some(at) = self.inbox.iter().position(&wanted) {
            return self.inbox.remove(at);
        }
        loop {
            let message = timeout(Duration::from_secs(10), self.read()).await.ok()?;
            if wanted(&message) {
                return Some(message);
            }
            self.inbox.push_back(message);
        }
    }

    async fn read(&mut self) -> Message {
        loop {
            match &mut self.socket {
                Socket::Udp(socket) => {
                    let mut buffer = [0; 65_536];
                    if let Ok((length, _)) = socket.recv_from(&mut buffer).await {
                        return Message::datagram(&buffer[..length]).unwrap();
                    }
                }
                Socket::Tcp(stream, buffer) => {
                    if let Some((message, used)) = Message::from_stream(buffer).unwrap() {
                        buffer.drain(..used);
                        return message;
                    }
                    assert_ne!(
                        stream.read_buf(buffer).await.unwrap(),
                        0,
                        "the trunk closed the connection"
                    );
                }
            }
        }
    }

    pub async fn nothing_comes(&mut self, within: Duration) -> bool {
        self.inbox.is_empty() && timeout(within, self.read()).await.is_err()
    }

    /// An OPTIONS to a closed port is refused by ICMP.
    pub async fn is_refused(&mut self, limit: Duration) -> bool {
        let probe = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        probe.connect(self.remote).await.unwrap();
        let begun = Instant::now();
        while begun.elapsed() < limit {
            let _ = probe.send(b"\r\n\r\n").await;
            let mut buffer = [0; 16];
            let read = timeout(Duration::from_millis(50), probe.recv(&mut buffer)).await;
            let refused = matches!(read, Ok(Err(fault)) if fault.kind() == std::io::ErrorKind::ConnectionRefused);
            if refused && TcpStream::connect(self.remote).await.is_err() {
                return true;
            }
        }
        false
    }

    pub async fn is_back(&mut self, limit: Duration) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if TcpStream::connect(self.remote).await.is_ok() {
                return matches!(
                    self.ask("OPTIONS").await.start,
                    Start::Response { status: 200 }
                );
            }
            tokio::task::yield_now().await;
        }
        false
    }

    fn word(&mut self) -> String {
        self.count += 1;
        format!("{}x{}", self.local.port(), self.count)
    }

    fn via(&self, branch: &str) -> String {
        let transport = if matches!(self.socket, Socket::Udp(_)) {
            "UDP"
        } else {
            "TCP"
        };
        format!(
            "Via: SIP/2.0/{transport} {};branch=z9hG4bK{branch};rport\r\nMax-Forwards: 70\r\n",
            self.local
        )
    }

    /// A request outside of any call.
    pub async fn ask(&mut self, method: &str) -> Message {
        let word = self.word();
        let text = format!(
            "{method} sip:{0} SIP/2.0\r\n{1}From: <sip:t@{0}>;tag=f\r\nTo: <sip:{0}>\r\nCall-ID: {word}\r\nCSeq: 1 {method}\r\nContent-Length: 0\r\n\r\n",
            self.remote,
            self.via(&word)
        );
        self.send(text.into_bytes()).await;
        self.next(|message| message.first("call-id") == Some(&word))
            .await
            .unwrap()
    }

    pub async fn invite(&mut self, number: &str, more: impl Fn(&mut Vec<String>)) -> Call {
        let media = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let mut extra = Vec::new();
        more(&mut extra);
        let call_id = self.word();
        let mut call = Call {
            number: number.into(),
            to: format!("<sip:{number}@{}>", self.remote),
            last: Message {
                start: Start::Response { status: 100 },
                headers: Vec::new(),
                body: Vec::new(),
            },
            branch: call_id.clone(),
            call_id,
            cseq: 0,
            invite: String::new(),
            media,
        };
        call.send_invite(self, &extra).await;
        call
    }
}

impl Call {
    async fn send_invite(&mut self, caller: &mut Caller, extra: &[String]) {
        self.branch = caller.word();
        self.cseq += 1;
        let port = self.media.local_addr().unwrap().port();
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
        );
        let mut lines = self.head(caller, "INVITE", &self.branch);
        lines += &format!("Contact: <sip:gw@{}>\r\n", caller.local);
        for line in extra {
            lines += &format!("{line}\r\n");
        }
        self.invite = format!(
            "{lines}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
            sdp.len()
        );
        self.repeat(caller).await;
    }

    fn head(&self, caller: &Caller, method: &str, branch: &str) -> String {
        format!(
            "{method} sip:{}@{} SIP/2.0\r\n{}From: \"MFA\" <sip:+18553308653@gw>;tag=f\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: {} {}\r\n",
            self.number,
            caller.remote,
            caller.via(branch),
            self.to,
            self.call_id,
            self.cseq,
            method
        )
    }

    /// The INVITE again, octet by octet.
    pub async fn repeat(&mut self, caller: &mut Caller) {
        caller.send(self.invite.clone().into_bytes()).await;
    }

    /// A new INVITE of the same call, with credentials.
    pub async fn again(&self, caller: &mut Caller, authorization: &str) -> Call {
        let mut call = self.clone();
        call.to = format!("<sip:{}@{}>", self.number, caller.remote);
        call.send_invite(caller, &[authorization.to_owned()]).await;
        call
    }

    /// Answers the challenge received last.
    pub fn authorization(&self, username: &str, password: &str) -> String {
        let proxy = self.last.first("proxy-authenticate");
        let challenge = proxy.or(self.last.first("www-authenticate")).unwrap();
        let field = |name: &str| {
            challenge
                .split(&format!("{name}=\""))
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap()
        };
        let (realm, nonce) = (field("realm"), field("nonce"));
        let uri = self.invite.split(' ').nth(1).unwrap();
        let secret = hex_of(&[username, realm, password]);
        let response = hex_of(&[
            &secret,
            nonce,
            "00000001",
            "c",
            "auth",
            &hex_of(&["INVITE", uri]),
        ]);
        let header = if proxy.is_some() {
            "Proxy-Authorization"
        } else {
            "Authorization"
        };
        format!(
            "{header}: Digest username=\"{username}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", algorithm=MD5, qop=auth, nc=00000001, cnonce=\"c\""
        )
    }

    async fn response(&mut self, caller: &mut Caller, method: &str) -> u16 {
        let id = self.call_id.clone();
        let wanted = |message: &Message| {
            let cseq = message.first("cseq").unwrap_or_default();
            let ours = message.first("call-id") == Some(&id) && cseq.ends_with(method);
            ours && matches!(message.start, Start::Response { .. })
        };
        let message = caller.next(wanted).await.expect("an answer in time");
        let Start::Response { status } = message.start else {
            unreachable!()
        };
        if method == "INVITE" {
            self.to = message.first("to").unwrap().to_owned();
            assert_eq!(param(&self.to, "tag").is_some(), status > 100);
            self.last = message;
        }
        status
    }

    /// The next answer to the INVITE.
    pub async fn status(&mut self, caller: &mut Caller) -> u16 {
        self.response(caller, "INVITE").await
    }

    /// The answers up to the final one.
    pub async fn statuses(&mut self, caller: &mut Caller) -> Vec<u16> {
        let mut all = Vec::new();
        while all.last().is_none_or(|last| *last < 200) {
            all.push(self.status(caller).await);
        }
        all
    }

    pub async fn ack(&mut self, caller: &mut Caller) {
        let refused = matches!(self.last.start, Start::Response { status: 300.. });
        let branch = if refused {
            self.branch.clone()
        } else {
            caller.word()
        };
        let text = self.head(caller, "ACK", &branch) + "Content-Length: 0\r\n\r\n";
        caller.send(text.into_bytes()).await;
    }

    pub async fn cancel(&mut self, caller: &mut Caller) {
        let to = std::mem::replace(
            &mut self.to,
            format!("<sip:{}@{}>", self.number, caller.remote),
        );
        let text = self.head(caller, "CANCEL", &self.branch) + "Content-Length: 0\r\n\r\n";
        self.to = to;
        caller.send(text.into_bytes()).await;
        assert_eq!(self.response(caller, "CANCEL").await, 200);
    }

    pub async fn bye(&mut self, caller: &mut Caller) {
        self.bye_as(caller, 200).await;
    }

    pub async fn bye_as(&mut self, caller: &mut Caller, wanted: u16) {
        self.cseq += 1;
        let branch = caller.word();
        let text = self.head(caller, "BYE", &branch) + "Content-Length: 0\r\n\r\n";
        caller.send(text.into_bytes()).await;
        assert_eq!(self.response(caller, "BYE").await, wanted);
    }

    pub fn answer_sdp(&self) -> String {
        String::from_utf8_lossy(&self.last.body).into_owned()
    }

    /// Speak until `enough` keys were heard: their names, `tones` for a dual tone.
    pub async fn talk(&self, tone: Tone, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        let mut speaker = Speaker::new(self, tone);
        while !enough(&speaker.keys) {
            speaker.frame().await;
        }
        speaker.keys
    }

    /// Speak until a request comes from the far end.
    pub async fn talk_until_request(&self, caller: &mut Caller) -> Message {
        self.talk_with(Tone::Speech, caller).await
    }

    pub async fn talk_with(&self, tone: Tone, caller: &mut Caller) -> Message {
        let mut speaker = Speaker::new(self, tone);
        let speaking = async {
            loop {
                speaker.frame().await;
            }
        };
        tokio::select! {
            request = caller.next(|message| matches!(message.start, Start::Request { .. })) => request.unwrap(),
            () = speaking => unreachable!(),
        }
    }

    /// Play recordings with pauses after them, faster than they are.
    pub async fn play(&self, directory: &Path, names: &[&str]) {
        let mut samples = vec![0i16; 1600];
        for name in names {
            let mut file = hound::WavReader::open(directory.join(format!("{name}.wav"))).unwrap();
            samples.extend(file.samples::<i16>().map(Result::unwrap));
            samples.extend([0; 1600]);
        }
        let remote = self.media_remote();
        let mut pace = tokio::time::interval(Duration::from_millis(2));
        for (at, frame) in samples.chunks_exact(FRAME).enumerate() {
            let payload: Vec<u8> = frame.iter().map(|sample| Law::Mu.encode(*sample)).collect();
            pace.tick().await;
            self.media
                .send_to(&packet(at as u32, &payload), remote)
                .await
                .unwrap();
        }
    }

    pub fn media(&self) -> Arc<UdpSocket> {
        self.media.clone()
    }

    pub fn media_remote(&self) -> SocketAddr {
        Offer::read(&self.last.body).unwrap().remote
    }
}
