//! The fast path for clean E.164: one table per calling code, built on first use from the library's own
//! metadata, walked digit by digit. It answers only where the library would take the digits as they stand;
//! in every other case (a national prefix in the way, odd lengths, unknown codes) it says nothing and the
//! library is asked. So it cannot disagree, and follows the library's updates by itself.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use rlibphonenumber::interfaces::AsOriginal;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberUtil, Region};

use super::pattern::{Anchor, Automaton, Patterns, State};
use super::{Country, LineType};

/// National digits that the table answers for; shorter and longer ones go to the library.
const NATIONAL: std::ops::RangeInclusive<usize> = 4..=14;
/// Most leading zeros that survive the library's number type.
const MAX_ZEROS: usize = 9;
/// Most rows of one table (48 octets each); beyond, the calling code goes without.
const MAX_ROWS: usize = 60_000;

/// What the table knows of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub calling_code: u16,
    pub calling_code_digits: usize,
    pub country: Option<Country>,
    pub kind: LineType,
    pub possible: bool,
}

/// Looks up `+` and digits. `None`: ask the library.
pub(super) fn look_up(e164: &str) -> Option<Found> {
    let digits = e164.strip_prefix('+')?.as_bytes();
    if digits.len() < 6 || digits.len() > 17 {
        return None;
    }
    let mut first = 0usize;
    for octet in &digits[..3] {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        first = first * 10 + usize::from(digit);
    }
    let (calling_code, calling_code_digits) = CALLING_CODES[first];
    if calling_code == 0 {
        return None;
    }
    let national = &digits[usize::from(calling_code_digits)..];
    if !NATIONAL.contains(&national.len())
        || national.iter().take_while(|d| **d == b'0').count() > MAX_ZEROS
    {
        return None;
    }
    let table = TABLES
        .get(usize::from(calling_code))?
        .get_or_init(|| Table::build(calling_code))
        .as_ref()?;
    let mut at = 0u32;
    for octet in national {
        let digit = octet.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        at = table.rows[at as usize].next[usize::from(digit)];
        if at == NOWHERE {
            break;
        }
    }
    let answer = if at == NOWHERE {
        if !national.iter().all(u8::is_ascii_digit) {
            return None;
        }
        table.nothing
    } else {
        table.rows[at as usize].answer
    };
    if answer.ask {
        return None;
    }
    Some(Found {
        calling_code,
        calling_code_digits: usize::from(calling_code_digits),
        country: answer.country,
        kind: answer.kind,
        possible: table.possible & (1 << national.len()) != 0,
    })
}

/// The countries of a calling code, the main one first; `001` for a non-geographic one.
pub(super) fn countries_of(calling_code: u16) -> Vec<Country> {
    PHONE_NUMBER_UTIL
        .get_regions_for_country_calling_code(i32::from(calling_code))
        .map(|regions| regions.filter_map(country).collect())
        .unwrap_or_default()
}

/// The library's region as ours.
pub(super) fn country(region: Region) -> Option<Country> {
    Country::parse(&region.as_region_str())
}

/// By the first three digits: the calling code and its length; 0 where there is none.
static CALLING_CODES: LazyLock<Box<[(u16, u8); 1000]>> = LazyLock::new(|| {
    let mut codes = Box::new([(0u16, 0u8); 1000]);
    for code in PHONE_NUMBER_UTIL.get_supported_calling_codes() {
        let (Ok(code), span, length) = (u16::try_from(code), span(code), length(code)) else {
            continue;
        };
        let from = usize::from(code) * span;
        for slot in codes.iter_mut().skip(from).take(span) {
            *slot = (code, length);
        }
    }
    codes
});

/// How many three-digit beginnings a calling code covers.
fn span(code: i32) -> usize {
    match code {
        ..=9 => 100,
        10..=99 => 10,
        _ => 1,
    }
}

