//! Runs one schedule: turns events into messages and has what comes of them checked.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bitcoin::Transaction;
use candid::{Nat, Principal};
use millrace_candid::{BlockValidation, Budgets, Flag, InitConfig, InitNetwork, SetConfigRequest};
use millrace_store::coins::MAX_LEVEL_CHANGES;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::coverage::Coverage;
use crate::mine::{Kind, Miner};
use crate::model::Model;
use crate::outbox::Sent;
use crate::read::Pager;
use crate::schedule::{Event, Pick, Profile, Schedule};
use crate::seen::Seen;
use crate::source::Source;
use crate::subject::{Setup, Subject, Trap};

/// Blocks below the first event where coinbases must mature.
const BASE_BLOCKS: u32 = 106;

/// Seconds by which the clock is ahead of the newest block at the start.
const HEAD_START: u64 = 3_600;

/// Instructions that a heartbeat may spend, and pages, unless an event says otherwise.
pub(crate) const DEFAULT_BUDGETS: Budgets = Budgets {
    instructions_per_heartbeat: 1_500_000_000,
    stable_pages_per_heartbeat: 20_480,
};

/// Pages that may be written in ten minutes, unless an event says otherwise.
pub(crate) const DEFAULT_WINDOW: u32 = 4_194_304;

/// Heartbeats that must trap before the canister may give the block up that they trap on.
const SUSPICIOUS_TRAPS: u32 = 3;

/// Heartbeats after which the canister looks again whether memory grows.
const MEMORY_BEATS: u32 = 16;

/// What a checker found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The checker.
    pub check: &'static str,
    /// What is wrong.
    pub detail: String,
}

/// What a checker says.
pub type Checked = Result<(), Failure>;

/// Returns a failure unless `holds`.
pub(crate) fn require(
    holds: bool,
    check: &'static str,
    detail: impl FnOnce() -> String,
) -> Checked {
    if holds {
        return Ok(());
    }
    Err(Failure {
        check,
        detail: detail(),
    })
}

/// A run under way.
pub struct Run<S: Subject> {
    pub(crate) subject: S,
    pub(crate) model: Model,
    pub(crate) miner: Miner,
    pub(crate) profile: Profile,
    pub(crate) coverage: Coverage,
    pub(crate) budgets: Budgets,
    pub(crate) pace: u64,
    pub(crate) is_syncing: bool,
    pub(crate) is_open: bool,
    pub(crate) has_second: bool,
    pub(crate) seen: Seen,
    /// Pushed blocks that no heartbeat has looked at.
    pub(crate) queued: BTreeSet<usize>,
    /// Whether blocks of no chain may be queued, too.
    pub(crate) has_strays: bool,
    /// Whether memory could not grow at some time of the run.
    pub(crate) was_full: bool,
    /// Blocks that the canister had when what it has could not be asked for.
    pub(crate) known: BTreeSet<usize>,
    /// Blocks of which an adapter pushed a beginning.
    pub(crate) halves: BTreeSet<(u8, usize)>,
    /// Those halves that have bad bytes, or had.
    pub(crate) bad_halves: BTreeSet<(u8, usize)>,
    /// Blocks of which bad bytes were taken, and no good ones since.
    pub(crate) damaged: BTreeSet<usize>,
    /// Blocks that came by pull with bytes after them: good as long as the heap remembers who sent them.
    pub(crate) padded: BTreeSet<usize>,
    /// Other bytes than the block's own that were delivered.
    pub(crate) forms: BTreeMap<usize, Vec<Vec<u8>>>,
    /// The mark of the blocks that nobody can process: one, and those that repeat its coinbase.
    pub(crate) poison: Option<Vec<u8>>,
    /// Such blocks that the watchdog may have given up since the last upgrade.
    pub(crate) given_up: BTreeSet<usize>,
    /// Heartbeats that trapped since there are blocks that nobody can process.
    pub(crate) poisoned_beats: u32,
    /// Strikes that the watchdog may have counted since a heartbeat ended.
    pub(crate) strikes: u32,
    /// Whether there are no cycles to spend.
    pub(crate) is_poor: bool,
    /// The same at the last heartbeat.
    pub(crate) was_poor: bool,
    /// Pages that may be written in ten minutes.
    pub(crate) window: u64,
    /// When heartbeats wrote how many pages since the heap was lost.
    pub(crate) written: Vec<(u64, u64)>,
    /// Whether memory cannot grow.
    pub(crate) is_full: bool,
    /// Heartbeats within which the canister may still take memory for full.
    pub(crate) full_beats: u32,
    /// Heartbeats that may still touch one item each.
    pub(crate) cautious: u32,
    pub(crate) source: Source,
    pub(crate) pager: Option<Pager>,
    pub(crate) sent: Vec<Sent>,
    /// Bytes of stable memory after the first heartbeat.
    pub(crate) first_bytes: Option<u64>,
    /// Most bytes of blocks that waited or were not stable at the same time.
    pub(crate) live_bytes: u64,
}

