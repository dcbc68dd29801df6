//! Dispatch: the shell around delivery. Slots, pace, earliest deadline first.
