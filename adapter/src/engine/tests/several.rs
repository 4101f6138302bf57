//! Several adapters on one canister: what they push together, and who goes on when one dies.

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_core::{Height, UnixSeconds};

use super::config;
use super::model::{Chain, Model};
use super::simulation::Random;
use crate::engine::{Command, Engine, EngineConfig, Event, Now, Outcome, RIVAL_PATIENCE, Until};
use crate::source::Discovery;

const HEARTBEAT: Duration = Duration::from_secs(1);

/// Blocks each source takes to be asked for at a time.
const READS_MAX: usize = 64;

struct Adapter {
    engine: Engine,
    /// Headers its source has reported.
    reported: usize,
    pushed_bytes: u64,
    outcome: Option<Outcome>,
    is_alive: bool,
}

enum Due {
    Request(Command),
    Event(Event),
}

/// Adapters, each with a source of its own that shows the same chain.
struct Several {
    chain: Chain,
    model: Model,
    adapters: Vec<Adapter>,
    due: BTreeMap<(Duration, u64), (usize, Due)>,
    sequence: u64,
    now: Duration,
    next_heartbeat: Duration,
    random: Random,
    latency_ms: (u64, u64),
}

impl Several {
    fn new(count: u64, until: Until, chain: &Chain, seed: u64) -> Self {
        let adapter = |number| Adapter {
            engine: Engine::new(
                EngineConfig {
                    seed: seed.wrapping_mul(31).wrapping_add(number + 1),
                    ..config(until)
                },
                READS_MAX,
            ),
            reported: 0,
            pushed_bytes: 0,
            outcome: None,
            is_alive: true,
        };
        Self {
            chain: chain.clone(),
            model: Model::default(),
            adapters: (0..count).map(adapter).collect(),
            due: BTreeMap::new(),
            sequence: 0,
            now: Duration::ZERO,
            next_heartbeat: HEARTBEAT,
            random: Random::new(seed),
            latency_ms: (20, 400),
        }
    }

    fn pushed_bytes(&self) -> u64 {
        self.adapters
            .iter()
            .map(|adapter| adapter.pushed_bytes)
            .sum()
    }

    /// Runs for a time, or until all adapters have ended.
    fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let wakes = (0..self.adapters.len()).filter(|number| self.is_running(*number));
            let wake = wakes
                .map(|number| (self.adapters[number].engine.wake_at().max(self.now), number))
                .min();
            let Some((wake_at, sleeper)) = wake else {
                return;
            };
            let due_at = self.due.first_key_value().map(|((time, _), _)| *time);
            let next = wake_at
                .min(due_at.unwrap_or(Duration::MAX))
                .min(self.next_heartbeat);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            if next == self.next_heartbeat {
                self.next_heartbeat += HEARTBEAT;
                self.model.heartbeat();
            } else if due_at == Some(next) {
                let (_, (number, due)) = self.due.pop_first().expect("one is due");
                if self.is_running(number) {
                    self.happen(number, due);
                }
            } else {
                self.give(sleeper, Event::Tick);
            }
        }
    }

    fn is_running(&self, number: usize) -> bool {
        let adapter = &self.adapters[number];
        adapter.is_alive && adapter.outcome.is_none()
    }

    fn happen(&mut self, number: usize, due: Due) {
        self.model.caller = number;
        let answer = match due {
            Due::Event(event) => return self.give(number, event),
            Due::Request(Command::Ask { locator }) => {
                Event::Answered(Ok(self.model.feed_state(&locator)))
            }
            Due::Request(Command::Push(id, parts)) => Event::Pushed(id, Ok(self.model.push(parts))),
            Due::Request(_) => return,
        };
        self.later(number, Due::Event(answer));
    }

    fn give(&mut self, number: usize, event: Event) {
        let now = Now {
            elapsed: self.now,
            unix: UnixSeconds::new(1_700_000_000),
        };
        for command in self.adapters[number].engine.on(now, event) {
            match command {
                Command::Finish(outcome) => self.adapters[number].outcome = Some(outcome),
                Command::Notify(_) => {}
                Command::Discover { .. } => {
                    let reported = &mut self.adapters[number].reported;
                    let headers = self.chain.headers[*reported..].to_vec();
                    *reported += headers.len();
                    let discovery = Discovery {
                        headers,
                        ..Discovery::default()
                    };
                    self.later(number, Due::Event(Event::Discovered(Ok(discovery))));
                }
                Command::Read(hashes) => {
                    for hash in hashes {
                        let block = self.chain.block(hash).expect("the chain has the block");
                        self.later(number, Due::Event(Event::Read(hash, Ok(block))));
                    }
                }
                command => {
                    if let Command::Push(_, parts) = &command {
                        let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
                        self.adapters[number].pushed_bytes += bytes as u64;
                    }
                    self.later(number, Due::Request(command));
                }
            }
        }
    }

    fn later(&mut self, number: usize, due: Due) {
        let (least, most) = self.latency_ms;
        let latency = least + self.random.below(most - least + 1);
        self.sequence += 1;
        let time = self.now + Duration::from_millis(latency);
        self.due.insert((time, self.sequence), (number, due));
    }
}

