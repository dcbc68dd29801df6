//! Points in time as people and protocols write them, without a calendar library: RFC 3339 for records, and
//! the ten-digit dates of SMPP receipts. Pure; the caller reads the clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// UTC, `2026-01-02T03:04:05.678Z`.
pub fn rfc3339_ms(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (year, month, day, hour, minute, second) = civil(since.as_secs());
    let ms = since.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// UTC, `YYMMDDhhmm`, or `YYMMDDhhmmss` with seconds, as in the text of a receipt (SMPP 3.4 appendix B).
pub fn receipt_date(unix: u64, seconds: bool) -> String {
    let (year, month, day, hour, minute, second) = civil(unix);
    let date = format!("{:02}{month:02}{day:02}{hour:02}{minute:02}", year % 100);
    if seconds {
        format!("{date}{second:02}")
    } else {
        date
    }
}

/// Seconds since 1970 of a UTC date; none where the date cannot be.
pub fn unix_of(
    year: i64,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
) -> Option<i64> {
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    // Days by the Gregorian rule, with the year beginning in March so that the leap day comes last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let days = 365 * shifted + shifted.div_euclid(4) - shifted.div_euclid(100)
        + shifted.div_euclid(400)
        + day_of_year
        - DAYS_BEFORE_1970_FROM_MARCH_0;
    Some(days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second))
}

/// Days from 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970_FROM_MARCH_0: i64 = 719_468;

/// Year, month, day, hour, minute, second (UTC).
fn civil(unix: u64) -> (u64, u64, u64, u64, u64, u64) {
    let mut days = unix / 86_400;
    let rest = unix % 86_400;
    let mut year = 1970;
    while days >= year_length(year) {
        days -= year_length(year);
        year += 1;
    }
    let mut month = 1;
    while days >= month_length(year, month) {
        days -= month_length(year, month);
        month += 1;
    }
    (
        year,
        month,
        days + 1,
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
    )
}

fn leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn year_length(year: u64) -> u64 {
    if leap(year) { 366 } else { 365 }
}

fn month_length(year: u64, month: u64) -> u64 {
    match month {
        2 if leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        let at = UNIX_EPOCH + Duration::from_millis(1_709_251_199_042);
        assert_eq!(rfc3339_ms(at), "2024-02-29T23:59:59.042Z");
        assert_eq!(rfc3339_ms(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(receipt_date(951_782_400, false), "0002290000");
    }

    #[test]
    fn there_and_back() {
        for unix in (0..4_102_444_800u64).step_by(86_399 * 97) {
            let (y, mo, d, h, mi, s) = civil(unix);
            assert_eq!(
                unix_of(y as i64, mo as u32, d as u32, h as u32, mi as u32, s as u32),
                Some(unix as i64)
            );
        }
        assert_eq!(unix_of(2026, 13, 1, 0, 0, 0), None);
    }
}
