//! Pairs of UDP ports for calls, even for RTP and the next for RTCP (RFC 3550, section 11), taken in turn from the
//! configured range so that a late packet of an ended call seldom meets a new one.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::telemetry::descriptors;

/// The range and where the next search begins.
#[derive(Debug)]
pub(super) struct Ports {
    address: IpAddr,
    first: u16,
    last: u16,
    next: AtomicU32,
}

/// Why a call gets no audio.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}", descriptors::words(.0))]
    NoDescriptor(io::Error),
    #[error(
        "{max_calls} calls have audio open, and no more are allowed; raise max_calls of the carrier"
    )]
    Full { max_calls: usize },
    #[error(
        "no free pair of ports among {first}-{last} on {address} ({last_error}); widen rtp.ports of the carrier, or free them"
    )]
    NoPort {
        address: IpAddr,
        first: u16,
        last: u16,
        last_error: io::Error,
    },
}

impl Ports {
    pub fn new(address: IpAddr, first: u16, last: u16) -> Ports {
        Ports {
            address,
            first,
            last,
            next: AtomicU32::new(0),
        }
    }

    /// Binds the next free pair: RTP, RTCP and the address of RTP. Ports in use elsewhere are passed over.
    pub fn open(&self) -> Result<(UdpSocket, UdpSocket, SocketAddr), OpenError> {
        let even = u32::from(self.first).next_multiple_of(2);
        let pairs = (u32::from(self.last) + 1).saturating_sub(even) / 2;
        let mut last_error = io::Error::other("the range holds no even port with an odd one above");
        for _ in 0..pairs {
            let turn = self.next.fetch_add(1, Ordering::Relaxed) % pairs;
            // Within the range, so within u16.
            let port = (even + 2 * turn) as u16;
            match self.bind_pair(port) {
                Ok(pair) => return Ok(pair),
                // Another port would not help.
                Err(error) if descriptors::exhausted(&error) => {
                    return Err(OpenError::NoDescriptor(error));
                }
                Err(error) => last_error = error,
            }
        }
        Err(OpenError::NoPort {
            address: self.address,
            first: self.first,
            last: self.last,
            last_error,
        })
    }

    fn bind_pair(&self, port: u16) -> io::Result<(UdpSocket, UdpSocket, SocketAddr)> {
        let rtp = UdpSocket::bind((self.address, port))?;
        let rtcp = UdpSocket::bind((self.address, port + 1))?;
        rtp.set_nonblocking(true)?;
        rtcp.set_nonblocking(true)?;
        let local = rtp.local_addr()?;
        Ok((rtp, rtcp, local))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_named_and_not_the_range_of_ports() {
        let full = io::Error::from_raw_os_error(rustix::io::Errno::MFILE.raw_os_error());
        let other = io::Error::from(io::ErrorKind::AddrInUse);
        assert!(descriptors::exhausted(&full) && !descriptors::exhausted(&other));
        let said = OpenError::NoDescriptor(full).to_string();
        assert!(
            said.contains("LimitNOFILE") && !said.contains("rtp.ports"),
            "{said}"
        );
    }
}