/// Runs a schedule to its end. Returns what it covered.
///
/// # Errors
/// [`Failure`] of the first checker that objects; a panic is one, too.
pub fn run<S: Subject>(schedule: &Schedule) -> Result<Coverage, Failure> {
    let run = AssertUnwindSafe(|| run_through::<S>(schedule));
    catch_unwind(run).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().cloned();
        let text = text.or_else(|| payload.downcast_ref::<&str>().map(ToString::to_string));
        Err(Failure {
            check: "no panic",
            detail: text.unwrap_or_default(),
        })
    })
}

fn run_through<S: Subject>(schedule: &Schedule) -> Result<Coverage, Failure> {
    let mut run = Run::<S>::start(schedule.profile)?;
    for event in &schedule.events {
        run.coverage.note("event", event);
        run.handle(*event)?;
    }
    run.converge()?;
    for (group, kind) in run.subject.take_notes() {
        run.coverage.note(group, kind);
    }
    Ok(run.coverage)
}

/// The adapters: two that may push, and a stranger.
pub(crate) fn adapter(who: u8) -> Principal {
    Principal::self_authenticating([who + 1; 32])
}

impl<S: Subject> Run<S> {
    fn start(profile: Profile) -> Result<Self, Failure> {
        let (model, miner) = BASES.with(|bases| bases[usize::from(profile.is_consensus)].clone());
        let newest = model.at(model.len() - 1).block.header.time;
        let setup = Setup {
            config: InitConfig {
                stability_threshold: Some(Nat::from(profile.threshold)),
                network: Some(InitNetwork::Regtest),
                pull: Some(Flag::Disabled),
                adapters: Some(vec![adapter(0), adapter(1)]),
                block_validation: Some(if profile.is_consensus {
                    BlockValidation::Consensus
                } else {
                    BlockValidation::ProofOfWork
                }),
                ..InitConfig::default()
            },
            base: (1..model.len())
                .map(|place| model.at(place).bytes.clone())
                .collect(),
            now: u64::from(newest) + HEAD_START,
        };
        let subject = S::install(&setup).map_err(|detail| Failure {
            check: "install",
            detail,
        })?;
        let mut run = Self {
            subject,
            seen: Seen::default(),
            model,
            miner,
            profile,
            coverage: Coverage::default(),
            budgets: DEFAULT_BUDGETS,
            pace: 1_000_000,
            is_syncing: true,
            is_open: true,
            has_second: true,
            queued: BTreeSet::new(),
            has_strays: false,
            was_full: false,
            known: BTreeSet::new(),
            halves: BTreeSet::new(),
            bad_halves: BTreeSet::new(),
            damaged: BTreeSet::new(),
            padded: BTreeSet::new(),
            forms: BTreeMap::new(),
            poison: None,
            given_up: BTreeSet::new(),
            poisoned_beats: 0,
            strikes: 0,
            is_poor: false,
            was_poor: false,
            window: DEFAULT_WINDOW.into(),
            written: Vec::new(),
            is_full: false,
            full_beats: 0,
            cautious: 0,
            source: Source::default(),
            pager: None,
            sent: Vec::new(),
            first_bytes: None,
            live_bytes: 0,
        };
        if profile.is_pulling {
            run.configure(SetConfigRequest {
                pull: Some(Flag::Enabled),
                ..SetConfigRequest::default()
            })?;
        }
        run.look()?;
        Ok(run)
    }

    fn handle(&mut self, event: Event) -> Checked {
        match event {
            Event::Mine {
                on,
                kind,
                count,
                salt,
            } => self.mine(on, kind, count, salt),
            Event::Push {
                who,
                load,
                delivery,
                parts,
            } => self.push(who, load, delivery, parts),
            Event::Beats { count, seconds } => {
                for _ in 0..count {
                    self.subject.advance(u64::from(seconds));
                    self.beat()?;
                }
                Ok(())
            }
            Event::Flood { salt } => self.flood(salt),
            Event::Answer(answer) => self.answer(answer),
            Event::Wait { seconds } => {
                self.subject.advance(u64::from(seconds));
                Ok(())
            }
            Event::Stop { seconds } => {
                let stopped = self.subject.stop_for(u64::from(seconds));
                require(stopped.is_ok(), "stop and start", || format!("{stopped:?}"))
            }
            Event::Restart => {
                let restarted = self.subject.restart();
                require(restarted.is_ok(), "restart", || format!("{restarted:?}"))
            }
            Event::Upgrade => self.upgrade(),
            Event::Read { question, at, salt } => self.read(question, at, salt),
            Event::Send { salt } => self.send(salt),
            Event::Report { who, is_refusal } => self.report(who, is_refusal),
            Event::Audit => self.audit(),
            other => self.trouble(other),
        }
    }

    /// Passes over an injected trap; any other is a failure.
    pub(crate) fn excuse(&mut self, trap: &Trap) -> Checked {
        self.lose_heap();
        match trap {
            Trap::Injected(kind) => self.coverage.note("trap", kind),
            Trap::Own(text) => return require(false, "no trap", || text.clone()),
        }
        Ok(())
    }

