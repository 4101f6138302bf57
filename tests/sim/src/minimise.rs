//! Takes events out of a failing schedule as long as the same check fails.

use crate::run::{Failure, run};
use crate::schedule::Schedule;
use crate::subject::Subject;

/// Runs that minimising may take.
const MAX_RUNS: u32 = 600;

/// Returns a schedule that fails the same check and fails it no more when any single event is taken out,
/// unless that takes too many runs; with how it fails.
pub fn minimise<S: Subject>(schedule: &Schedule, failure: &Failure) -> (Schedule, Failure) {
    let mut best = schedule.clone();
    let mut how = failure.clone();
    let mut runs = 0;
    let mut length = best.events.len().div_ceil(2).max(1);
    loop {
        let before = best.events.len();
        let mut start = 0;
        while start < best.events.len() && runs < MAX_RUNS {
            let mut candidate = best.clone();
            let end = candidate.events.len().min(start + length);
            candidate.events.drain(start..end);
            runs += 1;
            match run::<S>(&candidate) {
                Err(failure) if failure.check == how.check => {
                    best = candidate;
                    how = failure;
                }
                _ => start += length,
            }
        }
        let is_shorter = best.events.len() < before;
        if runs >= MAX_RUNS || (length == 1 && !is_shorter) {
            return (best, how);
        }
        length = (length / 2).max(1);
    }
}
