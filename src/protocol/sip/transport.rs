//! Transports of SIP (RFC 3261 18).

use serde::{Deserialize, Serialize};

/// What carries the octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    Udp,
    Tcp,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
        }
    }

    pub(super) fn is_reliable(self) -> bool {
        self == Transport::Tcp
    }
}
