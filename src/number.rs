//! Numbers: E.164, country, line type, what is refused and why, and how a number is shown (masked).
