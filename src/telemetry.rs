//! What every module may use to tell of itself: lines that a peer can cause at will, errors that mean that no file
//! descriptor is left, counters without a type of ours in them.

pub mod counters;
pub mod descriptors;
pub mod minutely;
