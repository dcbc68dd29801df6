//! Messages: text encoding and segments, templates, speech.
