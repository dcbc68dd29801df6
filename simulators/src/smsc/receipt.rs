//! Receipts as SMPP writes them: the state's number, the carrier's error, and the text that carriers have
//! more or less agreed on (SMPP 3.4, appendix B). Pure.

use crate::clock;
use crate::fate::Stat;
use crate::script::ReceiptForm;
use std::fmt::Write;

/// `message_state` (section 5.2.28).
pub fn state(stat: Stat) -> u8 {
    match stat {
        Stat::Enroute => 1,
        Stat::Delivered => 2,
        Stat::Expired => 3,
        Stat::Undeliverable => 5,
        Stat::Rejected => 8,
    }
}

/// The carrier's own error number: 001 absent subscriber, 012 barred, 034 validity ended.
fn err(stat: Stat) -> &'static str {
    match stat {
        Stat::Enroute | Stat::Delivered => "000",
        Stat::Undeliverable => "001",
        Stat::Rejected => "012",
        Stat::Expired => "034",
    }
}

/// What the text of a receipt is made of.
#[derive(Clone, Copy, Debug)]
pub struct Words<'a> {
    /// None: the id is in the optional parameter alone.
    pub id: Option<&'a str>,
    /// What became of the text.
    pub stat: Stat,
    /// Unix seconds.
    pub submitted: u64,
    /// Unix seconds.
    pub done: u64,
    /// The text's first characters.
    pub beginning: &'a str,
    /// How the carrier writes.
    pub form: ReceiptForm,
}

/// Write the text of a receipt into `out`, instead of what is there.
pub fn text(out: &mut String, words: Words<'_>) {
    out.clear();
    if let Some(id) = words.id {
        let _ = write!(out, "id:{id} ");
    }
    let (stat, err) = (words.stat.word(), err(words.stat));
    // Writing into a String can't fail.
    let _ = match words.form {
        ReceiptForm::Short => write!(out, "stat:{stat} err:{err}"),
        ReceiptForm::Standard | ReceiptForm::NoTlvs | ReceiptForm::Seconds => {
            let delivered = u8::from(words.stat == Stat::Delivered);
            let seconds = words.form == ReceiptForm::Seconds;
            let submitted = clock::receipt_date(words.submitted, seconds);
            let done = clock::receipt_date(words.done, seconds);
            write!(
                out,
                "sub:001 dlvrd:00{delivered} submit date:{submitted} done date:{done} stat:{stat} err:{err} text:{}",
                words.beginning,
            )
        }
    };
}

/// The first twenty characters, as far as they are plain.
pub fn beginning(text: &str) -> String {
    let plain = |c: &char| (c.is_ascii_graphic() || *c == ' ') && !"$@[]{}\\^~|_`".contains(*c);
    text.chars().take(20).take_while(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::IdBase;

    #[test]
    fn the_texts_that_carriers_write() {
        let (answer, receipt) = IdBase::HexDec.ids(0xA1);
        assert_eq!((answer.as_str(), receipt.as_str()), ("A1", "161"));
        let beginning = beginning("Your code is 482913, really");
        let words = |form, stat| Words {
            id: Some(&receipt),
            stat,
            submitted: 951_782_400,
            done: 951_782_461,
            beginning: &beginning,
            form,
        };
        let mut out = String::new();
        text(&mut out, words(ReceiptForm::Standard, Stat::Undeliverable));
        assert_eq!(
            out,
            "id:161 sub:001 dlvrd:000 submit date:0002290000 done date:0002290001 stat:UNDELIV err:001 \
             text:Your code is 482913,"
        );
        text(&mut out, words(ReceiptForm::Seconds, Stat::Delivered));
        assert!(
            out.contains("dlvrd:001 submit date:000229000000 done date:000229000101 stat:DELIVRD")
        );
        text(&mut out, words(ReceiptForm::Short, Stat::Expired));
        assert_eq!(out, "id:161 stat:EXPIRED err:034");
        text(
            &mut out,
            Words {
                id: None,
                ..words(ReceiptForm::NoTlvs, Stat::Rejected)
            },
        );
        assert!(out.starts_with("sub:001 dlvrd:000 "));
    }
}
