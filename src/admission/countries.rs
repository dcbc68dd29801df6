//! Which countries are on, per channel.

use std::{collections::HashSet, sync::LazyLock};

use super::CountrySet;
use crate::number::Country;

/// Is this country on? A named one always; under `all`, all but the high-cost list.
pub fn on(set: &CountrySet, country: Country) -> bool {
    set.named.contains(&country) || set.all && !high_cost(country)
}

/// On the list of countries that are off until an operator names them.
pub fn high_cost(country: Country) -> bool {
    static LIST: LazyLock<HashSet<Country>> = LazyLock::new(|| {
        include_str!("high_cost.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::split_whitespace)
            .filter_map(Country::parse)
            .collect()
    });
    LIST.contains(&country)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn high_cost_countries_are_off_until_named() {
        let country = |c| Country::parse(c).expect("a country");
        let mut set = CountrySet {
            all: true,
            named: Default::default(),
        };
        assert!(on(&set, country("US")) && on(&set, country("SE")));
        assert!(!on(&set, country("JM")));
        set.named.insert(country("JM"));
        assert!(on(&set, country("JM")));
        set.all = false;
        assert!(!on(&set, country("US")));
    }
}
