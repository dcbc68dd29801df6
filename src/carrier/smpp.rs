//! The SMPP carrier: texts over binds.
