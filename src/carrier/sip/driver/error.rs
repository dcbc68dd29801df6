//! Why a trunk can't start.

use std::{io, net::SocketAddr, sync::Arc};

/// Why a trunk can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("carriers/{0}.toml: not a SIP carrier")]
    NotSip(Arc<str>),
    #[error(
        "carriers/{name}.toml: bind = \"{bind}\": {error}; choose an address of this machine and a free port"
    )]
    Bind {
        name: Arc<str>,
        bind: SocketAddr,
        error: io::Error,
    },
    #[error("carriers/{name}.toml: {setting}: {reason}")]
    Key {
        name: Arc<str>,
        setting: &'static str,
        reason: String,
    },
    #[error("carriers/{name}.toml: rtp: {error}")]
    Media { name: Arc<str>, error: io::Error },
    #[error("the system gives no random numbers")]
    Random,
}
