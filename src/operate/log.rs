//! Logs: lines on standard error, as text or JSON. Nothing personal is ever given to it.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal},
    sync::atomic::{AtomicBool, Ordering},
};

use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, filter::dynamic_filter_fn, fmt, layer::SubscriberExt, registry,
    util::SubscriberInitExt,
};

use crate::config::settings::{Log, LogFormat};

/// What is shown where nobody says otherwise: ours; of the libraries only what went wrong. All of what goes wrong in the
/// AMQP library is given to us, and said once; its own lines would say it five times.
const USUAL: &str = "info,lapin=off,hyper=warn,hyper_util=warn,rustls=warn,notify=warn";

/// The command line's filter, or `RUST_LOG`, is none.
#[derive(Debug, thiserror::Error)]
#[error("log filter: {0}")]
pub struct NoFilter(#[from] tracing_subscriber::filter::ParseError);

/// Begins to log, once per process. `filter` (the command line's, or `RUST_LOG`) is in the words of `EnvFilter`, such
/// as `debug` or `warn,ringback::dispatch=trace`. Err: it is none.
pub fn begin(settings: Log, filter: Option<&str>) -> Result<(), NoFilter> {
    let filter = match filter.filter(|f| !f.is_empty()) {
        Some(filter) => EnvFilter::try_new(filter)?,
        None => EnvFilter::new(USUAL),
    };
    form(settings);
    let text = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(coloured(&io::stderr()));
    let json = fmt::layer()
        .with_writer(io::stderr)
        .json()
        .flatten_event(true);
    // Both forms stand ready and know all spans; each line goes through the one that is in force.
    let through = |as_json: bool| {
        dynamic_filter_fn(move |about, _| {
            keeps_secrets(about) && (about.is_span() || AS_JSON.load(Ordering::Relaxed) == as_json)
        })
        .with_max_level_hint(LevelFilter::TRACE)
    };
    // Refused only where somebody logs already: then that holds.
    let _ = registry()
        .with(filter)
        .with(vec![
            text.with_filter(through(false)).boxed(),
            json.with_filter(through(true)).boxed(),
        ])
        .try_init();
    Ok(())
}

/// Lines have this form from now on.
pub fn form(settings: Log) {
    AS_JSON.store(settings.format == LogFormat::Json, Ordering::Relaxed);
}

static AS_JSON: AtomicBool = AtomicBool::new(false);

/// Are lines written there in colour?
pub fn coloured(out: &impl IsTerminal) -> bool {
    in_colour(out.is_terminal(), std::env::var_os("NO_COLOR").as_deref())
}

/// On a terminal, and not with `NO_COLOR` set to anything but nothing (no-color.org).
fn in_colour(terminal: bool, no_color: Option<&OsStr>) -> bool {
    terminal && no_color.is_none_or(OsStr::is_empty)
}

/// Libraries below the line write whole frames and requests at their finer levels, and the AMQP library a returned
/// message with its body even as a warning: no filter lets those through.
fn keeps_secrets(about: &Metadata<'_>) -> bool {
    let ours = ["ringback", "carrier_sim", "simulators"]
        .iter()
        .any(|name| about.target().starts_with(name));
    ours || *about.level() <= Level::WARN && about.target() != "lapin::returned_messages"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_coloured_on_a_terminal_alone_and_not_where_the_user_wants_none() {
        for (terminal, no_color, coloured) in [
            (true, None, true),
            (true, Some(""), true),
            (true, Some("1"), false),
            (true, Some("0"), false),
            (false, None, false),
            (false, Some(""), false),
        ] {
            let said = in_colour(terminal, no_color.map(OsStr::new));
            assert_eq!(said, coloured, "{terminal} {no_color:?}");
        }
    }
}
