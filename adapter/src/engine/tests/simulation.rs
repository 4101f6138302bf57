//! Runs an engine and a model canister in simulated time, with faults from a seed.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bitcoin::BlockHash;
use millrace_core::UnixSeconds;

use super::model::{Chain, Model};
use crate::engine::{Command, Engine, EngineConfig, Event, Notice, Now, Outcome, Waiting};
use crate::sink::SinkError;
use crate::source::{Discovery, MAX_HEADERS, SourceError};

/// Steps after which a simulation that does not end counts as stuck.
const STEPS_MAX: u32 = 2_000_000;

/// Blocks the source takes to be asked for at a time.
const READS_MAX: usize = 2_000;

const HEARTBEAT: Duration = Duration::from_secs(1);

/// A small deterministic generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % bound.max(1)
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub struct Faults {
    pub lost_requests_percent: u64,
    pub lost_replies_percent: u64,
    pub latency_ms_max: u64,
    pub restart_percent: u64,
    pub forget_halves_percent: u64,
    pub permanent_error_after: Option<u32>,
    /// Faults end after this many steps, so that there is an end.
    pub steps: u32,
}

impl Faults {
    pub fn none() -> Self {
        Self {
            lost_requests_percent: 0,
            lost_replies_percent: 0,
            latency_ms_max: 0,
            restart_percent: 0,
            forget_halves_percent: 0,
            permanent_error_after: None,
            steps: u32::MAX,
        }
    }

    pub fn random(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xfa17);
        Self {
            lost_requests_percent: random.below(20),
            lost_replies_percent: random.below(20),
            latency_ms_max: random.below(4_000),
            restart_percent: random.below(3),
            forget_halves_percent: random.below(10),
            permanent_error_after: None,
            steps: 3_000,
        }
    }
}

/// The source's side.
#[derive(Debug)]
pub struct Source {
    chain: Chain,
    reported: usize,
    pub damaged: HashSet<BlockHash>,
    /// Whether the file system refuses everything.
    pub is_refused: bool,
    /// Whether it is a node that does not answer.
    pub is_away: bool,
    pub attempts: std::cell::Cell<u32>,
}

impl Source {
    pub fn add(&mut self, chain: &Chain) {
        self.chain = self.chain.with(chain);
    }

    fn refuse(&self) -> Result<(), SourceError> {
        self.attempts.set(self.attempts.get() + 1);
        if self.is_away {
            return Err(SourceError::Unavailable {
                url: "model".to_owned(),
                reason: "away on purpose".to_owned(),
            });
        }
        if !self.is_refused {
            return Ok(());
        }
        Err(SourceError::Unreadable {
            action: "read",
            path: "model".to_owned(),
            reason: "refused on purpose".to_owned(),
        })
    }

    fn discover(&mut self) -> Result<Discovery, SourceError> {
        self.refuse()?;
        let headers = self.chain.headers[self.reported..]
            .iter()
            .take(MAX_HEADERS)
            .copied()
            .collect::<Vec<_>>();
        self.reported += headers.len();
        Ok(Discovery {
            headers,
            has_more: self.reported < self.chain.headers.len(),
            remarks: Vec::new(),
        })
    }

    fn read(&self, hash: BlockHash) -> Result<Vec<u8>, SourceError> {
        self.refuse()?;
        if self.damaged.contains(&hash) {
            return Err(SourceError::Damaged {
                hash,
                path: "model".to_owned(),
                offset: 0,
                reason: "damaged on purpose".to_owned(),
            });
        }
        self.chain.block(hash).ok_or(SourceError::Unknown { hash })
    }
}

/// Something that will happen.
enum Due {
    /// A request reaches the canister.
    Request(u32, Command),
    /// An event reaches the engine that was started as the given one.
    Event(u32, Event),
}

/// The simulation.
pub struct Simulation {
    config: EngineConfig,
    engine: Engine,
    /// Counts restarts; what is meant for an earlier engine is lost.
    life: u32,
    pub source: Source,
    pub model: Model,
    random: Random,
    now: Duration,
    next_heartbeat: Duration,
    due: BTreeMap<(Duration, u64), Due>,
    sequence: u64,
    calls: u32,
    pub pushed_bytes: u64,
    pub pushes: u32,
    pub asks: u32,
    pub faults_seen: u64,
    pub set_backs: u64,
    pub read_ahead_bytes_seen: u64,
    pub waits: Vec<Waiting>,
    pub given_up: Vec<BlockHash>,
}

impl Simulation {
    pub fn new(config: EngineConfig, chain: &Chain, model: Model, seed: u64) -> Self {
        Self {
            engine: Engine::new(config.clone(), READS_MAX),
            config,
            life: 0,
            source: Source {
                chain: chain.clone(),
                reported: 0,
                damaged: HashSet::new(),
                is_refused: false,
                is_away: false,
                attempts: std::cell::Cell::new(0),
            },
            model,
            random: Random::new(seed),
            now: Duration::ZERO,
            next_heartbeat: HEARTBEAT,
            due: BTreeMap::new(),
            sequence: 0,
            calls: 0,
            pushed_bytes: 0,
            pushes: 0,
            asks: 0,
            faults_seen: 0,
            set_backs: 0,
            read_ahead_bytes_seen: 0,
            waits: Vec::new(),
            given_up: Vec::new(),
        }
    }

    /// Runs to the end.
    pub fn run(&mut self, faults: Faults) -> Outcome {
        self.advance(Duration::MAX, faults)
            .expect("without a time limit a run ends with an outcome")
    }

