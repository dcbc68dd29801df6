//! Reports: what the caller of the gateway is told.
//!
//! `delivery` says that something is to be told ([`crate::delivery::Note`]); [`body`] makes the JSON of it, once with and
//! once without secrets; the ledger's outbox keeps it until [`publish`] has brought it to the broker. Order by `seq`,
//! drop repeats by `report_id`.

pub mod body;
mod enums;
pub mod publish;

/// One thing that is wrong with a job. Names the field and says what to do; never the value.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct JobFault {
    pub field: String,
    pub reason: String,
}

impl JobFault {
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> JobFault {
        JobFault {
            field: field.into(),
            reason: reason.into(),
        }
    }
}
