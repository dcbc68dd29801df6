//! Which RabbitMQ it is, from its greeting: the AMQP client keeps that to itself.
//!
//! It decides one thing, and that one loses messages: "no delivery limit" is -1 from 4.0 on, and nothing at all before.
//! A 3.10 takes the -1 as it stands and drops every message that it should deliver a second time.

use std::time::Duration;

use lapin::uri::{AMQPScheme, AMQPUri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    carrier::connect::connect,
    config::{
        carrier::{Carry, Endpoint},
        settings::Amqp,
    },
};

/// The major version; None where it can't be found out.
pub(super) async fn major(amqp: &Amqp) -> Option<u32> {
    let uri: AMQPUri = amqp.url.read().ok()?.parse().ok()?;
    let endpoint = Endpoint {
        carry: match uri.scheme {
            AMQPScheme::AMQP => Carry::Tcp,
            AMQPScheme::AMQPS => Carry::Tls,
        },
        host: uri.authority.host.as_str().into(),
        port: uri.authority.port,
    };
    tokio::time::timeout(GREETING, async {
        let mut stream = connect(&endpoint, &amqp.tls, GREETING).await.ok()?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await.ok()?;
        stream.flush().await.ok()?;
        // A frame's head: type, channel, size.
        let mut head = [0; 7];
        stream.read_exact(&mut head).await.ok()?;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let mut start = vec![0; usize::try_from(size).ok().filter(|size| *size <= LONGEST)?];
        stream.read_exact(&mut start).await.ok()?;
        version(&start)
    })
    .await
    .ok()?
}

/// From `connection.start`: the server property `version`, a long string.
fn version(start: &[u8]) -> Option<u32> {
    let at = start
        .windows(NAME.len())
        .position(|octets| octets == NAME)?
        + NAME.len();
    let size = u32::from_be_bytes(start.get(at..at + 4)?.try_into().ok()?);
    let text = start.get(at + 4..)?.get(..usize::try_from(size).ok()?)?;
    std::str::from_utf8(text)
        .ok()?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// The property's name and type as they stand in a field table.
const NAME: &[u8] = b"\x07versionS";
const GREETING: Duration = Duration::from_secs(5);
/// No greeting is longer.
const LONGEST: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_major_version_is_read_and_nothing_else_taken_for_it() {
        assert_eq!(
            version(b"..\x07productS\0\0\0\x08RabbitMQ\x07versionS\0\0\0\x063.10.8more"),
            Some(3)
        );
        assert_eq!(version(b"\x07versionS\0\0\0\x054.3.0"), Some(4));
        for bad in [
            &b""[..],
            b"\x07versionS",
            b"\x07versionS\0\0\0\xff4.3",
            b"\x07versionS\0\0\0\x01x",
        ] {
            assert_eq!(version(bad), None);
        }
    }
}
