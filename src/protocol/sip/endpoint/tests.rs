//! Whole calls against a scripted far end, in instants that stand still until a test moves them.

mod calls;
mod challenged;
mod durable;
mod far_end;
mod foreign;
mod odd;
mod trouble;
