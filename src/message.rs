//! Messages: text encoding and segments, templates, speech.
//!
//! Between routing and the carrier: what a challenge says, in the person's language, and how it goes on the
//! air. Holds codes, so nothing here shows itself.

pub mod speech;
pub mod templates;
pub mod text;
