//! How often everything happened, over all runs: what never happened was not tested.

use std::collections::BTreeMap;

/// Counts by name; names are `group/kind`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<String, u64>,
    peaks: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// Counts something once.
    pub fn note(&mut self, group: &str, kind: impl std::fmt::Debug) {
        let kind = format!("{kind:?}");
        let kind = kind.split(['(', ' ', '{']).next().unwrap_or_default();
        let kind = kind.trim_matches('"');
        *self.counts.entry(format!("{group}/{kind}")).or_default() += 1;
    }

    /// Keeps the largest value of something that has a bound.
    pub fn peak(&mut self, name: &'static str, value: u64) {
        let peak = self.peaks.entry(name).or_default();
        *peak = value.max(*peak);
    }

    /// Returns the largest values.
    pub const fn peaks(&self) -> &BTreeMap<&'static str, u64> {
        &self.peaks
    }

    /// Adds another's counts.
    pub fn merge(&mut self, other: &Self) {
        for (name, value) in &other.peaks {
            self.peak(name, *value);
        }
        for (name, count) in &other.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
    }

    /// Returns all counts.
    pub const fn counts(&self) -> &BTreeMap<String, u64> {
        &self.counts
    }

    /// Returns the names of `expected` that were never counted.
    pub fn missing<'a>(&self, expected: &'a [String]) -> Vec<&'a str> {
        let missing = expected
            .iter()
            .filter(|name| !self.counts.contains_key(*name));
        missing.map(String::as_str).collect()
    }
}
