//! Numbers against the sample of libphonenumber, and the table against the library.

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
        let [input, region, ok, e164, country, kind, valid] = &row[..] else { panic!("seven fields: {row:?}") };
        let region = Some(region.as_str()).filter(|r| !r.is_empty());
        let found = analyse(input, region);
        assert_eq!(found.ok(), ok == "1", "{input}");
        assert_eq!(found.e164.as_deref().unwrap_or(""), e164, "{input}");
        assert_eq!(found.country.map(|c| c.to_string()).unwrap_or_default(), *country, "{input}");
        assert_eq!(found.kind.map(|k| k.to_string()).unwrap_or_default(), kind.to_lowercase(), "{input}");
        assert_eq!(found.valid, valid == "1", "{input}");
        rows += 1;
    }
    assert!(rows > 150, "{rows}");
}
