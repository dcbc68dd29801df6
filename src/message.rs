//! Messages: text encoding and segments, templates, speech.

pub mod speech;
