//! Reports: what the caller of the gateway is told; outbox and publishing.
