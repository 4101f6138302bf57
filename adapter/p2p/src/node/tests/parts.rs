//! The small parts.

use std::time::Duration;

use proptest::prelude::*;

use crate::node::chance::Chance;
use crate::node::limits::Bucket;
use crate::node::pause::{FIRST, LONGEST, Pause};

#[test]
fn pauses_double_up_to_the_longest_and_start_over_after_success() {
    let mut chance = Chance::new(3);
    let mut pause = Pause::default();
    let mut expected = FIRST;
    for _ in 0..14 {
        let wait = pause.fail(&mut chance);
        assert!(wait >= expected / 2 && wait <= expected * 3 / 2, "{wait:?}");
        expected = (expected * 2).min(LONGEST);
    }
    pause.succeed();
    assert!(pause.fail(&mut chance) <= FIRST * 3 / 2);
}

proptest! {
    #[test]
    fn a_bucket_gives_its_burst_and_its_rate_and_no_more(
        burst in 1_u64..10_000,
        rate in 1_u64..1_000_000,
        steps in prop::collection::vec((0_u64..5_000, 0_u64..500), 1..100),
    ) {
        let mut bucket = Bucket::new(burst, rate, Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut taken = 0;
        for (wait_ms, wanted) in steps {
            now += Duration::from_millis(wait_ms);
            let got = bucket.take(now, wanted);
            prop_assert!(got <= wanted);
            taken += got;
            let most = u128::from(burst) + u128::from(rate) * now.as_millis() / 1_000_000;
            prop_assert!(u128::from(taken) <= most);
        }
    }
}
