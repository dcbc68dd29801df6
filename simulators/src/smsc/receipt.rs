//! Receipts: their states, how ids are written, and the text that carriers have agreed on (SMPP 3.4,
//! appendix B). Pure.

use crate::clock;
use std::fmt::Write;

/// What a receipt says became of a text (section 5.2.28).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stat {
    Enroute,
    Delivered,
    Expired,
    Undeliverable,
    Rejected,
}

impl Stat {
    /// As the receipt's text writes it.
    pub fn word(self) -> &'static str {
        match self {
            Stat::Enroute => "ENROUTE",
            Stat::Delivered => "DELIVRD",
            Stat::Expired => "EXPIRED",
            Stat::Undeliverable => "UNDELIV",
            Stat::Rejected => "REJECTD",
        }
    }

    /// As the TLV `message_state` writes it.
    pub fn state(self) -> u8 {
        match self {
            Stat::Enroute => 1,
            Stat::Delivered => 2,
            Stat::Expired => 3,
            Stat::Undeliverable => 5,
            Stat::Rejected => 8,
        }
    }

    /// The carrier's own error number: 001 absent subscriber, 034 validity expired, 012 barred.
    fn err(self) -> &'static str {
        match self {
            Stat::Enroute | Stat::Delivered => "000",
            Stat::Undeliverable => "001",
            Stat::Rejected => "012",
            Stat::Expired => "034",
        }
    }
}

/// The text of a receipt.
pub fn text(
    out: &mut String,
    id: Option<&str>,
    stat: Stat,
    submitted: u64,
    done: u64,
    beginning: &str,
) {
    out.clear();
    if let Some(id) = id {
        let _ = write!(out, "id:{id} ");
    }
    let delivered = u8::from(stat == Stat::Delivered);
    // Writing into a String can't fail.
    let _ = write!(
        out,
        "sub:001 dlvrd:00{delivered} submit date:{} done date:{} stat:{} err:{} text:{beginning}",
        clock::receipt_date(submitted),
        clock::receipt_date(done),
        stat.word(),
        stat.err(),
    );
}

/// The first twenty characters, as far as they are plain.
pub fn beginning(text: &str) -> String {
    text.chars()
        .take(20)
        .take_while(|c| c.is_ascii_graphic() || *c == ' ')
        .filter(|c| !"$@[]{}\\^~|_`".contains(*c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::IdBase;

    #[test]
    fn the_text_that_carriers_agree_on() {
        let mut out = String::new();
        let (answer, receipt) = IdBase::HexDec.ids(0xA1);
        assert_eq!((answer.as_str(), receipt.as_str()), ("A1", "161"));
        text(
            &mut out,
            Some(&receipt),
            Stat::Undeliverable,
            951_782_400,
            951_782_460,
            &beginning("Your code is 482913, really"),
        );
        assert_eq!(
            out,
            "id:161 sub:001 dlvrd:000 submit date:0002290000 done date:0002290001 stat:UNDELIV err:001 text:Your code is 482913,"
        );
        text(&mut out, None, Stat::Delivered, 0, 0, "");
        assert!(out.starts_with("sub:001 dlvrd:001 "));
    }
}
