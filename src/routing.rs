//! Routing: routes as a table, the pure plan with reasons, carrier health, pace.