    /// Runs for a time; the engine must not end before.
    pub fn run_for(&mut self, time: Duration, faults: Faults) {
        let outcome = self.advance(self.now + time, faults);
        assert_eq!(outcome, None);
    }

    /// Stops the engine and returns how it ends.
    pub fn stop(&mut self) -> Outcome {
        self.at(self.now, Due::Event(self.life, Event::Stop));
        self.run(Faults::none())
    }

    fn advance(&mut self, until: Duration, faults: Faults) -> Option<Outcome> {
        let mut faults = faults;
        for step in 0..STEPS_MAX {
            if step >= faults.steps {
                faults = Faults::none();
            }
            let tick = self.engine.wake_at().max(self.now);
            let due = self.due.first_key_value().map(|((time, _), _)| *time);
            let time = due
                .unwrap_or(Duration::MAX)
                .min(tick)
                .min(self.next_heartbeat);
            if time > until {
                self.now = until;
                return None;
            }
            self.now = time;
            if time == self.next_heartbeat {
                self.next_heartbeat += HEARTBEAT;
                self.model.heartbeat();
                self.disturb(&faults);
                continue;
            }
            let event = match due {
                Some(due) if due <= time => {
                    let (_, due) = self.due.pop_first().expect("one is due");
                    match due {
                        Due::Event(life, event) if life == self.life => event,
                        Due::Event(..) => continue,
                        Due::Request(life, command) => {
                            self.serve(life, command, &faults);
                            continue;
                        }
                    }
                }
                _ => Event::Tick,
            };
            if let Some(outcome) = self.give(event, &faults) {
                return Some(outcome);
            }
        }
        panic!(
            "stuck after {STEPS_MAX} steps: {:?}",
            self.engine.progress()
        );
    }

    fn disturb(&mut self, faults: &Faults) {
        if self.random.percent(faults.forget_halves_percent) {
            self.model.forget_halves();
            self.faults_seen += 1;
        }
        if self.random.percent(faults.restart_percent) {
            self.engine = Engine::new(self.config.clone(), READS_MAX);
            self.life += 1;
            self.source.reported = 0;
            self.faults_seen += 1;
        }
    }

    fn give(&mut self, event: Event, faults: &Faults) -> Option<Outcome> {
        let now = Now {
            elapsed: self.now,
            unix: UnixSeconds::new(1_700_000_000),
        };
        let commands = self.engine.on(now, event);
        self.read_ahead_bytes_seen = self
            .read_ahead_bytes_seen
            .max(self.engine.reading.bytes_held());
        for command in commands {
            match command {
                Command::Finish(outcome) => return Some(outcome),
                Command::Notify(notice) => self.note(notice),
                Command::Discover { .. } => {
                    let found = self.source.discover();
                    self.at(self.now, Due::Event(self.life, Event::Discovered(found)));
                }
                Command::Read(hashes) => {
                    for hash in hashes {
                        let event = Event::Read(hash, self.source.read(hash));
                        self.at(self.now, Due::Event(self.life, event));
                    }
                }
                command @ (Command::Ask { .. } | Command::Push(..)) => {
                    self.send(command, faults);
                }
            }
        }
        None
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Waiting(Some(waiting)) => self.waits.push(waiting),
            Notice::BlockGivenUp { block, .. } => self.given_up.push(block.hash),
            Notice::SetBack { .. } => self.set_backs += 1,
            _ => {}
        }
    }

    /// Sends a request on its way; requests overtake one another.
    fn send(&mut self, command: Command, faults: &Faults) {
        match &command {
            Command::Push(_, parts) => {
                self.pushes += 1;
                let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
                self.pushed_bytes += bytes as u64;
            }
            _ => self.asks += 1,
        }
        self.calls += 1;
        if faults
            .permanent_error_after
            .is_some_and(|calls| self.calls > calls)
        {
            return self.fail(
                &command,
                SinkError::NotAnAdapter {
                    caller: "caller".to_owned(),
                    canister: "canister".to_owned(),
                },
            );
        }
        if self.random.percent(faults.lost_requests_percent) {
            self.faults_seen += 1;
            return self.fail(&command, lost());
        }
        let time = self.now + self.latency(faults);
        self.at(time, Due::Request(self.life, command));
    }

    fn serve(&mut self, life: u32, command: Command, faults: &Faults) {
        let event = match command {
            Command::Ask { locator } => Event::Answered(Ok(self.model.feed_state(&locator))),
            Command::Push(id, parts) => Event::Pushed(id, Ok(self.model.push(parts))),
            _ => return,
        };
        let event = if self.random.percent(faults.lost_replies_percent) {
            self.faults_seen += 1;
            match event {
                Event::Pushed(id, _) => Event::Pushed(id, Err(lost())),
                _ => Event::Answered(Err(lost())),
            }
        } else {
            event
        };
        let time = self.now + self.latency(faults);
        self.at(time, Due::Event(life, event));
    }

    fn fail(&mut self, command: &Command, error: SinkError) {
        let event = match command {
            Command::Push(id, _) => Event::Pushed(*id, Err(error)),
            _ => Event::Answered(Err(error)),
        };
        self.at(self.now, Due::Event(self.life, event));
    }

    fn latency(&mut self, faults: &Faults) -> Duration {
        Duration::from_millis(self.random.below(faults.latency_ms_max + 1))
    }

    fn at(&mut self, time: Duration, due: Due) {
        self.sequence += 1;
        self.due.insert((time, self.sequence), due);
    }
}

fn lost() -> SinkError {
    SinkError::Unavailable {
        url: "model".to_owned(),
        reason: "lost on purpose".to_owned(),
    }
}
