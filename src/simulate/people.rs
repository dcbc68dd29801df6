//! People who do not exist: numbers and codes, thrown by a seed.
//!
//! The far end chooses who answers by the last four digits (`90NN`, see `simulators::subscriber`); everybody else is
//! an ordinary person. Pure.

use std::collections::HashSet;

use simulators::script::Dice;

use crate::number;

/// Where a person lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Us,
    Canada,
    Sweden,
    Britain,
    Germany,
    France,
    Mexico,
}

impl Place {
    pub const ALL: [Place; 7] = [
        Place::Us,
        Place::Canada,
        Place::Sweden,
        Place::Britain,
        Place::Germany,
        Place::France,
        Place::Mexico,
    ];

    /// ISO 3166 alpha-2.
    pub fn country(self) -> &'static str {
        match self {
            Place::Us => "US",
            Place::Canada => "CA",
            Place::Sweden => "SE",
            Place::Britain => "GB",
            Place::Germany => "DE",
            Place::France => "FR",
            Place::Mexico => "MX",
        }
    }

    /// What most people speak there.
    pub fn locale(self) -> &'static str {
        match self {
            Place::Us => "en-US",
            Place::Canada => "fr-CA",
            Place::Sweden => "sv-SE",
            Place::Britain => "en-GB",
            Place::Germany => "de-DE",
            Place::France => "fr-FR",
            Place::Mexico => "es-MX",
        }
    }

    /// Beginnings of mobile numbers, and how many digits follow.
    fn plan(self) -> (&'static [&'static str], u32) {
        match self {
            Place::Us => (
                &[
                    "+120255", "+121255", "+131255", "+141555", "+161755", "+120655",
                ],
                5,
            ),
            Place::Canada => (&["+141655", "+160455", "+151455"], 5),
            Place::Sweden => (&["+4670", "+4673", "+4676"], 7),
            Place::Britain => (&["+447400", "+447500"], 6),
            Place::Germany => (&["+49151"], 8),
            Place::France => (&["+336"], 8),
            Place::Mexico => (&["+5255"], 8),
        }
    }
}

/// Meets people by a seed: the same seed, the same people and codes. No number comes twice.
pub struct People {
    dice: Dice,
    met: HashSet<Box<str>>,
}

impl People {
    pub fn new(seed: u64) -> People {
        People {
            dice: Dice::new(seed),
            met: HashSet::new(),
        }
    }

    /// Somebody ordinary.
    pub fn anybody(&mut self, place: Place) -> String {
        loop {
            let (starts, digits) = place.plan();
            let start = starts[self.below(starts.len())];
            let rest = self.dice.below(10u64.pow(digits));
            let number = format!("{start}{rest:0width$}", width = digits as usize);
            let special = &number[number.len() - 4..number.len() - 2] == "90";
            let found = number::analyse(&number, None);
            if !special
                && found.valid
                && found.refused.is_none()
                && self.met.insert(number.as_str().into())
            {
                return number;
            }
        }
    }

    /// The person whom the last digits `90NN` stand for.
    pub fn special(&mut self, place: Place, nn: u8) -> String {
        loop {
            let mut number = self.anybody(place);
            number.truncate(number.len() - 4);
            number.push_str(&format!("90{nn:02}"));
            if number::analyse(&number, None).valid && self.met.insert(number.as_str().into()) {
                return number;
            }
        }
    }

    /// A phone with a wire, on which nobody reads texts.
    pub fn landline(&mut self) -> String {
        format!("+4687{:06}", self.dice.below(1_000_000))
    }

    /// Two digits short.
    pub fn misdialled(&mut self) -> String {
        format!("+1202555{:02}", self.dice.below(100))
    }

    /// Six digits.
    pub fn code(&mut self) -> String {
        format!("{:06}", self.dice.below(1_000_000))
    }

    /// 0 to `bound`, exclusive.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.dice.below(bound as u64)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::{LineType, analyse};

    #[test]
    fn everybody_could_exist_and_nobody_comes_twice() {
        let mut people = People::new(7);
        let mut met = HashSet::new();
        for place in Place::ALL {
            for n in 0..500 {
                let number = if n % 100 == 0 {
                    people.special(place, 20)
                } else {
                    people.anybody(place)
                };
                let found = analyse(&number, None);
                assert!(found.valid, "{number}");
                assert_eq!(found.country.unwrap().as_str(), place.country(), "{number}");
                assert!(
                    matches!(
                        found.kind,
                        Some(LineType::Mobile | LineType::FixedLineOrMobile)
                    ),
                    "{number}"
                );
                assert_eq!(&number[number.len() - 4..] == "9020", n % 100 == 0);
                assert!(met.insert(number));
            }
        }
        let wire = analyse(&people.landline(), None);
        assert_eq!(wire.kind, Some(LineType::FixedLine));
        assert!(!analyse(&people.misdialled(), None).valid);
    }

    #[test]
    fn a_seed_repeats_everybody() {
        let meet = |seed| {
            let mut people = People::new(seed);
            (people.anybody(Place::Us), people.code(), people.landline())
        };
        assert_eq!(meet(3), meet(3));
        assert_ne!(meet(3), meet(4));
    }
}