#[test]
fn two_or_three_adapters_push_little_more_than_one() {
    let chain = Chain::linear(1_500, |height| 5_000 + (height * 7_919) % 30_000);
    for (count, seed) in [(2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (3, 3)] {
        // Messages overtake one another, so one alone repeats some, too.
        let mut alone = Several::new(1, Until::Synced, &chain, seed);
        alone.run_for(Duration::from_secs(3_600));
        let expected = alone.pushed_bytes();
        let mut several = Several::new(count, Until::Synced, &chain, seed);
        several.run_for(Duration::from_secs(3_600));
        assert_eq!(several.model.tip().height, Height::new(1_500));
        for adapter in &several.adapters {
            assert!(
                matches!(&adapter.outcome, Some(Outcome::Synced { tip, .. }) if tip.height == Height::new(1_500)),
                "{count} adapters, seed {seed}: {:?}",
                adapter.outcome
            );
        }
        let pushed = several.pushed_bytes();
        println!(
            "{count} adapters, seed {seed}: {:.3} of one",
            pushed as f64 / expected as f64
        );
        assert!(
            pushed * 4 <= expected * 5,
            "{count} adapters, seed {seed}: {pushed} bytes for {expected}"
        );
    }
}

#[test]
fn blocks_in_parts_are_pushed_little_more_often_than_once() {
    let chain = Chain::linear(40, |_| 900_000);
    for seed in 1..4 {
        let mut alone = Several::new(1, Until::Synced, &chain, seed);
        alone.run_for(Duration::from_secs(7_200));
        let mut several = Several::new(2, Until::Synced, &chain, seed);
        several.run_for(Duration::from_secs(7_200));
        assert_eq!(several.model.tip().height, Height::new(40));
        let (pushed, expected) = (several.pushed_bytes(), alone.pushed_bytes());
        println!(
            "parts, seed {seed}: {:.3} of one",
            pushed as f64 / expected as f64
        );
        assert!(
            pushed * 4 <= expected * 5,
            "seed {seed}: {pushed} bytes for {expected}"
        );
    }
}

#[test]
fn when_the_adapter_that_pushes_dies_another_goes_on() {
    let chain = Chain::linear(3_000, |_| 20_000);
    for seed in 1..4 {
        let mut several = Several::new(2, Until::Stopped, &chain, seed);
        several.run_for(Duration::from_secs(30));
        let reached = several.model.tip().height;
        assert!(
            reached > Height::ZERO && reached < Height::new(2_000),
            "{reached}"
        );
        // The one that pushed more in the last seconds is the one to die.
        let before: Vec<u64> = several
            .adapters
            .iter()
            .map(|one| one.pushed_bytes)
            .collect();
        several.run_for(Duration::from_secs(5));
        let gained = |number: usize| several.adapters[number].pushed_bytes - before[number];
        let leader = if gained(0) > gained(1) { 0 } else { 1 };
        several.adapters[leader].is_alive = false;
        let other = several.adapters[1 - leader].pushed_bytes;
        // The queue drains, the longest patience passes, and a search and a push take their calls.
        several.run_for(RIVAL_PATIENCE * 3 / 2 + Duration::from_secs(10));
        assert!(
            several.adapters[1 - leader].pushed_bytes > other,
            "seed {seed}: nobody goes on"
        );
        several.run_for(Duration::from_secs(3_600));
        assert_eq!(
            several.model.tip().height,
            Height::new(3_000),
            "seed {seed}"
        );
    }
}

#[test]
fn at_the_tip_each_new_block_is_pushed_once() {
    let chain = Chain::linear(120, |_| 50_000);
    for seed in 1..4 {
        let mut several = Several::new(3, Until::Stopped, &chain.truncated(20), seed);
        several.run_for(Duration::from_secs(120));
        assert_eq!(several.model.tip().height, Height::new(20));
        let before = several.pushed_bytes();
        for length in 21..=120 {
            several.chain = chain.truncated(length);
            several.run_for(Duration::from_secs(60));
            assert_eq!(
                several.model.tip().height,
                Height::new(length as u32),
                "seed {seed}"
            );
        }
        let pushed = several.pushed_bytes() - before;
        println!(
            "tip, seed {seed}: {:.3} of one",
            pushed as f64 / 5_000_000.0
        );
        assert!(
            pushed <= 6_250_000,
            "seed {seed}: {pushed} bytes for 5,000,000"
        );
    }
}
