//! The HTTP carrier: one request per text from a template.
