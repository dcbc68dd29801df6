//! AMQP 0-9-1 by hand, for strings that no client library writes or reads.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use crate::world::LIMIT;

/// One connection with one channel.
pub struct Raw(TcpStream);

/// A message: its properties as they stand after the flags, and the body.
pub struct Message {
    pub properties: Vec<u8>,
    pub body: Vec<u8>,
}

/// Flags of the class basic's properties.
pub const HEADERS: u16 = 1 << 13;
pub const CORRELATION_ID: u16 = 1 << 10;
pub const REPLY_TO: u16 = 1 << 9;

pub fn short(text: &[u8]) -> Vec<u8> {
    let size = u8::try_from(text.len()).expect("a short string");
    [&[size][..], text].concat()
}

pub fn long(octets: &[u8]) -> Vec<u8> {
    let size = u32::try_from(octets.len()).expect("a long string");
    [&size.to_be_bytes()[..], octets].concat()
}

impl Raw {
    /// `amqp://user:password@host:port/vhost`
    pub fn at(url: &str) -> Raw {
        let rest = url.strip_prefix("amqp://").expect("amqp");
        let (login, rest) = rest.split_once('@').expect("a login");
        let (address, vhost) = rest.split_once('/').expect("a vhost");
        let (user, password) = login.split_once(':').expect("a password");
        let stream = TcpStream::connect(address).expect("the broker");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut raw = Raw(stream);
        raw.0.write_all(b"AMQP\0\0\x09\x01").expect("written");
        raw.expect(10, 10);
        let plain = long(format!("\0{user}\0{password}").as_bytes());
        let ok = [long(b""), short(b"PLAIN"), plain, short(b"en_US")].concat();
        raw.method(0, (10, 11), &ok);
        let tune = raw.expect(10, 30);
        raw.method(0, (10, 31), &[&tune[..6], &[0, 0]].concat());
        raw.method(
            0,
            (10, 40),
            &[short(vhost.as_bytes()), short(b""), vec![0]].concat(),
        );
        raw.expect(10, 41);
        raw.method(1, (20, 10), &short(b""));
        raw.expect(20, 11);
        raw
    }

    /// A queue of this name, exclusive to the connection.
    pub fn queue(&mut self, name: &[u8]) {
        let arguments = [&[0, 0][..], &short(name), &[0b0100], &long(b"")].concat();
        self.method(1, (50, 10), &arguments);
        self.expect(50, 11);
    }

    pub fn publish(&mut self, exchange: &str, key: &[u8], flags: u16, message: &Message) {
        let publish = [&[0, 0][..], &short(exchange.as_bytes()), &short(key), &[0]].concat();
        self.method(1, (60, 40), &publish);
        let size = u64::try_from(message.body.len()).expect("a size");
        let header = [
            &[0, 60, 0, 0][..],
            &size.to_be_bytes(),
            &flags.to_be_bytes(),
            &message.properties,
        ];
        self.frame(2, 1, &header.concat());
        if !message.body.is_empty() {
            self.frame(3, 1, &message.body);
        }
    }

    /// The next message of a queue: flags, properties, body.
    pub fn get(&mut self, queue: &[u8]) -> (u16, Message) {
        loop {
            let get = [&[0, 0][..], &short(queue), &[1]].concat();
            self.method(1, (60, 70), &get);
            let (_, answer) = self.read();
            if answer[..4] == [0, 60, 0, 72] {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            assert_eq!(answer[..4], [0, 60, 0, 71], "get-ok");
            let (_, header) = self.read();
            let size = u64::from_be_bytes(header[4..12].try_into().expect("a size"));
            let body = match size {
                0 => Vec::new(),
                _ => self.read().1,
            };
            let flags = u16::from_be_bytes([header[12], header[13]]);
            let properties = header[14..].to_vec();
            return (flags, Message { properties, body });
        }
    }

    fn method(&mut self, channel: u16, (class, method): (u16, u16), arguments: &[u8]) {
        let id = [class.to_be_bytes(), method.to_be_bytes()].concat();
        self.frame(1, channel, &[&id[..], arguments].concat());
    }

    fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) {
        let head = [&[kind][..], &channel.to_be_bytes()].concat();
        let frame = [&head[..], &long(payload), &[0xCE]].concat();
        self.0.write_all(&frame).expect("written");
    }

    /// The arguments of the next method, which must be this one.
    fn expect(&mut self, class: u16, method: u16) -> Vec<u8> {
        let (_, payload) = self.read();
        let id = [class.to_be_bytes(), method.to_be_bytes()].concat();
        let text = String::from_utf8_lossy(&payload);
        assert_eq!(payload[..4], id, "{text}");
        payload[4..].to_vec()
    }

    fn read(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 7];
        self.0.read_exact(&mut head).expect("a frame");
        let size = u32::from_be_bytes(head[3..].try_into().expect("a size"));
        let mut payload = vec![0; size as usize + 1];
        self.0.read_exact(&mut payload).expect("a whole frame");
        payload.pop();
        (head[0], payload)
    }
}
