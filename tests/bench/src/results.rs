//! The committed counts: the compiler of the module they are of, then one line for each row, sorted; and
//! the comparison of a new run with them.
//!
//! Counts are the same on every machine, but not with every compiler: there may be a file for each, and a
//! module is compared with the file of its own. Where there is none, `current.toml` has to do, with a
//! wider tolerance.
//!
//! ```toml
//! compiler = "rustc 1.95.0 (59807616e 2026-04-14)"
//! "small.idle_heartbeat" = { heap_pages = 12, instructions = 34567, ... }
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::counts::Row;

/// By how much a count may grow, in per cent.
pub const TOLERANCE_PERCENT: u64 = 5;

/// By how much a count may be above that of a module from another compiler, in per cent.
pub const OTHER_COMPILER_PERCENT: u64 = 25;

/// By how much the heap pages of one message may grow besides: where an allocation falls moves a few
/// pages with every change of the module, and says nothing.
const HEAP_PAGES_SLACK: u64 = 8;

/// Opens the file.
const HEAD: &str = "\
# What the canister's module costs, by `cargo xtask bench canister`; RESULTS.md shows it with words.
# Counts are the same on every machine. Fewer is better.
";

/// The key of the compiler's name in a file.
const COMPILER: &str = "compiler";

/// Counts of one module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// What compiled the module, as it names itself.
    pub compiler: Option<String>,
    /// Rows by name.
    pub rows: BTreeMap<String, Row>,
}

