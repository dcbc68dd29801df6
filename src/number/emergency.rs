//! Emergency numbers per country, from the public numbering plans (the same facts as libphonenumber's short
//! number data). Never texted, never called, whatever the configuration allows. Pure data and two questions.

use super::{Country, table};

/// Numbers that reach emergency services wherever they are dialled on a mobile.
const EVERYWHERE: [&str; 2] = ["112", "911"];

/// Whether `national`, the digits after the calling code, is an emergency number in that country, or in any
/// country of the calling code where the country is unknown.
pub(super) fn is_emergency(calling_code: u16, country: Option<Country>, national: &str) -> bool {
    if national.len() > MAX_DIGITS {
        return false;
    }
    if EVERYWHERE.contains(&national) {
        return true;
    }
    let lines = LINES
        .iter()
        .filter(|(numbers, _)| listed(numbers, national));
    match country {
        Some(country) => lines
            .into_iter()
            .any(|(_, regions)| names(regions, country)),
        None => {
            let countries = table::countries_of(calling_code);
            lines
                .into_iter()
                .any(|(_, regions)| countries.iter().any(|c| names(regions, *c)))
        }
    }
}

/// For digits without a region: whether they are an emergency number everywhere on mobiles, or 999.
pub(super) fn is_emergency_anywhere(dialled: &str) -> bool {
    EVERYWHERE.contains(&dialled) || dialled == "999"
}

fn listed(numbers: &str, national: &str) -> bool {
    numbers.split(' ').any(|number| {
        number.len() == national.len()
            && number
                .bytes()
                .zip(national.bytes())
                .all(|(n, d)| n == b'?' || n == d)
    })
}

fn names(regions: &str, country: Country) -> bool {
    regions.split(' ').any(|region| region == country.as_str())
}

/// Longest number of the list.
const MAX_DIGITS: usize = 6;

