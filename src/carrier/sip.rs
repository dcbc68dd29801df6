//! The SIP carrier: calls over a trunk.