fn length(code: i32) -> u8 {
    match code {
        ..=9 => 1,
        10..=99 => 2,
        _ => 3,
    }
}

static TABLES: [OnceLock<Option<Table>>; 1000] = [const { OnceLock::new() }; 1000];

/// No row: nothing that starts like this is known.
const NOWHERE: u32 = u32::MAX;

struct Table {
    rows: Vec<Row>,
    /// The answer where the digits leave the table.
    nothing: Answer,
    /// Bit n: national numbers of n digits are possible.
    possible: u32,
}

struct Row {
    next: [u32; 10],
    answer: Answer,
}

#[derive(Clone, Copy)]
struct Answer {
    country: Option<Country>,
    kind: LineType,
    /// A national prefix may have to be taken off: the library decides.
    ask: bool,
}

/// The patterns of a region, in the order in which the library asks them; the general one first.
const DESCS: [LineType; 11] = [
    LineType::Unknown,
    LineType::PremiumRate,
    LineType::TollFree,
    LineType::SharedCost,
    LineType::Voip,
    LineType::PersonalNumber,
    LineType::Pager,
    LineType::Uan,
    LineType::Voicemail,
    LineType::FixedLine,
    LineType::Mobile,
];
/// Patterns per region: the eleven above and the leading digits.
const PER_REGION: u16 = 12;
const LEADING: u16 = 11;
/// The pattern of the national prefix, of the main region only.
const NATIONAL_PREFIX: u16 = u16::MAX;

/// What the plan of one region says besides its patterns.
struct Plan {
    country: Option<Country>,
    same: bool,
    /// Per entry of [`DESCS`]: bit n for n digits; 0 for any length.
    lengths: [u64; 11],
}

impl Table {
    fn build(calling_code: u16) -> Option<Table> {
        let code = i32::from(calling_code);
        let util = <PhoneNumberUtil as AsOriginal<_>>::as_original(&PHONE_NUMBER_UTIL);
        let mut patterns = Patterns::default();
        let mut plans = Vec::new();
        let mut possible = 0;
        for (index, region) in util.get_regions_for_country_calling_code(code)?.enumerate() {
            let metadata = util.get_metadata_for_region_or_calling_code(code, region)?;
            let base = u16::try_from(index).ok()? * PER_REGION;
            let descs = [
                &metadata.general_desc,
                &metadata.premium_rate,
                &metadata.toll_free,
                &metadata.shared_cost,
                &metadata.voip,
                &metadata.personal_number,
                &metadata.pager,
                &metadata.uan,
                &metadata.voicemail,
                &metadata.fixed_line,
                &metadata.mobile,
            ];
            let mut lengths = [0; 11];
            for (slot, desc) in descs.iter().enumerate() {
                lengths[slot] = length_bits(&desc.original.possible_length)?;
                let pattern = desc.national_number_pattern();
                if pattern.pattern_base.is_some() {
                    let id = base + u16::try_from(slot).ok()?;
                    patterns.add(pattern.original_base(), id, Anchor::Whole);
                }
            }
            if metadata.leading_digits().pattern_base.is_some() {
                let leading = metadata.leading_digits().original_base();
                patterns.add(leading, base + LEADING, Anchor::Prefix);
            }
            if index == 0 {
                let general = &metadata.general_desc.original;
                possible = length_bits(&general.possible_length)?
                    | length_bits(&general.possible_length_local_only)?;
                let prefix = metadata.national_prefix_for_parsing();
                if prefix.pattern_base.is_some() {
                    patterns.add(prefix.original_base(), NATIONAL_PREFIX, Anchor::Perhaps);
                }
            }
            let same = metadata.original.same_mobile_and_fixed_line_pattern();
            plans.push(Plan {
                country: super::table::country(region),
                same,
                lengths,
            });
        }
        let nothing = decide(&plans, &[], 0);
        let rows = rows(&patterns.automaton()?, &plans)?;
        Some(Table {
            rows,
            nothing,
            possible: u32::try_from(possible & 0xffff_ffff).ok()?,
        })
    }
}

