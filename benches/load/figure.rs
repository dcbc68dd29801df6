//! Figures: what was measured, what it is held against, and how a run is written down.

use std::{collections::BTreeMap, fmt::Write, path::Path};

use super::Result;

/// What a figure is held against: the first column of the targets.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// For orientation only.
    None,
}

/// One figure of one round.
#[derive(Clone, Debug)]
pub struct Figure {
    pub what: &'static str,
    pub unit: &'static str,
    pub goal: Goal,
    pub value: f64,
    /// The same of the floor, in the same round.
    pub floor: Option<f64>,
}

impl Figure {
    pub fn new(what: &'static str, unit: &'static str, goal: Goal, value: f64) -> Figure {
        Figure {
            what,
            unit,
            goal,
            value,
            floor: None,
        }
    }

    pub fn beside(self, floor: f64) -> Figure {
        Figure {
            floor: Some(floor),
            ..self
        }
    }

    pub fn line(&self) -> String {
        let floor = self
            .floor
            .map_or(String::new(), |f| format!(" (floor {})", short(f)));
        format!("{}: {} {}{floor}", self.what, short(self.value), self.unit)
    }
}

/// All rounds of all rows.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of their first round.
    lines: Vec<Line>,
    missing: BTreeMap<&'static str, String>,
}

#[derive(Debug)]
struct Line {
    row: &'static str,
    first: Figure,
    values: Vec<f64>,
    floors: Vec<f64>,
}

impl Report {
    pub fn add(&mut self, row: &'static str, figures: Vec<Figure>) {
        for figure in figures {
            let (value, floor) = (figure.value, figure.floor);
            let known = self
                .lines
                .iter_mut()
                .find(|l| l.row == row && l.first.what == figure.what);
            match known {
                Some(line) => {
                    line.values.push(value);
                    line.floors.extend(floor);
                }
                None => self.lines.push(Line {
                    row,
                    first: figure,
                    values: vec![value],
                    floors: floor.into_iter().collect(),
                }),
            }
        }
    }

    pub fn missing(&mut self, row: &'static str, why: &str) {
        self.missing.insert(row, why.to_owned());
    }

    /// As Markdown: medians, with the least and the most where there were several rounds.
    pub fn table(&self) -> String {
        let mut out = String::from(
            "| row | figure | median | least to most | floor | of the floor | goal | verdict |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for line in &self.lines {
            let value = median(&line.values);
            let floor = (!line.floors.is_empty()).then(|| median(&line.floors));
            let ratio = floor
                .filter(|f| *f > 0.0)
                .map(|f| format!("{:.2}", value / f));
            // Writing into a String can't fail.
            let _ = writeln!(
                out,
                "| {} | {}, {} | {} | {} | {} | {} | {} | {} |",
                line.row,
                line.first.what,
                line.first.unit,
                short(value),
                spread(&line.values),
                floor.map_or(String::new(), short),
                ratio.unwrap_or_default(),
                wanted(line.first.goal),
                verdict(line.first.goal, value),
            );
        }
        for (row, why) in &self.missing {
            let _ = writeln!(out, "| {row} | not measured: {why} | | | | | | |");
        }
        out
    }

    /// Into the file: everything between the two marks is replaced.
    pub fn write(&self, path: &Path) -> Result<()> {
        let before = std::fs::read_to_string(path)?;
        let (head, rest) = before
            .split_once(BEGIN)
            .ok_or("BENCHMARKS.md has lost its marks")?;
        let (_, tail) = rest
            .split_once(END)
            .ok_or("BENCHMARKS.md has lost its marks")?;
        let say = |name: &str| std::env::var(name).unwrap_or_else(|_| "unknown".to_owned());
        let text = format!(
            "{head}{BEGIN}\n\nMeasured {} at commit {} on {}.\n\n{}\n{END}{tail}",
            say("RINGBACK_BENCH_DATE"),
            say("RINGBACK_BENCH_COMMIT"),
            say("RINGBACK_BENCH_MACHINE"),
            self.table(),
        );
        Ok(std::fs::write(path, text)?)
    }
}

fn spread(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.len() > 1 {
        format!("{} to {}", short(least), short(most))
    } else {
        String::new()
    }
}

fn wanted(goal: Goal) -> String {
    match goal {
        Goal::AtLeast(goal) => format!("at least {}", short(goal)),
        Goal::AtMost(goal) => format!("at most {}", short(goal)),
        Goal::None => String::new(),
    }
}

fn verdict(goal: Goal, value: f64) -> &'static str {
    match goal {
        Goal::AtLeast(goal) if value >= goal => "met",
        Goal::AtMost(goal) if value <= goal => "met",
        Goal::AtLeast(_) | Goal::AtMost(_) => "**missed**",
        Goal::None => "",
    }
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    quantile(values.to_vec(), 0.5)
}

/// The value that `share` of them do not exceed; 0 where there are none.
pub fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values
        .get((last as f64 * share).round() as usize)
        .copied()
        .unwrap_or(0.0)
}

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";
