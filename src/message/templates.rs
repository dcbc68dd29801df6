//! What a text says where the job brings none: one template per language, chosen by best match. Each one is
//! a single GSM 7-bit segment with the longest code. Pure; never shows what it made.

use super::text;

/// Where the code goes.
const PLACE: &str = "{code}";
/// Language of last resort.
const FALLBACK: &str = "en";

/// Templates by language and, where people of a region say it otherwise, by region.
const SMS_CODE: [(&str, &str); 10] = [
    (
        "en",
        "Your verification code is {code}. Do not share it with anyone.",
    ),
    (
        "fr",
        "Votre code de vérification est {code}. Ne le communiquez à personne.",
    ),
    (
        "fr-ca",
        "Votre code de vérification est le {code}. Ne le communiquez à personne.",
    ),
    (
        "sv",
        "Din verifieringskod är {code}. Lämna inte ut den till någon.",
    ),
    (
        "de",
        "Ihr Bestätigungscode lautet {code}. Geben Sie ihn nicht weiter.",
    ),
    ("es", "Su clave es {code}. No la comparta con nadie."),
    ("es-es", "Tu clave es {code}. No la compartas con nadie."),
    (
        "nb",
        "Din bekreftelseskode er {code}. Ikke del den med noen.",
    ),
    (
        "da",
        "Din bekræftelseskode er {code}. Del den ikke med nogen.",
    ),
    ("nl", "Uw verificatiecode is {code}. Deel deze met niemand."),
];

/// The template of `sms_code` for a BCP 47 locale: the longest match of its subtags, else English.
pub fn sms_code_template(locale: &str) -> &'static str {
    let mut wanted = locale.replace('_', "-").to_ascii_lowercase();
    loop {
        if let Some((_, template)) = SMS_CODE.iter().find(|(tag, _)| *tag == wanted) {
            return template;
        }
        match wanted.rfind('-') {
            Some(at) => wanted.truncate(at),
            None if wanted == FALLBACK => return "{code}",
            None => wanted = FALLBACK.to_owned(),
        }
    }
}

/// Puts the code into a text, wherever its place stands; a text without one is sent as it is.
pub fn fill(template: &str, code: &str) -> String {
    template.replace(PLACE, code)
}

/// Does a code belong into this text?
pub fn has_place(template: &str) -> bool {
    template.contains(PLACE)
}

/// How many segments a text takes on the air with a code of so many digits.
pub fn segments(template: &str, code_length: usize) -> usize {
    let filled = fill(template, &"0".repeat(code_length));
    text::encode(&filled).segments.len()
}

/// The text of a challenge: its own, or the template of its locale.
pub fn sms_code(own: Option<&str>, locale: &str, code: &str) -> String {
    fill(own.unwrap_or_else(|| sms_code_template(locale)), code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::text::Encoding;

    #[test]
    fn every_template_is_one_cheap_segment() {
        for (tag, template) in SMS_CODE {
            assert_eq!(template.matches(PLACE).count(), 1, "{tag}");
            let encoded = text::encode(&fill(template, "0123456789"));
            assert_eq!(encoded.segments.len(), 1, "{tag}");
            // "código" would need an accent that GSM lacks; the wording goes without it.
            assert_eq!(encoded.encoding, Encoding::Gsm7, "{tag}");
        }
    }

    #[test]
    fn the_best_match_wins() {
        let starts = |locale: &str, with: &str| {
            let text = sms_code(None, locale, "4711");
            assert!(text.starts_with(with) && text.contains("4711"), "{locale}");
        };
        starts("en-US", "Your ");
        starts("sv-SE", "Din verifieringskod");
        starts("SV_se", "Din verifieringskod");
        starts("de-AT", "Ihr ");
        starts("fr-CA", "Votre code de vérification est le 4711");
        starts("fr-CA-x-bank", "Votre code de vérification est le 4711");
        starts("fr-FR", "Votre code de vérification est 4711");
        starts("es-MX", "Su ");
        starts("es-ES", "Tu ");
        starts("zh-Hant-TW", "Your ");
        starts("", "Your ");
    }

    #[test]
    fn a_text_of_its_own_is_filled_or_left() {
        assert_eq!(
            sms_code(Some("{code} is {code}"), "en", "12345"),
            "12345 is 12345"
        );
        assert_eq!(sms_code(Some("hello"), "en", "12345"), "hello");
    }
}
