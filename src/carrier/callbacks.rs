//! The HTTP listener for receipts and inbound texts of HTTP carriers.