    fn lose_heap(&mut self) {
        self.damaged.append(&mut self.padded);
        self.written.clear();
    }

    /// Counts a heartbeat, or the watchdog, that trapped.
    pub(crate) fn excuse_beat(&mut self, trap: &Trap) -> Checked {
        self.poisoned_beats += 1;
        if self.poisoned_beats >= SUSPICIOUS_TRAPS {
            let mark = self.poison.as_deref();
            let marked = mark.map(|mark| self.model.places_with(mark));
            self.given_up.extend(marked.into_iter().flatten());
        }
        self.excuse(trap)
    }

    /// Notes a heartbeat, or that memory became full: a canister may find memory full for some heartbeats
    /// after it grows again.
    pub(crate) const fn note_full(&mut self) {
        self.full_beats = if self.is_full {
            MEMORY_BEATS
        } else {
            self.full_beats.saturating_sub(1)
        };
    }

    /// Returns whether the watchdog may have given the block up, or one below it.
    pub(crate) fn may_be_given_up(&self, place: usize) -> bool {
        let mut below = self.model.ancestry(place);
        !self.given_up.is_empty() && below.any(|place| self.given_up.contains(&place))
    }

    pub(crate) fn upgrade(&mut self) -> Checked {
        match self.subject.upgrade() {
            Ok(()) => {}
            Err(Trap::Own(text)) => return require(false, "upgrade", || text),
            // The old version runs on, as it would have without.
            Err(Trap::Injected(kind)) => {
                self.coverage.note("failed upgrade", kind);
                return Ok(());
            }
        }
        self.lose_heap();
        // The next version copes with what the last one could not.
        self.subject.set_poison(None);
        self.poison = None;
        let before = self.look()?;
        self.check_kept(&before)?;
        self.given_up.clear();
        self.strikes = 0;
        self.cautious = 0;
        Ok(())
    }

    /// Returns the block that is meant.
    pub(crate) fn place(&self, pick: Pick) -> usize {
        let best = || {
            let anchor = self.seen.anchor;
            self.model
                .best_above(anchor)
                .first()
                .copied()
                .unwrap_or(anchor)
        };
        match pick {
            Pick::Tip => self.seen.tip,
            Pick::Best => best(),
            Pick::Recent(back) => {
                let back = usize::from(back) % self.model.len();
                self.model.len() - 1 - back
            }
            Pick::Below(depth) => {
                let mut ancestry = self.model.ancestry(best());
                ancestry.nth(usize::from(depth)).unwrap_or(0)
            }
        }
    }

    fn mine(&mut self, on: Pick, kind: Kind, count: u8, salt: u32) -> Checked {
        let mut rng = ChaCha8Rng::seed_from_u64(u64::from(salt));
        let mut parent = self.place(on);
        for left in (0..count).rev() {
            let kind = match kind {
                _ if left == 0 => kind,
                // It rarely rains one drop.
                Kind::Surge => kind,
                _ => Kind::Plain,
            };
            let wanted: Vec<Transaction> = if salt.is_multiple_of(3) {
                self.sent
                    .iter()
                    .map(|sent| sent.transaction.clone())
                    .collect()
            } else {
                Vec::new()
            };
            let now = self.subject.now();
            let (block, claim, flaw) =
                self.miner
                    .mine(&self.model, parent, kind, &wanted, now, &mut rng);
            match flaw {
                Some(flaw) => self.coverage.note("flaw", flaw),
                None => self.coverage.note("mined", kind),
            }
            let added = self.model.add(block, claim);
            parent = added.map_err(|detail| Failure {
                check: "model",
                detail,
            })?;
        }
        Ok(())
    }

    /// Returns whether an adapter is let in.
    pub(crate) const fn may_push(&self, who: u8) -> bool {
        who == 0 || (who == 1 && self.has_second)
    }

    pub(crate) fn audit(&mut self) -> Checked {
        let audited = self.subject.audit();
        require(audited.is_ok(), "audit", || format!("{audited:?}"))?;
        // Where memory cannot grow, merging waits and the chain goes on.
        let fullest = audited.unwrap_or(0);
        let is_within = self.was_full || fullest <= MAX_LEVEL_CHANGES;
        require(is_within, "changes of a level", || format!("{fullest}"))
    }
}

thread_local! {
    /// The chains below the first event, by whether coinbases must mature.
    static BASES: [(Model, Miner); 2] = [base(false), base(true)];
}

/// Mines the chain below the first event: the same one in every run.
fn base(is_consensus: bool) -> (Model, Miner) {
    let mut model = Model::new();
    let mut miner = Miner::new(is_consensus);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let count = if is_consensus { BASE_BLOCKS } else { 3 };
    for _ in 0..count {
        let parent = model.len() - 1;
        let (block, claim, _) = miner.mine(&model, parent, Kind::Empty, &[], 0, &mut rng);
        if model.add(block, claim).is_err() {
            break;
        }
    }
    (model, miner)
}
