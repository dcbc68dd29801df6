//! Operate: admin API, page, metrics, health, reload, logs.

pub mod metrics;