/// A count that differs by more than the tolerance, or is in one place only.
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
                    "{name}: {committed} is committed, {measured} measured: {}{word}",
                    percent(committed, measured)
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
        Self::parse(&text).with_context(|| format!("{} does not hold counts", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let mut table: toml::Table = toml::from_str(text)?;
        let compiler = table.remove(COMPILER).map(toml::Value::try_into);
        Ok(Self {
            compiler: compiler.transpose()?,
            rows: table.try_into()?,
        })
    }

    /// Reads the counts of modules from `compiler`, and the name of their file, if a folder has any.
    ///
    /// # Errors
    /// A file cannot be read, or does not hold counts.
    pub fn find(folder: &Path, compiler: &str) -> Result<Option<(String, Self)>> {
        let entries = std::fs::read_dir(folder)
            .with_context(|| format!("cannot list {}", folder.display()))?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".toml"))
            .collect();
        names.sort();
        for name in names {
            let results = Self::read(&folder.join(&name))?;
            if results.compiler.as_deref() == Some(compiler) {
                return Ok(Some((name, results)));
            }
        }
        Ok(None)
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
        if let Some(compiler) = &self.compiler {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{COMPILER} = {}",
                toml::Value::from(compiler.as_str())
            );
        }
        for (name, row) in &self.rows {
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
        self.rows.get(row)?.get(name).copied()
    }

    /// Where `measured` differs from these by more than `percent`, row by row. Rows that were not
    /// measured at all are left alone: a run may measure some of them.
    pub fn differences(&self, measured: &Self, percent: u64) -> Vec<Difference> {
        let mut differences = Vec::new();
        for (name, row) in &measured.rows {
            let committed = self.rows.get(name).cloned().unwrap_or_default();
            let counts: std::collections::BTreeSet<&String> =
                row.keys().chain(committed.keys()).collect();
            for count in counts {
                let pair = (committed.get(count).copied(), row.get(count).copied());
                if pair
                    .0
                    .zip(pair.1)
                    .is_some_and(|(old, new)| is_close(count, old, new, percent))
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
        self.rows.extend(measured.rows);
    }
}

/// By how much a count grew or shrank, with a space after it; nothing where there was none before.
fn percent(committed: u64, measured: u64) -> String {
    if committed == 0 {
        return String::new();
    }
    let permille = u128::from(committed.abs_diff(measured)) * 1_000 / u128::from(committed);
    format!("{}.{} % ", permille / 10, permille % 10)
}

/// Whether neither count is more than `percent` above the other, or they differ by a few heap pages
/// only.
fn is_close(name: &str, old: u64, new: u64, percent: u64) -> bool {
    if name == "heap_pages" && old.abs_diff(new) <= HEAP_PAGES_SLACK {
        return true;
    }
    let (less, more) = (u128::from(old.min(new)), u128::from(old.max(new)));
    more * 100 <= less * u128::from(100 + percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::row;

    fn results(counts: &[(&str, u64)]) -> Results {
        Results {
            compiler: None,
            rows: BTreeMap::from([("small.x".to_owned(), row(counts))]),
        }
    }

    #[test]
    fn a_count_that_worsens_by_more_than_five_per_cent_fails() {
        let committed = results(&[("instructions", 1_000), ("pages", 3)]);
        for (instructions, fails) in [(1_000, false), (1_050, false), (1_051, true)] {
            let measured = results(&[("instructions", instructions), ("pages", 3)]);
            let found = committed.differences(&measured, TOLERANCE_PERCENT);
            let failed = found.iter().any(Difference::is_failure);
            assert_eq!(failed, fails, "{instructions}: {found:?}");
        }
        let found = committed.differences(
            &results(&[("instructions", 1_000), ("pages", 4)]),
            TOLERANCE_PERCENT,
        );
        assert_eq!(
            found[0].to_string(),
            "small.x, pages: 3 is committed, 4 measured: 33.3 % worse"
        );
        assert!(found[0].is_failure());
    }

    #[test]
    fn a_few_heap_pages_of_one_message_say_nothing() {
        let committed = results(&[("heap_pages", 20), ("heap_pages_per_1000_io", 20)]);
        let measured = results(&[("heap_pages", 28), ("heap_pages_per_1000_io", 20)]);
        assert_eq!(committed.differences(&measured, TOLERANCE_PERCENT), []);
        for (pages, per_io) in [(29, 20), (20, 22)] {
            let measured = results(&[("heap_pages", pages), ("heap_pages_per_1000_io", per_io)]);
            let found = committed.differences(&measured, TOLERANCE_PERCENT);
            assert!(found[0].is_failure(), "{found:?}");
        }
    }

    #[test]
    fn a_module_from_another_compiler_may_cost_more_than_one_from_the_same() {
        let committed = results(&[("instructions", 1_000)]);
        for (instructions, fails) in [(1_250, false), (1_251, true)] {
            let measured = results(&[("instructions", instructions)]);
            let found = committed.differences(&measured, OTHER_COMPILER_PERCENT);
            assert_eq!(!found.is_empty(), fails, "{instructions}: {found:?}");
        }
    }

    #[test]
    fn a_file_is_found_by_the_compiler_it_names() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, compiler: Option<&str>| {
            let results = Results {
                compiler: compiler.map(str::to_owned),
                ..results(&[("instructions", 1)])
            };
            results.write(&folder.path().join(name)).expect("written");
        };
        write("a.toml", None);
        write("b.toml", Some("rustc 1"));
        write("c.toml", Some("rustc 2"));
        let find = |compiler| Results::find(folder.path(), compiler).expect("readable");
        assert_eq!(
            find("rustc 2").map(|(name, _)| name).as_deref(),
            Some("c.toml")
        );
        assert_eq!(find("rustc 3"), None);
    }

    #[test]
    fn a_better_count_is_reported_and_does_not_fail() {
        let committed = results(&[("instructions", 1_000)]);
        let found = committed.differences(&results(&[("instructions", 900)]), TOLERANCE_PERCENT);
        assert_eq!(found.len(), 1);
        assert!(!found[0].is_failure(), "{found:?}");
        assert!(found[0].to_string().ends_with("better"), "{}", found[0]);
    }

    #[test]
    fn counts_in_one_place_only_fail_and_unmeasured_rows_do_not() {
        let committed = results(&[("instructions", 1_000)]);
        let found = committed.differences(&results(&[("pages", 1)]), TOLERANCE_PERCENT);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(Difference::is_failure), "{found:?}");
        assert_eq!(
            committed.differences(&Results::default(), TOLERANCE_PERCENT),
            []
        );
        let zero = results(&[("pages", 0)]);
        assert_eq!(zero.differences(&zero, TOLERANCE_PERCENT), []);
        assert!(zero.differences(&results(&[("pages", 1)]), TOLERANCE_PERCENT)[0].is_failure());
    }

    #[test]
    fn the_file_reads_back_and_is_sorted_a_row_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("current.toml");
        let mut written = results(&[("instructions", 5), ("heap_pages", 1)]);
        written.compiler = Some("rustc 1.95.0 (\"x\")".to_owned());
        written.rows.insert(
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
