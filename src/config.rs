//! Configuration: ringback.toml, routes/, carriers/ as checked types.
