//! Numbers against the sample of libphonenumber, and the table against the library.

use proptest::prelude::*;
use rlibphonenumber::PHONE_NUMBER_UTIL;

use super::*;

/// The sample: input, default region, parse_ok, e164, country, type, valid.
fn sample() -> Vec<Vec<String>> {
    include_str!("../../tests/data/numbers.csv")
        .lines()
        .skip(1)
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

#[test]
fn the_sample_agrees() {
    let mut rows = 0;
    for row in sample() {
        let [input, region, ok, e164, country, kind, valid] = &row[..] else {
            panic!("seven fields: {row:?}")
        };
        let region = Some(region.as_str()).filter(|r| !r.is_empty());
        let found = analyse(input, region);
        assert_eq!(found.ok(), ok == "1", "{input}");
        assert_eq!(found.e164.as_deref().unwrap_or(""), e164, "{input}");
        assert_eq!(
            found.country.map(|c| c.to_string()).unwrap_or_default(),
            *country,
            "{input}"
        );
        assert_eq!(
            found.kind.map(|k| k.to_string()).unwrap_or_default(),
            kind.to_lowercase(),
            "{input}"
        );
        assert_eq!(found.valid, valid == "1", "{input}");
        rows += 1;
    }
    assert!(rows > 150, "{rows}");
}

/// The table's answer is the library's, wherever the table answers at all. Returns whether it did.
fn table_agrees(e164: &str) -> bool {
    let Some(found) = table::look_up(e164) else {
        return false;
    };
    let library = parse::analyse(e164, None);
    assert_eq!(library.e164.as_deref(), Some(e164));
    assert_eq!(Some(found.kind), library.kind, "{e164}");
    assert_eq!(found.country, library.country, "{e164}");
    assert_eq!(found.possible, library.possible, "{e164}");
    assert_eq!(analyse(e164, None), library, "{e164}");
    true
}

#[test]
fn every_calling_code_has_a_table() {
    let mut rows = 0;
    for code in PHONE_NUMBER_UTIL.get_supported_calling_codes() {
        let code = u16::try_from(code).expect("three digits");
        let (built, size) = table::has_table(code);
        assert!(built, "+{code} goes without a table");
        rows += size;
    }
    println!("{rows} rows");
}

#[test]
fn the_table_agrees_around_every_example() {
    let mut answered = 0;
    for region in PHONE_NUMBER_UTIL.get_supported_regions() {
        for kind in PHONE_NUMBER_UTIL
            .get_supported_types_for_region(region)
            .into_iter()
            .flatten()
        {
            let Ok(example) =
                PHONE_NUMBER_UTIL.get_example_number_for_type_and_region(region, kind)
            else {
                continue;
            };
            let e164 = example.to_string();
            answered += u32::from(table_agrees(&e164));
            for at in 2..e164.len() {
                for digit in '0'..='9' {
                    let mut other = e164.clone();
                    other.replace_range(at..=at, &digit.to_string());
                    answered += u32::from(table_agrees(&other));
                }
                table_agrees(&e164[..at]);
                table_agrees(&format!("{}{}", e164, &e164[1..at]));
            }
        }
    }
    assert!(answered > 50_000, "{answered}");
}

#[test]
fn the_sample_goes_through_the_table() {
    let clean: Vec<_> = sample()
        .into_iter()
        .filter(|row| row[6] == "1")
        .map(|row| row[3].clone())
        .collect();
    let quick = clean.iter().filter(|e164| table_agrees(e164)).count();
    // A number that may begin with its country's national prefix is left to the library.
    assert!(
        quick * 100 >= clean.len() * 90,
        "{quick} of {}",
        clean.len()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_table_agrees_with_the_library(digits in "[1-9][0-9]{4,17}") {
        table_agrees(&format!("+{digits}"));
    }

    #[test]
    fn the_table_agrees_within_north_america(digits in "[2-9][0-9]{2}[0-9]{7}") {
        let e164 = format!("+1{digits}");
        prop_assert!(table_agrees(&e164));
    }

    #[test]
    fn any_input_is_survived(input in "\\PC{0,40}", region in proptest::option::of("[A-Za-z0-9]{0,3}")) {
        let found = analyse(&input, region.as_deref());
        prop_assert_eq!(found.ok(), found.e164.is_some());
    }

    #[test]
    fn phone_like_input_is_survived(input in "[-+0-9a-zA-Z ().;=#*,:/x٠-٩０-９\t\n]{0,60}|(tel:|;phone-context=|;ext=|;isub=|[+0-9]{1,4}){0,9}") {
        let found = analyse(&input, Some("US"));
        prop_assert_eq!(found.ok(), found.kind.is_some());
    }
}

#[test]
fn a_number_shows_itself_masked() {
    let number = Number::from_e164("+12025550123").expect("E.164");
    assert_eq!(number.to_string(), "+1202•••••23");
    assert_eq!(format!("{number:?}"), "+1202•••••23");
    assert_eq!(
        (number.e164(), number.digits()),
        ("+12025550123", "12025550123")
    );
    assert_eq!(number.neighbourhood(), "+1202555");
    assert_eq!(
        Number::from_e164("+1911").expect("E.164").to_string(),
        "+19••"
    );
    let shown = format!("{:?}", analyse("+12025550123", None));
    assert!(!shown.contains("5550123"), "{shown}");
    assert_eq!(mask("call 0701234567 now"), "call 0701••••67 now");
}

#[test]
fn what_is_no_e164() {
    for text in [
        "",
        "+",
        "12025550123",
        "+0123456",
        "+12",
        "+1234567890123456",
        "+12 34567",
        "+1202555012٣",
    ] {
        assert_eq!(Number::from_e164(text), None, "{text}");
    }
    let longest = Number::from_e164("+123456789012345").expect("fifteen digits");
    assert_eq!(longest.e164(), "+123456789012345");
}

#[test]
fn a_number_serialises_as_its_e164() {
    let number = Number::from_e164("+46701234567").expect("E.164");
    let json = serde_json::to_string(&number).expect("serialises");
    assert_eq!(json, "\"+46701234567\"");
    assert_eq!(
        serde_json::from_str::<Number>(&json).expect("reads back"),
        number
    );
    let error = serde_json::from_str::<Number>("\"0701234567\"").expect_err("national");
    assert!(!error.to_string().contains("0701234567"), "{error}");
    assert_eq!(
        serde_json::to_string(&Country::parse("se")).expect("serialises"),
        "\"SE\""
    );
    assert_eq!(
        serde_json::from_str::<Country>("\"001\"").expect("reads"),
        Country::WORLD
    );
    assert!(serde_json::from_str::<Country>("\"SWE\"").is_err());
}

#[test]
fn what_is_refused_and_why() {
    let both = |reason| (Some(reason), Some(reason));
    let cases = [
        ("+12025550123", None, (None, None)),
        ("+46701234567", None, (None, None)),
        (
            "+4681234567",
            None,
            (None, Some("number_type (fixed_line)")),
        ),
        (
            "+18005550123",
            None,
            (None, Some("number_type (toll_free)")),
        ),
        ("911", Some("US"), both("number_type (emergency)")),
        ("+1911", None, both("number_type (emergency)")),
        ("112", Some("SE"), both("number_type (emergency)")),
        ("112", None, both("number_type (emergency)")),
        ("999", Some("GB"), both("number_type (emergency)")),
        ("90000", Some("SE"), both("number_type (emergency)")),
        ("11811", Some("GB"), both("number_type (short)")),
        ("+19002345678", None, both("number_type (premium_rate)")),
        ("+46771234567", None, both("number_type (shared_cost)")),
        ("+870773123456", None, both("number_type (satellite)")),
        ("+881612345678", None, both("number_type (satellite)")),
        (
            "+979123456789",
            None,
            both("number_type (international_service)"),
        ),
        (
            "+88213123456",
            None,
            both("number_type (international_service)"),
        ),
        ("+10005550123", None, both("invalid_number (unassigned)")),
        ("+999123456789", None, both("invalid_number (unreadable)")),
        ("", None, both("invalid_number (unreadable)")),
        (
            "+1202\u{7}5550123",
            None,
            both("invalid_number (control_character)"),
        ),
        ("+447012345678", None, both("number_type (personal_number)")),
    ];
    let policy = NumberPolicy::default();
    for (input, region, (call, text)) in cases {
        let found = analyse(input, region);
        let said = |reach| {
            found
                .refused_for(reach, &policy)
                .map(|refusal| refusal.to_string())
        };
        assert_eq!(said(Reach::Call).as_deref(), call, "{input}");
        assert_eq!(said(Reach::Text).as_deref(), text, "{input}");
    }
}

#[test]
fn a_control_character_anywhere_leaves_no_number() {
    let marks = "\n \r\n \r \t \0 \u{7f} \u{85} \u{1b} \u{9b} \u{2028} \u{2029} \u{fff9} \u{e0031}";
    let marks: Vec<&str> = marks.split(' ').collect();
    assert_eq!(marks.len(), 13);
    let policy = NumberPolicy::new(&["+46".to_owned()]).expect("a prefix");
    for mark in marks {
        for input in [
            format!("+46701740605{mark}"),
            format!("{mark}+46701740605"),
            format!("+46701{mark}740605"),
            format!("070-174{mark} 06 05"),
        ] {
            let found = analyse(&input, Some("SE"));
            assert_eq!(found.number, None, "{input:?}");
            let refused = found.refused_for(Reach::Call, &policy).expect("refused");
            assert_eq!(refused.reason, Reason::InvalidNumber, "{input:?}");
        }
    }
    // What comes along when a number is copied from a contact or a chat.
    for input in [
        "\u{202a}+46701740605\u{202c}",
        "\u{2068}+46701740605\u{2069}",
        "\u{200e}+46701740605",
        "+46\u{a0}701\u{2011}740\u{2060}605",
    ] {
        let found = analyse(input, None);
        let number = found.number.map(|n| n.e164().to_owned());
        assert_eq!(number.as_deref(), Some("+46701740605"), "{input:?}");
        assert_eq!(found.refused, None, "{input:?}");
    }
}

#[test]
fn allowed_prefixes_skip_all_but_the_emergency_check() {
    let policy = NumberPolicy::new(&["+1", "+4681", "+999"].map(str::to_owned)).expect("prefixes");
    let refused = |input| {
        analyse(input, None)
            .refused_for(Reach::Text, &policy)
            .map(|refusal| refusal.to_string())
    };
    assert_eq!(refused("+19002345678"), None);
    assert_eq!(refused("+10005550123"), None);
    assert_eq!(refused("+4681234567"), None);
    assert_eq!(refused("+999123456"), None);
    assert_eq!(
        refused("999123456"),
        Some("invalid_number (unreadable)".to_owned())
    );
    assert_eq!(
        refused("+4621123456").as_deref(),
        Some("number_type (fixed_line)")
    );
    assert_eq!(refused("+1911").as_deref(), Some("number_type (emergency)"));
    assert_eq!(
        refused("+1202555\u{0}").as_deref(),
        Some("invalid_number (control_character)")
    );
    for wrong in ["", "1202", "+", "+12a", "+1234567890123456"] {
        assert!(NumberPolicy::new(&[wrong.to_owned()]).is_err(), "{wrong}");
    }
}

#[test]
fn the_countries_behind_plus_one() {
    for (e164, country) in [
        ("+12025550123", "US"),
        ("+16135550123", "CA"),
        ("+18762101234", "JM"),
        ("+18092345678", "DO"),
        ("+12423591234", "BS"),
        ("+14412999123", "BM"),
        ("+17872345678", "PR"),
    ] {
        assert_eq!(
            analyse(e164, None)
                .country
                .map(|c| c.to_string())
                .as_deref(),
            Some(country),
            "{e164}"
        );
    }
}

#[test]
fn corners_where_the_library_is_evened_out() {
    let e164 = |input, region| analyse(input, Some(region)).e164;
    assert_eq!(
        e164("+964 01 2～34 5678", "IQ").as_deref(),
        Some("+96412345678")
    );
    assert_eq!(
        e164("673 2345678/ x123/ x124", "BN").as_deref(),
        Some("+6732345678")
    );
    assert_eq!(e164("12", "SE").as_deref(), Some("+4612"));
    // An x is punctuation too, and then there are three digits.
    assert_eq!(e164("15x4401", "PF").as_deref(), Some("+68915"));
    assert_eq!(
        analyse("12 ext 123", Some("SE")).error,
        Some(ParseError::NotANumber)
    );
    assert_eq!(
        analyse(";phone-context=+1tel:", Some("SE")).error,
        Some(ParseError::NotANumber)
    );
    assert_eq!(
        analyse(&"1".repeat(251), Some("SE")).error,
        Some(ParseError::TooLong)
    );
}

/// What libphonenumber makes of an input, as its JSON line says.
#[derive(serde::Deserialize)]
struct Expected {
    input: String,
    region: Option<String>,
    ok: bool,
    error: Option<String>,
    e164: Option<String>,
    country: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    valid: bool,
    possible: bool,
    extension: Option<String>,
}

#[test]
fn the_odd_writings_agree() {
    let mut rows = 0;
    for line in include_str!("../../tests/data/numbers-odd.jsonl").lines() {
        let expected: Expected = serde_json::from_str(line).expect("a JSON line");
        let found = analyse(&expected.input, expected.region.as_deref());
        let text = |value: Option<&str>| value.map(str::to_owned);
        assert_eq!(found.ok(), expected.ok, "{line}");
        assert_eq!(
            text(found.error.map(|e| e.as_str())),
            expected.error,
            "{line}"
        );
        assert_eq!(found.e164, expected.e164, "{line}");
        assert_eq!(
            found.country.map(|c| c.to_string()),
            expected.country,
            "{line}"
        );
        assert_eq!(
            text(found.kind.map(|k| k.as_str())),
            expected.kind,
            "{line}"
        );
        assert_eq!(
            (found.valid, found.possible),
            (expected.valid, expected.possible),
            "{line}"
        );
        assert_eq!(found.extension, expected.extension, "{line}");
        rows += 1;
    }
    assert!(rows >= 500, "{rows}");
}
