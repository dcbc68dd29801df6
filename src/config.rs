//! Configuration: `ringback.toml`, `routes/`, `carriers/` as checked types. A file is parsed once, here, into types
//! that can't be wrong; every fault is found at once, with file, line and key.

pub mod carrier;
pub mod settings;

pub use carrier::CarrierConfig;
pub use settings::Settings;
