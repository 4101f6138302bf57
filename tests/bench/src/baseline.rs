//! What a run is compared with: the committed counts of modules from the same compiler, or where there are
//! none, the current ones with a wider tolerance. Says what it compared; comparing nothing fails.

use std::path::Path;

use anyhow::{Result, bail};

use crate::counts::Row;
use crate::results::{self, Results};

/// The file of counts that RESULTS.md shows.
pub const CURRENT: &str = "current";

/// The command that brings the committed counts up to date.
const UPDATE: &str = "cargo xtask bench canister";

/// Names the compiler in a file of counts; counts of modules from two compilers are never mixed in one.
///
/// # Errors
/// The file has counts of another compiler's modules.
pub fn own(committed: &mut Results, compiler: &str, name: &str) -> Result<()> {
    match &committed.compiler {
        Some(other) if other != compiler && !committed.rows.is_empty() => bail!(
            "{name}.toml holds counts of modules from {other}, and this one is from {compiler}: name \
             another file with `--version`, such as `{UPDATE} --quick --version rustup`"
        ),
        _ => committed.compiler = Some(compiler.to_owned()),
    }
    Ok(())
}

/// What a run is compared with.
pub struct Baseline {
    /// The file.
    name: String,
    committed: Results,
    /// What compiled the module that is measured, if it is known.
    compiler: Option<String>,
    /// By how much a count may be higher.
    percent: u64,
}

impl Baseline {
    /// Finds the counts of modules from the same compiler, or else the current ones; a name decides
    /// which.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn find(folder: &Path, version: Option<&str>, compiler: Option<&str>) -> Result<Self> {
        let found = match (version, compiler) {
            (None, Some(compiler)) => Results::find(folder, compiler)?,
            _ => None,
        };
        let (name, committed) = match found {
            Some(found) => found,
            None => {
                let name = format!("{}.toml", version.unwrap_or(CURRENT));
                let committed = Results::read(&folder.join(&name))?;
                (name, committed)
            }
        };
        let is_same = compiler.is_none() || committed.compiler.as_deref() == compiler;
        Ok(Self {
            name,
            committed,
            compiler: compiler.map(str::to_owned),
            percent: if is_same {
                results::TOLERANCE_PERCENT
            } else {
                results::OTHER_COMPILER_PERCENT
            },
        })
    }

    /// Fails when a count worsened or is not on record, and says what was compared.
    ///
    /// # Errors
    /// One did.
    pub fn verdict(&self, measured: &Results) -> Result<()> {
        let differences = self.committed.differences(measured, self.percent);
        for difference in &differences {
            println!("{difference}");
        }
        let failed: Vec<_> = differences
            .iter()
            .filter(|found| found.is_failure())
            .collect();
        let (rows, counts) = (
            measured.rows.len(),
            measured.rows.values().map(Row::len).sum::<usize>(),
        );
        if counts == 0 {
            bail!("nothing was measured, so nothing was compared");
        }
        let (name, percent) = (&self.name, self.percent);
        if !failed.is_empty() {
            bail!(
                "{} of {counts} counts are more than {percent} % worse than in {name}, or not in it (above); if \
             that is meant to be, run `{UPDATE} --quick` (without `--quick` for all counts) and commit what \
             it writes",
                failed.len()
            );
        }
        println!("{counts} counts in {rows} rows are as in {name}, or better");
        Ok(())
    }
}

impl std::fmt::Display for Baseline {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            committed,
            compiler,
            percent,
        } = self;
        let known = |compiler: &Option<String>| match compiler {
            Some(name) => name.clone(),
            None => "a compiler nobody names".to_owned(),
        };
        write!(
            formatter,
            "comparing a module from {} with {name}, {percent} % more is allowed",
            known(compiler)
        )?;
        if *percent == results::TOLERANCE_PERCENT {
            return Ok(());
        }
        write!(
            formatter,
            " because those counts are of a module from {}: no file in tests/bench/results has counts of \
             this compiler. `{UPDATE} --quick --version NAME` writes one",
            known(&committed.compiler)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::row;

    fn results(compiler: &str, instructions: u64) -> Results {
        let row = row(&[("instructions", instructions)]);
        Results {
            compiler: Some(compiler.to_owned()),
            rows: [("small.x".to_owned(), row)].into(),
        }
    }

    fn baseline(compiler: &str, percent: u64) -> Baseline {
        Baseline {
            name: "current.toml".to_owned(),
            committed: results(compiler, 100),
            compiler: Some("rustc 1".to_owned()),
            percent,
        }
    }

    #[test]
    fn a_worsened_count_fails_the_check_and_names_the_command() {
        let same = baseline("rustc 1", 5);
        let error = same
            .verdict(&results("rustc 1", 106))
            .expect_err("it is worse");
        let text = error.to_string();
        assert!(text.starts_with("1 of 1 counts"), "{text}");
        assert!(
            text.contains("cargo xtask bench canister --quick"),
            "{text}"
        );
        for instructions in [90, 100, 105] {
            same.verdict(&results("rustc 1", instructions))
                .expect("better, equal or close");
        }
    }

    #[test]
    fn a_check_that_compares_nothing_fails() {
        let error = baseline("rustc 1", 5).verdict(&Results::default());
        let text = error.expect_err("nothing was measured").to_string();
        assert!(text.contains("nothing was compared"), "{text}");
        let nothing = Baseline {
            committed: Results::default(),
            ..baseline("rustc 1", 5)
        };
        nothing
            .verdict(&results("rustc 1", 1))
            .expect_err("nothing is committed");
    }

    #[test]
    fn a_check_says_with_what_it_compares_and_why() {
        let same = baseline("rustc 1", 5).to_string();
        assert!(
            same.ends_with("current.toml, 5 % more is allowed"),
            "{same}"
        );
        let other = baseline("rustc 2", 25).to_string();
        assert!(other.contains("from rustc 1 with"), "{other}");
        assert!(other.contains("of a module from rustc 2"), "{other}");
    }

    #[test]
    fn counts_of_two_compilers_are_never_mixed_in_a_file() {
        let mut committed = results("rustc 1", 1);
        own(&mut committed, "rustc 1", "current").expect("the same");
        let error = own(&mut committed, "rustc 2", "current").expect_err("another");
        assert!(error.to_string().contains("--version"), "{error}");
        let mut empty = Results::default();
        own(&mut empty, "rustc 2", "new").expect("a new file");
        assert_eq!(empty.compiler.as_deref(), Some("rustc 2"));
    }
}