/// Lengths as bits; `None` if one is beyond 63.
fn length_bits(lengths: &[i32]) -> Option<u64> {
    let mut bits = 0;
    for length in lengths {
        match length {
            // The library's mark for "no numbers of this kind".
            -1 => bits |= 1 << 63,
            0..=62 => bits |= 1 << length,
            _ => return None,
        }
    }
    Some(bits)
}

/// The automaton unrolled, one layer per digit, so that a row knows its length and its answer.
fn rows(automaton: &Automaton, plans: &[Plan]) -> Option<Vec<Row>> {
    let empty = |answer| Row {
        next: [NOWHERE; 10],
        answer,
    };
    // A national prefix that matches nothing at all takes nothing off: only matches after a digit count.
    let start = At {
        state: automaton.start()?,
        ask: false,
    };
    let mut rows = vec![empty(decide(plans, &[], 0))];
    let mut layer = vec![(0, start)];
    for depth in 1..=*NATIONAL.end() {
        let mut seen: HashMap<At, u32> = HashMap::new();
        let mut following = Vec::new();
        for (row, at) in &layer {
            for digit in 0..10u8 {
                let state = automaton.step(at.state, digit);
                let mut matched = automaton.matches(state);
                let ask = at.ask || matched.contains(&NATIONAL_PREFIX);
                if !ask && automaton.is_spent(state) {
                    continue;
                }
                if ask {
                    matched.push(NATIONAL_PREFIX);
                }
                let reached = At { state, ask };
                let target = match seen.get(&reached) {
                    Some(target) => *target,
                    None => {
                        if rows.len() >= MAX_ROWS {
                            return None;
                        }
                        let target = u32::try_from(rows.len()).ok()?;
                        rows.push(empty(decide(plans, &matched, depth)));
                        seen.insert(reached, target);
                        following.push((target, reached));
                        target
                    }
                };
                rows[*row as usize].next[usize::from(digit)] = target;
            }
        }
        layer = following;
    }
    Some(rows)
}

/// Where some digits lead.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct At {
    state: State,
    /// The first of them may be a national prefix.
    ask: bool,
}

/// The library's order of questions, over the patterns that matched `length` digits.
fn decide(plans: &[Plan], matched: &[u16], length: usize) -> Answer {
    let ask = matched.contains(&NATIONAL_PREFIX);
    let only = plans.len() == 1;
    for (index, plan) in plans.iter().enumerate() {
        let base = index as u16 * PER_REGION;
        let kind = kind(plan, matched, base, length);
        if only || kind != LineType::Unknown || matched.contains(&(base + LEADING)) {
            return Answer {
                country: plan.country,
                kind,
                ask,
            };
        }
    }
    Answer {
        country: None,
        kind: LineType::Unknown,
        ask,
    }
}

fn kind(plan: &Plan, matched: &[u16], base: u16, length: usize) -> LineType {
    let fits = |slot: usize| {
        let lengths = plan.lengths[slot];
        (lengths == 0 || lengths & (1 << length) != 0) && matched.contains(&(base + slot as u16))
    };
    if !fits(0) {
        return LineType::Unknown;
    }
    if let Some(slot) = (1..9).find(|slot| fits(*slot)) {
        return DESCS[slot];
    }
    match (fits(9), fits(10)) {
        (true, mobile) if plan.same || mobile => LineType::FixedLineOrMobile,
        (true, _) => LineType::FixedLine,
        (false, true) if !plan.same => LineType::Mobile,
        (false, _) => LineType::Unknown,
    }
}

#[cfg(test)]
pub(super) fn has_table(calling_code: u16) -> (bool, usize) {
    let table = TABLES[usize::from(calling_code)].get_or_init(|| Table::build(calling_code));
    (table.is_some(), table.as_ref().map_or(0, |t| t.rows.len()))
}
