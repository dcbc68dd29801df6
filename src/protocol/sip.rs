//! SIP (RFC 3261): codec, transactions, dialogs, calls; sans-IO.
