//! Pace, times for people, and when a log line is due.

use std::time::Duration;

use millrace_core::{Height, UnixSeconds};

use super::*;

fn progress(height: u32, waiting: Option<Waiting>) -> Progress {
    Progress {
        source_height: Height::new(1_000_000),
        source_time: UnixSeconds::new(0),
        canister_height: Some(Height::new(height)),
        pushed_height: Height::new(height),
        acknowledged_blocks: 0,
        acknowledged_bytes: 0,
        pushed_blocks: 0,
        pushed_bytes: 0,
        held_bytes: 0,
        free_bytes: 0,
        free_blocks: 0,
        pending_blocks: 0,
        in_flight: 0,
        waiting,
    }
}

#[test]
fn the_pace_is_that_of_the_last_minute() {
    let mut meter = PaceMeter::default();
    let mut pace = Pace::default();
    // A fast hour, then a slow one; a report each quarter of a second.
    for quarter in 0..8 * 3_600u64 {
        let at = Duration::from_millis(250 * quarter);
        let fast = quarter.min(4 * 3_600);
        let slow = quarter - fast;
        let bytes = 2_000_000 * fast + 250_000 * slow;
        let height = Height::new(u32::try_from(100 + 8 * (fast / 4) + slow / 4).expect("small"));
        pace = meter.pace(at, bytes, height, 120);
        if quarter == 4 * 3_600 - 4 {
            assert!((pace.megabytes_per_second - 8.0).abs() < 0.01, "{pace:?}");
            assert!((pace.blocks_per_second - 8.0).abs() < 0.2, "{pace:?}");
            assert_eq!(pace.left, Some(Duration::from_secs(15)));
        }
    }
    assert!((pace.megabytes_per_second - 1.0).abs() < 0.01, "{pace:?}");
    assert!((pace.blocks_per_second - 1.0).abs() < 0.05, "{pace:?}");
    assert!(meter.samples() <= 62, "{}", meter.samples());
}

#[test]
fn nothing_is_said_of_a_pace_that_is_not_known() {
    let mut meter = PaceMeter::default();
    let second = Duration::from_secs;
    assert_eq!(meter.pace(second(0), 0, Height::ZERO, 9).time_left(), "?");
    // The canister's first answer is no leap of 900,000 blocks.
    let first = meter.pace(second(1), 0, Height::new(900_000), 9);
    assert_eq!((first.blocks_per_second, first.left), (0.0, None));
    let next = meter.pace(second(2), 0, Height::new(900_003), 6);
    assert_eq!(next.left, Some(second(2)));
    assert_eq!(
        meter
            .pace(second(3), 0, Height::new(900_009), 0)
            .time_left(),
        "0s"
    );
    // A chain that moved back starts anew.
    let back = meter.pace(second(4), 0, Height::new(900_001), 8);
    assert_eq!(back.left, None);
}

#[test]
fn durations_have_their_two_largest_units() {
    let cases = [
        (0, "0s"),
        (59, "59s"),
        (60, "1m 0s"),
        (3_599, "59m 59s"),
        (3_661, "1h 1m"),
        (90_000, "1d 1h"),
        (86_400, "1d 0h"),
        (864_000_059, "10000d 0h"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(words(Duration::from_secs(seconds)), expected);
    }
}

#[test]
fn log_lines_come_each_minute_or_each_thousand_blocks_and_rarely_when_idle() {
    let idle = Some(Waiting::NewBlocks);
    let full = Some(Waiting::QueueFull);
    // Reports in order: seconds, height, what is waited for, whether a line is due.
    let cases = [
        (1, 0, None, false),
        (10, 0, None, true),
        (60, 900, None, false),
        (70, 900, None, true),
        (75, 1_900, None, false),
        (80, 1_900, None, true),
        (81, 9_900, None, false),
        (90, 9_900, None, true),
        (140, 9_900, full, false),
        (150, 9_900, full, true),
        (209, 9_900, full, false),
        (210, 9_900, full, true),
        (270, 9_999, idle, true),
        (330, 9_999, idle, false),
        (869, 9_999, idle, false),
        (870, 9_999, idle, true),
        (900, 10_000, idle, false),
        (930, 10_000, idle, true),
    ];
    let mut schedule = Schedule::default();
    for (at, height, waiting, expected) in cases {
        let due = schedule.is_due(Duration::from_secs(at), &progress(height, waiting));
        assert_eq!(due, expected, "at {at} s");
    }
}

#[test]
fn a_waiting_line_says_for_how_long() {
    let mut reporter = Reporter::new(ProgressBar::hidden());
    let full = Some(Waiting::QueueFull);
    let mut at =
        |milliseconds, waiting| reporter.waiting(Duration::from_millis(milliseconds), waiting);
    assert_eq!(at(0, None), "");
    assert_eq!(at(1_000, full), Waiting::QueueFull.to_string());
    assert_eq!(
        at(63_000, full),
        format!("{}, for 1m 2s", Waiting::QueueFull)
    );
    let silent = Some(Waiting::Unreachable);
    assert_eq!(at(64_000, silent), Waiting::Unreachable.to_string());
    assert_eq!(
        at(65_500, silent),
        format!("{}, for 1s", Waiting::Unreachable)
    );
}
