//! A challenge: one request to prove that a person holds a number. Has a deadline.
