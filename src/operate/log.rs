//! Logs: lines on standard error, as text or JSON. Nothing personal is ever given to it.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt, util::SubscriberInitExt};

use crate::config::settings::{Log, LogFormat};

/// What is shown where nobody says otherwise: ours; of the libraries only what went wrong.
const USUAL: &str = "info,lapin=warn,hyper=warn,hyper_util=warn,rustls=warn,notify=warn";

/// Begins to log, once per process. `filter` (the command line's, or `RUST_LOG`) is in the words of `EnvFilter`, such
/// as `debug` or `warn,ringback::dispatch=trace`. Err: it is none.
pub fn begin(settings: Log, filter: Option<&str>) -> Result<(), String> {
    let filter = match filter.filter(|f| !f.is_empty()) {
        Some(filter) => EnvFilter::try_new(filter).map_err(|e| format!("log filter: {e}"))?,
        None => EnvFilter::new(USUAL),
    };
    let to = fmt().with_env_filter(filter).with_writer(io::stderr);
    // Refused only where somebody logs already: then that holds.
    let _ = match settings.format {
        LogFormat::Text => to.with_ansi(io::stderr().is_terminal()).finish().try_init(),
        LogFormat::Json => to.json().flatten_event(true).finish().try_init(),
    };
    Ok(())
}
