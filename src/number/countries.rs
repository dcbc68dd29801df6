//! The countries that there are, by their letters.

use super::Country;

/// A country by its letters, if there is one: ISO 3166-1 alpha-2 (with XK, AC and TA as numbering plans use them), or 001.
pub fn named(text: &str) -> Option<Country> {
    is_country(text).then(|| Country::parse(text)).flatten()
}

fn is_country(text: &str) -> bool {
    let upper = text.to_ascii_uppercase();
    text == "001" || (upper.len() == 2 && COUNTRIES.split(' ').any(|code| code == upper))
}

/// All of them.
pub fn all() -> impl Iterator<Item = Country> {
    COUNTRIES.split_whitespace().filter_map(Country::parse)
}

const COUNTRIES: &str = "AC AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO \
    BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER \
    ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN \
    IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH \
    MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN \
    PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TA TC TD TF TG TH \
    TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_those_of_iso_3166() {
        assert_eq!(COUNTRIES.split_whitespace().count(), 249 + 3);
        assert!(is_country("se") && is_country("001") && !is_country("UK") && !is_country("all"));
    }
}