/// Emergency numbers (`?` for any digit) and the countries that have exactly these.
#[rustfmt::skip]
const LINES: &[(&str, &str)] = &[
    ("000 106 112", "AU"),
    ("000 110 111", "PG"),
    ("000 112", "CC CX"),
    ("01 02 03", "TM"),
    ("01 02 03 001 002 003 050", "UZ"),
    ("01 02 03 011 022 033 101 102 103 112", "LT"),
    ("01 02 03 101 102 103 112", "RU"),
    ("01 02 03 110 112 113", "LV"),
    ("011 022 033 111 112 113 122", "GE"),
    ("019 999", "SL"),
    ("060 065 066 068 080 911", "MX"),
    ("085 088 112", "ES"),
    ("100 101 102", "PS"),
    ("100 101 102 103 105", "MN"),
    ("100 101 102 103 112", "NP"),
    ("100 101 102 108 112 1298 2611", "IN"),
    ("100 101 102 112", "IL"),
    ("100 101 102 199 999", "BD"),
    ("100 101 107 911", "AR"),
    ("100 101 112", "BE"),
    ("100 102 119", "AF"),
    ("100 104 115 122", "IQ"),
    ("100 112 166 199", "GR"),
    ("100 911", "AW"),
    ("101 102 103", "AM KG"),
    ("101 102 103 112", "AZ BY KZ TJ UA"),
    ("101 102 112 911", "EC"),
    ("10111", "NA"),
    ("102 118 119", "MV"),
    ("104 105 106", "CU"),
    ("104 105 107 112", "HU"),
    ("105 116 117", "PE"),
    ("110 111 112", "NR"),
    ("110 111 112 114 115 999", "TZ"),
    ("110 111 170 180", "CI"),
    ("110 112", "DE EE"),
    ("110 112 113", "BT NO SJ SY"),
    ("110 112 113 118 119", "ID"),
    ("110 112 115 125 911", "IR"),
    ("110 112 116 118", "AD"),
    ("110 112 116 118 119", "LK"),
    ("110 112 119", "TW"),
    ("110 112 119 911", "JM"),
    ("110 112 155", "TR"),
    ("110 118 119", "BO"),
    ("110 119", "JP"),
    ("110 119 120", "CN"),
    ("110 120 123", "GT"),
    ("111", "NZ"),
    ("111 112", "RW"),
    ("111 112 911 997 998 999", "BW"),
    ("112", "AX FI GL IS KW MT RO ST VU"),
    ("112 10111 10177", "ZA"),
    ("112 113", "LU SI"),
    ("112 113 114 116 124422 127799 201606 201917 202099 202914", "ER"),
    ("112 113 115", "AO"),
    ("112 113 115 118", "IT VA"),
    ("112 113 117", "BI"),
    ("112 114", "DK FO"),
    ("112 114 116 117 118", "BJ"),
    ("112 114 999", "KE"),
    ("112 115", "PT TL"),
    ("112 115 117", "LS"),
    ("112 117 118 144", "CH LI"),
    ("112 117 911", "PH"),
    ("112 119", "KR"),
    ("112 119 123 132 156", "CO"),
    ("112 119 819", "KP"),
    ("112 122 123 124", "ME"),
    ("112 122 133 144", "AT"),
    ("112 127 128 129", "AL"),
    ("112 128 190 192 193 911", "BR"),
    ("112 140 175 999", "LB"),
    ("112 150 151 152 153 154 155 156 157 158 159", "CZ"),
    ("112 150 155 158", "SK"),
    ("112 150 160 166", "BG"),
    ("112 171 911", "VE"),
    ("112 190 199", "GI"),
    ("112 191 192 197 911", "JO"),
    ("112 192 193 194", "MK XK"),
    ("112 199", "CY"),
    ("112 90000", "SE"),
    ("112 901 902 903", "MD"),
    ("112 911", "BQ CA CR CW DO NL US"),
    ("112 911 997 999", "SA"),
    ("112 991 993 999", "ZM"),
    ("112 992 999", "HK"),
    ("112 993 994 995 999", "ZW"),
    ("112 997 998 999", "AE PL"),
    ("112 999", "GB GG IE JE MY"),
    ("113 114 115", "VN"),
    ("113 114 118 177 188", "CD"),
    ("113 115 118", "SM"),
    ("113 117 118", "GW"),
    ("114 115 995 999", "MU"),
    ("114 118", "HT"),
    ("115", "SR"),
    ("115 118 120 128", "NI"),
    ("117 118", "CG"),
    ("117 118 119 666", "KH"),
    ("117 118 1220", "CF"),
    ("117 118 171 172 177", "TG"),
    ("117 119 197 198", "MZ"),
    ("122 123 124", "BA"),
    ("122 123 180", "EG"),
    ("128 911", "PY UY"),
    ("13 17 113 117", "CM"),
    ("130 131 132", "CV"),
    ("131 132 133 911", "CL"),
    ("14 17 112", "DZ"),
    ("1444 9999", "OM"),
    ("15 112", "YT"),
    ("15 16 112 115 1122", "PK"),
    ("15 16 17 18", "NC"),
    ("15 17 18", "GF GP MF ML PF PM WF"),
    ("15 17 18 112", "FR MC MQ RE"),
    ("15 17 18 118 723141", "NE"),
    ("15 19 177", "EH MA"),
    ("16 17 18 116 117 118", "GM"),
    ("17 18", "BF DJ KM MR SN TD"),
    ("17 18 117 118", "MG"),
    ("18", "BL"),
    ("18 13?? 1730", "GA"),
    ("190 191 193", "LY"),
    ("190 191 195", "LA"),
    ("190 197 198", "TN"),
    ("191 192 193 999", "GH"),
    ("191 194 195 199", "YE"),
    ("191 199 1669", "TH"),
    ("192 193 194 195 992 993 994", "KI"),
    ("199", "HN MM NG"),
    ("199 997 998 999", "MW"),
    ("199 999", "BH"),
    ("211 311 511 911", "BB"),
    ("333 911 999", "DM KN"),
    ("355 911", "LR"),
    ("555 888 999", "SO"),
    ("90 911 990", "BZ"),
    ("91 92 93 911 939 991 997", "ET"),
    ("911", "AI AS BM GD GU KY MH MP PA PR PW TV VI"),
    ("911 320221", "FM"),
    ("911 912 913", "GY"),
    ("911 913", "SV"),
    ("911 917", "FJ"),
    ("911 919", "BS"),
    ("911 922 933 999", "TO"),
    ("911 955 977", "NF"),
    ("911 994 995 996 999", "WS"),
    ("911 999", "AC AG LC MS SH TC VC VG"),
    ("919", "SX"),
    ("92 93 94 112", "RS"),
    ("93 94 112 192 193 194", "HR"),
    ("990 999", "TT"),
    ("991 993 995", "BN"),
    ("993 995 999", "SG"),
    ("996 998 999", "CK"),
    ("999", "FK IM MO NU QA SB SC SD SS SZ UG"),
];
