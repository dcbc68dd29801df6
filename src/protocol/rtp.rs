//! RTP (RFC 3550), RFC 4733 digits, G.711, in-band digits; sans-IO.
