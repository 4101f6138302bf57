//! The committed counts: one line for each row, sorted, and the comparison of a new run with them.
//!
//! ```toml
//! "small.idle_heartbeat" = { heap_pages = 12, instructions = 34567, ... }
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::counts::Row;

/// By how much a count may grow, in per cent.
pub const TOLERANCE_PERCENT: u64 = 5;

/// By how much the heap pages of one message may grow besides: where an allocation falls moves a few
/// pages with every change of the module, and says nothing.
const HEAP_PAGES_SLACK: u64 = 8;

/// Opens the file.
const HEAD: &str = "\
# What the canister's module costs, by `cargo xtask bench canister`; RESULTS.md shows it with words.
# Counts are the same on every machine. Fewer is better.
";

/// Rows by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results(pub BTreeMap<String, Row>);

/// A count that differs by more than [`TOLERANCE_PERCENT`], or is in one place only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Row and count.
    pub name: String,
    /// What is committed; `None` when nothing is.
    pub committed: Option<u64>,
    /// What was measured; `None` when the row has no such count any more.
    pub measured: Option<u64>,
}

impl Difference {
    /// Whether this must not pass unnoticed: more than before, or nothing to compare with.
    pub fn is_failure(&self) -> bool {
        match (self.committed, self.measured) {
            (Some(committed), Some(measured)) => measured > committed,
            _ => true,
        }
    }
}

impl std::fmt::Display for Difference {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.name;
        match (self.committed, self.measured) {
            (Some(committed), Some(measured)) => {
                let word = if measured > committed {
                    "worse"
                } else {
                    "better"
                };
                write!(
                    formatter,
                    "{name}: {committed} is committed, {measured} measured: {word}"
                )
            }
            (None, Some(measured)) => {
                write!(
                    formatter,
                    "{name}: nothing is committed, {measured} measured"
                )
            }
            (Some(committed), None) => {
                write!(
                    formatter,
                    "{name}: {committed} is committed, but it was not measured"
                )
            }
            (None, None) => write!(formatter, "{name}: neither committed nor measured"),
        }
    }
}

impl Results {
    /// Reads a file; an absent one has no rows.
    ///
    /// # Errors
    /// It cannot be read, or does not hold counts.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let rows = toml::from_str(&text)
            .with_context(|| format!("{} does not hold counts", path.display()))?;
        Ok(Self(rows))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.text())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (name, row) in &self.0 {
            let counts: Vec<String> = row
                .iter()
                .map(|(name, count)| format!("{name} = {count}"))
                .collect();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "\"{name}\" = {{ {} }}", counts.join(", "));
        }
        text
    }

    /// A count, if it is there.
    pub fn count(&self, row: &str, name: &str) -> Option<u64> {
        self.0.get(row)?.get(name).copied()
    }

    /// Where `measured` differs from these by more than [`TOLERANCE_PERCENT`], row by row. Rows that
    /// were not measured at all are left alone: a run may measure some of them.
    pub fn differences(&self, measured: &Self) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (name, row) in &measured.0 {
            let committed = self.0.get(name).cloned().unwrap_or_default();
            let counts: std::collections::BTreeSet<&String> =
                row.keys().chain(committed.keys()).collect();
            for count in counts {
                let pair = (committed.get(count).copied(), row.get(count).copied());
                if pair
                    .0
                    .zip(pair.1)
                    .is_some_and(|(old, new)| is_close(count, old, new))
                {
                    continue;
                }
                differences.push(Difference {
                    name: format!("{name}, {count}"),
                    committed: pair.0,
                    measured: pair.1,
                });
            }
        }
        differences
    }

    /// Takes over the measured rows.
    pub fn update(&mut self, measured: Self) {
        self.0.extend(measured.0);
    }
}

/// Whether neither count is more than [`TOLERANCE_PERCENT`] above the other, or they differ by a few
/// heap pages only.
fn is_close(name: &str, old: u64, new: u64) -> bool {
    if name == "heap_pages" && old.abs_diff(new) <= HEAP_PAGES_SLACK {
        return true;
    }
    let (less, more) = (u128::from(old.min(new)), u128::from(old.max(new)));
    more * 100 <= less * u128::from(100 + TOLERANCE_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::row;

    fn results(counts: &[(&str, u64)]) -> Results {
        Results(BTreeMap::from([("small.x".to_owned(), row(counts))]))
    }

    #[test]
    fn a_count_that_worsens_by_more_than_five_per_cent_fails() {
        let committed = results(&[("instructions", 1_000), ("pages", 3)]);
        for (instructions, fails) in [(1_000, false), (1_050, false), (1_051, true)] {
            let measured = results(&[("instructions", instructions), ("pages", 3)]);
            let found = committed.differences(&measured);
            let failed = found.iter().any(Difference::is_failure);
            assert_eq!(failed, fails, "{instructions}: {found:?}");
        }
        let found = committed.differences(&results(&[("instructions", 1_000), ("pages", 4)]));
        assert_eq!(
            found[0].to_string(),
            "small.x, pages: 3 is committed, 4 measured: worse"
        );
        assert!(found[0].is_failure());
    }

    #[test]
    fn a_few_heap_pages_of_one_message_say_nothing() {
        let committed = results(&[("heap_pages", 20), ("heap_pages_per_1000_io", 20)]);
        let measured = results(&[("heap_pages", 28), ("heap_pages_per_1000_io", 20)]);
        assert_eq!(committed.differences(&measured), []);
        for (pages, per_io) in [(29, 20), (20, 22)] {
            let measured = results(&[("heap_pages", pages), ("heap_pages_per_1000_io", per_io)]);
            let found = committed.differences(&measured);
            assert!(found[0].is_failure(), "{found:?}");
        }
    }

    #[test]
    fn a_better_count_is_reported_and_does_not_fail() {
        let committed = results(&[("instructions", 1_000)]);
        let found = committed.differences(&results(&[("instructions", 900)]));
        assert_eq!(found.len(), 1);
        assert!(!found[0].is_failure(), "{found:?}");
        assert!(found[0].to_string().ends_with("better"), "{}", found[0]);
    }

    #[test]
    fn counts_in_one_place_only_fail_and_unmeasured_rows_do_not() {
        let committed = results(&[("instructions", 1_000)]);
        let found = committed.differences(&results(&[("pages", 1)]));
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(Difference::is_failure), "{found:?}");
        assert_eq!(committed.differences(&Results::default()), []);
        let zero = results(&[("pages", 0)]);
        assert_eq!(zero.differences(&zero), []);
        assert!(zero.differences(&results(&[("pages", 1)]))[0].is_failure());
    }

    #[test]
    fn the_file_reads_back_and_is_sorted_a_row_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("current.toml");
        let mut written = results(&[("instructions", 5), ("heap_pages", 1)]);
        written.0.insert(
            "full.a".to_owned(),
            row(&[("longest_message", u64::MAX >> 1)]),
        );
        written.write(&path).expect("written");
        assert_eq!(Results::read(&path).expect("read"), written);
        let text = std::fs::read_to_string(&path).expect("text");
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with('"')).collect();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].starts_with("\"full.a\""), "{text}");
        assert_eq!(
            rows[1],
            "\"small.x\" = { heap_pages = 1, instructions = 5 }"
        );
        let absent = Results::read(&folder.path().join("none.toml")).expect("no file");
        assert_eq!(absent, Results::default());
        std::fs::write(&path, "\"small.x\" = 3").expect("written");
        let error = Results::read(&path).expect_err("a number is no row");
        assert!(
            error.to_string().contains("does not hold counts"),
            "{error}"
        );
    }
}
