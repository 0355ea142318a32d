//! What was measured: rows with their floor and ratio, as a table and as `results.json`.

use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Name that `make bench ONLY=…` takes.
    pub name: String,
    /// The figure, in `unit`.
    pub value: f64,
    pub unit: String,
    /// What the same run measured as the least that the job can cost, in `unit`; null where there is none.
    pub floor: Option<f64>,
    /// `value / floor`; for rates, the share of the floor's rate that was reached.
    pub ratio: Option<f64>,
    /// What the floor is made of, the aim, spread.
    pub note: String,
}

impl Row {
    pub fn new(name: &str, value: f64, unit: &str) -> Self {
        Self { name: name.to_owned(), value, unit: unit.to_owned(), floor: None, ratio: None, note: String::new() }
    }

    pub fn floor(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self.ratio = Some(self.value / floor);
        self
    }

    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// Prints the table.
pub fn print(rows: &[Row]) {
    println!("{:<30} {:>12} {:<8} {:>10} {:>7}  note", "name", "value", "unit", "floor", "ratio");
    for row in rows {
        let floor = row.floor.map_or_else(String::new, figure);
        let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        println!("{:<30} {:>12} {:<8} {floor:>10} {ratio:>7}  {}", row.name, figure(row.value), row.unit, row.note);
    }
    println!("{}", load());
}

/// Writes `results.json`: an array of rows.
pub fn write(rows: &[Row], path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(rows)?)?;
    Ok(())
}

/// The same for a run of some rows only: those that an earlier run measured stay.
pub fn merge(rows: &[Row], path: &Path) -> anyhow::Result<()> {
    let mut all: Vec<serde_json::Value> =
        std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    for row in rows {
        let value = serde_json::to_value(row)?;
        match all.iter_mut().find(|held| held.get("name") == value.get("name")) {
            Some(held) => *held = value,
            None => all.push(value),
        }
    }
    std::fs::write(path, serde_json::to_string_pretty(&all)?)?;
    Ok(())
}

fn figure(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}

/// The cost of one `work` and of one `floor` in microseconds: both in the same run, in turn, so that a machine whose
/// speed drifts slows both; for a moment each, so that most moments pass without another program's. The median.
pub fn paired(mut work: impl FnMut(), mut floor: impl FnMut()) -> (f64, f64) {
    const ROUNDS: usize = 401;
    let repeats = repeats(&mut work).max(1);
    let mut works = Vec::with_capacity(ROUNDS);
    let mut floors = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        works.push(timed(&mut work, repeats));
        floors.push(timed(&mut floor, repeats));
    }
    (median(&mut works), median(&mut floors))
}

/// How often `work` fits into 1 ms.
fn repeats(work: &mut impl FnMut()) -> u32 {
    let from = Instant::now();
    let mut count = 0;
    while from.elapsed() < Duration::from_millis(1) {
        work();
        count += 1;
    }
    count
}

fn timed(work: &mut impl FnMut(), repeats: u32) -> f64 {
    let from = Instant::now();
    for _ in 0..repeats {
        work();
    }
    from.elapsed().as_secs_f64() * 1e6 / f64::from(repeats)
}

/// The middle one.
pub fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value that `share` of them do not exceed.
pub fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((values.len().saturating_sub(1)) as f64 * share).round() as usize;
    values.get(index).copied().unwrap_or(f64::NAN)
}

/// `count`, or a part of it for a look at whether a row works at all: `HOLDFAST_BENCH_PART=20` makes it a twentieth. What
/// such a run measures is no figure.
pub fn scaled(count: usize) -> usize {
    let part = std::env::var("HOLDFAST_BENCH_PART").ok().and_then(|part| part.parse().ok()).unwrap_or(1);
    (count / part).max(1)
}

/// The load of the machine over the last minute, for the notes of absolute figures.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load {}", load.split(' ').next().unwrap_or("?"))
}
