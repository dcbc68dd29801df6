//! Jobs by HTTP: `POST /v1/challenges` and what belongs to it.
