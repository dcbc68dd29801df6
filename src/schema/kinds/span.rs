//! Spans of time, as files write them.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::schema::{
    ValueKind,
    value::{Value, quoted},
};

/// A span of time with its unit, within bounds: `"20s"`.
pub struct Span {
    least: Duration,
    most: Duration,
}

/// From so many milliseconds to so many.
pub const fn span(least_ms: u64, most_ms: u64) -> Span {
    Span {
        least: Duration::from_millis(least_ms),
        most: Duration::from_millis(most_ms),
    }
}

pub const SECOND: u64 = 1_000;
pub const MINUTE: u64 = 60 * SECOND;
pub const HOUR: u64 = 60 * MINUTE;
pub const DAY: u64 = 24 * HOUR;

impl ValueKind for Span {
    type Out = Duration;

    fn read(&self, value: &Value<'_>) -> Option<Duration> {
        if !value.is_str() {
            return value.wrong("a duration in quotes with its unit, like \"20s\"");
        }
        let text = value.str()?;
        let Some(found) = parse_duration(text) else {
            return value.refuse(format!(
                "{} is no duration: write \"500ms\", \"20s\", \"5m\", \"24h\" or \"7d\"",
                quoted(text)
            ));
        };
        if found < self.least || found > self.most {
            let (least, most) = (duration(self.least), duration(self.most));
            return value.refuse(format!("must be from {least} to {most}"));
        }
        Some(found)
    }

    fn said(&self) -> String {
        format!("{} to {}", duration(self.least), duration(self.most))
    }

    fn json(&self) -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }
}

/// A duration in words of the configuration.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => 1,
        "s" => SECOND,
        "m" => MINUTE,
        "h" => HOUR,
        "d" => DAY,
        _ => return None,
    };
    let span = Duration::from_millis(number.checked_mul(millis)?);
    (span <= LONGEST).then_some(span)
}

/// The longest duration that means something anywhere.
const LONGEST: Duration = Duration::from_millis(400 * DAY);

/// How a duration is written.
pub fn duration(span: Duration) -> String {
    let millis = span.as_millis();
    for (unit, size) in [("d", DAY), ("h", HOUR), ("m", MINUTE), ("s", SECOND)] {
        let size = u128::from(size);
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    if millis == 0 {
        return "0s".to_owned();
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("24h"), Some(Duration::from_secs(86_400)));
        for wrong in [
            "",
            "20",
            "s",
            "-5s",
            "1.5s",
            "5 s",
            "99999999999999999999s",
            "5w",
            "401d",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
        for span in ["0s", "500ms", "90s", "5m", "36h", "7d"] {
            assert_eq!(duration(parse_duration(span).unwrap()), span);
        }
    }
}
