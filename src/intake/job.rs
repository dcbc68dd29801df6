//! A job's JSON into a [`Job`](super::Job), or every fault of it at once.
