//! What goes to the gateway by itself: receipts and the person's own texts. A delivery waits at its account
//! until a bound receiver has room, is repeated when its session ends before the answer, and is counted
//! in the record once. Pure.

use super::parts::SharedLine;
use super::pdu::Address;
use super::receipt::{self, Words};
use super::write::{self, Deliver, Party};
use crate::fate::Stat;
use crate::record::Record;
use crate::script::ReceiptForm;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One thing to deliver.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Whose bound receivers may get it.
    pub account: Arc<str>,
    /// The phone.
    pub from: Owned,
    /// The sender of the gateway.
    pub to: Owned,
    /// What it is.
    pub what: What,
    /// True once it has been counted: a repetition is not a second receipt.
    pub counted: bool,
    /// What whoever decides outside calls it.
    pub tag: Option<u32>,
}

/// An address kept.
#[derive(Clone, Debug, Default)]
pub struct Owned {
    /// Type of number.
    pub ton: u8,
    /// Numbering plan.
    pub npi: u8,
    /// Digits or letters.
    pub addr: Box<[u8]>,
}

impl From<Address<'_>> for Owned {
    fn from(address: Address<'_>) -> Self {
        Owned {
            ton: address.ton,
            npi: address.npi,
            addr: address.addr.into(),
        }
    }
}

impl Owned {
    fn party(&self) -> Party<'_> {
        Party {
            ton: self.ton,
            npi: self.npi,
            addr: &self.addr,
        }
    }
}

/// A receipt or a text.
#[derive(Clone, Debug)]
pub enum What {
    /// A receipt.
    Receipt(Receipt),
    /// A text of the person's (or a piece of one that fits).
    Text {
        /// 0 or 8.
        data_coding: u8,
        /// At most 254.
        octets: Vec<u8>,
    },
}

/// Everything a receipt says.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// As the receipt writes it.
    pub id: String,
    /// Also in the text, or in the TLV alone.
    pub id_in_text: bool,
    /// What became of the text.
    pub stat: Stat,
    /// Unix seconds.
    pub submitted: u64,
    /// The text's first characters.
    pub beginning: String,
    /// How the carrier writes.
    pub form: ReceiptForm,
    /// By data_sm.
    pub by_data: bool,
    /// The line of the text it is about.
    pub line: LineRef,
}

/// Which line of the record a receipt belongs to.
#[derive(Clone, Debug)]
pub enum LineRef {
    /// This one.
    Known(u64),
    /// Whichever it will be, once the other parts have come.
    Shared(SharedLine),
}

impl LineRef {
    fn seq(&self) -> u64 {
        match self {
            LineRef::Known(seq) => *seq,
            LineRef::Shared(line) => line.load(Ordering::Relaxed),
        }
    }
}

impl Delivery {
    /// Write it as a request; `scratch` is reused between calls.
    pub fn write(&self, out: &mut Vec<u8>, sequence: u32, now_unix: u64, scratch: &mut String) {
        let mut deliver = Deliver {
            from: self.from.party(),
            to: self.to.party(),
            esm_class: 0,
            data_coding: 0,
            message: &[],
            receipted_id: None,
            state: None,
        };
        match &self.what {
            What::Receipt(receipt) => {
                let words = Words {
                    id: receipt.id_in_text.then_some(receipt.id.as_str()),
                    stat: receipt.stat,
                    submitted: receipt.submitted,
                    done: now_unix,
                    beginning: &receipt.beginning,
                    form: receipt.form,
                };
                receipt::text(scratch, words);
                deliver.esm_class = if receipt.stat == Stat::Enroute {
                    0x20
                } else {
                    0x04
                };
                deliver.message = scratch.as_bytes();
                if (receipt.form != ReceiptForm::NoTlvs || !receipt.id_in_text)
                    && !receipt.id.is_empty()
                {
                    deliver.receipted_id = Some(&receipt.id);
                    deliver.state = Some(receipt::state(receipt.stat));
                }
                if receipt.by_data {
                    return write::data(out, sequence, &deliver);
                }
            }
            What::Text {
                data_coding,
                octets,
            } => {
                deliver.data_coding = *data_coding;
                deliver.message = octets;
            }
        }
        write::deliver(out, sequence, &deliver);
    }

    /// Tell the record, the first time.
    pub fn count(&mut self, record: &Record) {
        if let (false, What::Receipt(receipt)) = (self.counted, &self.what) {
            record.receipt(receipt.line.seq(), receipt.stat.word());
        }
        self.counted = true;
    }
}
