//! A carrier's reference as it is compared: trimmed, and in the other forms in which a receipt may write it.
//!
//! The same for every transport: a carrier that answers in hexadecimal and sends receipts in decimal does so over HTTP
//! as well. Pure.

use std::sync::Arc;

use crate::config::carrier::ReceiptId;

/// Widths to which carriers pad their ids.
const PADDED: [usize; 2] = [8, 10];

/// Without the blanks, line ends and NULs that some put around it; None where nothing is left.
pub fn normal(reference: Arc<str>) -> Option<Arc<str>> {
    let bare = reference.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    match bare.len() {
        0 => None,
        length if length == reference.len() => Some(reference),
        _ => Some(bare.into()),
    }
}

/// Every other form under which the answer to a submit may have named the message that a receipt calls `id`.
pub fn other_forms(id: &str, mode: ReceiptId) -> Vec<Arc<str>> {
    let mut forms = Forms {
        literal: id,
        others: Vec::new(),
    };
    match mode {
        ReceiptId::Same => {}
        ReceiptId::Case => forms.case(id),
        ReceiptId::ZeroPadded => forms.zeros(id),
        ReceiptId::RespHexDlrDec => forms.in_hex(id),
        ReceiptId::RespDecDlrHex => forms.in_decimal(id),
        ReceiptId::Auto => {
            forms.case(id);
            forms.zeros(id);
            forms.in_hex(id);
            forms.in_decimal(id);
        }
    }
    forms.others
}

struct Forms<'a> {
    literal: &'a str,
    others: Vec<Arc<str>>,
}

impl Forms<'_> {
    fn add(&mut self, form: String) {
        let known = form == self.literal || self.others.iter().any(|known| **known == *form);
        if !form.is_empty() && !known {
            self.others.push(form.into());
        }
    }

    fn case(&mut self, id: &str) {
        self.add(id.to_ascii_lowercase());
        self.add(id.to_ascii_uppercase());
    }

    fn zeros(&mut self, id: &str) {
        let bare = match id.trim_start_matches('0') {
            "" => "0",
            bare => bare,
        };
        self.add(bare.to_owned());
        if bare.bytes().all(|b| b.is_ascii_hexdigit()) {
            for width in PADDED {
                self.add(format!("{bare:0>width$}"));
            }
        }
    }

    /// The receipt is decimal; the response was hexadecimal, in either case, padded or not.
    fn in_hex(&mut self, id: &str) {
        let decimal = id.bytes().all(|b| b.is_ascii_digit());
        if let (true, Ok(number)) = (decimal, id.parse::<u128>()) {
            self.add(format!("{number:x}"));
            self.add(format!("{number:X}"));
            self.add(format!("{number:08x}"));
            self.add(format!("{number:08X}"));
        }
    }

    /// The receipt is hexadecimal; the response was decimal.
    fn in_decimal(&mut self, id: &str) {
        let hex = id.bytes().all(|b| b.is_ascii_hexdigit());
        if let (true, Ok(number)) = (hex, u128::from_str_radix(id, 16)) {
            self.add(number.to_string());
            self.add(format!("{number:010}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn forms(id: &str, mode: ReceiptId) -> Vec<String> {
        other_forms(id, mode)
            .iter()
            .map(|form| form.to_string())
            .collect()
    }

    #[test]
    fn padding_of_every_kind_goes() {
        for written in ["4711", " 4711", "4711  ", "4711\r\n", "\t4711\0\0"] {
            let bare = normal(written.into());
            assert_eq!(bare.as_deref(), Some("4711"), "{written:?}");
        }
        assert_eq!(normal(" \r\n\0".into()), None);
        assert_eq!(normal("a b".into()).as_deref(), Some("a b"));
    }

    #[test]
    fn each_mode_adds_its_own_forms() {
        assert!(forms("0A1b", ReceiptId::Same).is_empty());
        assert_eq!(forms("0A1b", ReceiptId::Case), ["0a1b", "0A1B"]);
        assert_eq!(
            forms("00042", ReceiptId::ZeroPadded),
            ["42", "00000042", "0000000042"]
        );
        assert_eq!(
            forms("2592", ReceiptId::RespHexDlrDec),
            ["a20", "A20", "00000a20", "00000A20"]
        );
        assert_eq!(
            forms("A20", ReceiptId::RespDecDlrHex),
            ["2592", "0000002592"]
        );
        let auto = forms("0A20", ReceiptId::Auto);
        for wanted in ["0a20", "A20", "2592"] {
            assert!(
                auto.iter().any(|form| form == wanted),
                "{wanted} missing in {auto:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn hex_and_decimal_find_each_other(number in 1u64..) {
            let decimal = number.to_string();
            let (upper, lower) = (format!("{:X}", number), format!("{:x}", number));
            let hex = forms(&decimal, ReceiptId::Auto);
            let found = |form: &String| *form == decimal || hex.contains(form);
            prop_assert!(found(&upper) && found(&lower));
            prop_assert!(upper == decimal || forms(&upper, ReceiptId::Auto).contains(&decimal));
        }

        #[test]
        fn forms_are_few_and_never_the_literal_one(id in ".{0,80}") {
            let forms = forms(&id, ReceiptId::Auto);
            prop_assert!(!forms.contains(&id));
            prop_assert!(forms.len() < 16);
        }
    }
}
