//! File descriptors: every call has two sockets, every session and request one. What the configuration may need is asked of the
//! system at the start, and what was given is said.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{Config, carrier::Transport};

/// Ledger, listeners, broker, threads, and clients of the listeners.
const OURS: u64 = 2_048;
/// Sockets of a call's audio (RTP, RTCP); a call that is settled may still say goodbye while its slot serves another.
const PER_CALL: u64 = 2 * 2;
/// Signalling of a trunk: its own sockets and connections of its peers.
const PER_TRUNK: u64 = 72;

/// How many the configuration may need at once.
pub fn needed(config: &Config) -> u64 {
    let of_carriers = config
        .carriers
        .values()
        .map(|carrier| match &carrier.transport {
            Transport::Smpp(smpp) => u64::from(smpp.binds) * 2,
            Transport::Http(http) => u64::from(http.window) + 1,
            Transport::Sip(sip) => u64::from(sip.max_calls) * PER_CALL + PER_TRUNK,
        });
    OURS + of_carriers.sum::<u64>()
}

/// Asks for as many; more than there are already are never given back.
pub fn ask(config: &Config) {
    let needed = needed(config);
    let before = getrlimit(Resource::Nofile);
    let enough = |limit: Option<u64>| limit.is_none_or(|limit| limit >= needed);
    if !enough(before.current) {
        let wanted = before.maximum.map_or(needed, |most| most.min(needed));
        let asked = Rlimit {
            current: Some(wanted),
            maximum: before.maximum,
        };
        // Refused: what there is is said below.
        let _ = setrlimit(Resource::Nofile, asked);
    }
    let given = getrlimit(Resource::Nofile).current;
    if enough(given) {
        tracing::info!(needed, allowed = given, "file descriptors");
    } else {
        tracing::warn!(
            needed,
            allowed = given,
            "fewer file descriptors than max_calls, windows and binds of the carriers may need: beyond them calls get no audio and connections are refused; raise the limit (LimitNOFILE= of the systemd unit, ulimit -Hn) or lower max_calls"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_what_the_carriers_need() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let config = Config::load(&folder.join("ringback.toml")).unwrap();
        let needed = needed(&config);
        assert!(needed > OURS);
        ask(&config);
        let now = getrlimit(Resource::Nofile);
        let most = now.maximum.map_or(needed, |most| most.min(needed));
        assert!(now.current.is_none_or(|current| current >= most), "{now:?}");
    }
}
