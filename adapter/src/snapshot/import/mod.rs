//! Decides what to send a canister next, so that it ends up with a snapshot's coins.
//!
//! A state machine without I/O, clock or randomness: the shell carries out one command at a time and
//! reports how that ended. It keeps nothing that must survive a restart: where to go on is what the
//! canister says.
//!
//! ```text
//! ask --> check the whole file --> begin
//!     --> headers, from height 1 to the base block --> coins --> wait for merging --> done
//!  ^         |                                           |
//!  +--- after any failure that may pass: no answer, busy, another height or offset wanted
//! ```

mod failure;

use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use millrace_candid::{
    BeginSnapshotImportArgs, PushSnapshotCoinsArgs, PushSnapshotHeadersArgs, SnapshotError,
    SnapshotImport, SnapshotImportResult,
};
use millrace_core::Height;
use millrace_core::snapshot::{METADATA_BYTES, Metadata, SerializedDigest, assumed};
use serde_bytes::ByteBuf;

use super::groups::FileError;
use super::headers::HeadersError;
use crate::engine::BlockRef;
use crate::engine::backoff::Backoff;
use crate::sink::SinkError;

pub use failure::ImportError;

/// First and longest pause after a failure, before jitter.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];

/// How long between questions while the canister merges.
const MERGING_PAUSE: Duration = Duration::from_secs(5);

/// Answers in a row that bring the import no farther, until it is given up: the canister contradicts
/// itself, or somebody else imports another file.
const STALLS_MAX: u32 = 20;

/// Times in a row that headers cannot be had, until the import is given up.
const HEADERS_ATTEMPTS: u32 = 8;

/// Answers in a row that nothing was begun, until that is believed: a replica may lag behind.
const EMPTY_ANSWERS_MAX: u32 = 5;

/// What is to be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How the file begins.
    pub metadata: Metadata,
    /// `hash_serialized_3` in internal order, if a controller vouches for it.
    pub hash_serialized: Option<[u8; 32]>,
    /// How long to go without an answer; for ever if absent.
    pub give_up_after: Option<Duration>,
    /// Seed of the pauses' jitter.
    pub seed: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The import starts.
    Start,
    /// A call to the canister ended.
    Answered(Result<SnapshotImportResult, SinkError>),
    /// The whole file was read, and its coins have this hash.
    Checked(Result<SerializedDigest, FileError>),
    /// Headers were read: 80 bytes each.
    Headers(Result<Vec<u8>, HeadersError>),
    /// Coins were read; none at the file's end.
    Coins(Result<Vec<u8>, FileError>),
    /// A pause is over.
    Waited,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask how far the import is.
    Ask,
    /// Read the whole file: to push it takes hours, and that much less.
    Check,
    /// Begin it.
    Begin(BeginSnapshotImportArgs),
    /// Read headers from a height on, at most to the base block.
    ReadHeaders {
        /// The first one's height.
        first: Height,
    },
    /// Push headers.
    PushHeaders(PushSnapshotHeadersArgs),
    /// Read coins from an offset on.
    ReadCoins {
        /// The offset in the file.
        offset: u64,
    },
    /// Push coins.
    PushCoins(PushSnapshotCoinsArgs),
    /// Do nothing for a while.
    Wait(Duration),
    /// Stop: the canister serves the set after this block, or will not.
    Finish(Result<BlockRef, ImportError>),
}

/// Something worth a line in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The canister is here; told when a stage begins.
    Stage(SnapshotImport),
    /// Something failed and is tried again.
    Retry {
        /// What failed.
        reason: String,
        /// The pause before.
        pause: Duration,
    },
}

/// A command, and what to say before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What to say.
    pub notice: Option<Notice>,
    /// What to do.
    pub command: Command,
}

/// The import; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Import {
    plan: Plan,
    backoff: Backoff,
    /// Since when nothing was answered.
    failing_since: Option<Duration>,
    /// What the canister said last.
    standing: Option<SnapshotImport>,
    /// Answers in a row that brought it no farther.
    stalls: u32,
    /// The coins read last, in case they must be pushed again.
    piece: Option<PushSnapshotCoinsArgs>,
    is_checked: bool,
    /// Answers in a row that nothing was begun, though something was.
    empty_answers: u32,
    /// Times in a row that headers could not be had.
    headers_failures: u32,
    /// Whether the call under way should bring the import farther.
    is_pushing: bool,
}

impl Import {
    /// Prepares an import.
    pub const fn new(plan: Plan) -> Self {
        let [first, longest] = PAUSES;
        Self {
            backoff: Backoff::between(first, longest, plan.seed),
            plan,
            failing_since: None,
            standing: None,
            stalls: 0,
            piece: None,
            is_checked: false,
            empty_answers: 0,
            headers_failures: 0,
            is_pushing: false,
        }
    }

    /// Returns what the canister said last.
    pub const fn standing(&self) -> Option<&SnapshotImport> {
        self.standing.as_ref()
    }

    /// Takes in what happened at `now`, the time since the start, and says what to do.
    pub fn on(&mut self, now: Duration, event: Event) -> Step {
        let step = self.next(now, event);
        self.is_pushing = matches!(
            step.command,
            Command::Begin(_) | Command::PushHeaders(_) | Command::PushCoins(_)
        );
        step
    }

    fn next(&mut self, now: Duration, event: Event) -> Step {
        match event {
            Event::Start | Event::Waited => silent(Command::Ask),
            Event::Answered(Err(error)) if error.is_transient() => {
                let since = *self.failing_since.get_or_insert(now);
                let failing = now.saturating_sub(since);
                if self.plan.give_up_after.is_some_and(|max| failing >= max) {
                    return failed(ImportError::GaveUp { failing, error });
                }
                self.retry(error.to_string())
            }
            Event::Answered(Err(error)) => failed(ImportError::Sink(error)),
            Event::Answered(Ok(result)) => {
                self.failing_since = None;
                match result {
                    Ok(standing) => self.stand(standing),
                    Err(error) => self.refused(error),
                }
            }
            Event::Checked(Ok(hash)) => self.checked(hash),
            Event::Checked(Err(error)) => failed(ImportError::File(error)),
            Event::Headers(Ok(headers)) => {
                self.headers_failures = 0;
                self.push_headers(headers)
            }
            Event::Headers(Err(error))
                if error.is_transient() && self.headers_failures < HEADERS_ATTEMPTS =>
            {
                self.headers_failures += 1;
                self.retry(error.to_string())
            }
            Event::Headers(Err(error)) => failed(ImportError::Headers(error)),
            Event::Coins(Ok(bytes)) => self.push_coins(bytes),
            Event::Coins(Err(error)) => failed(ImportError::File(error)),
        }
    }

    /// Goes on from where the canister says it is.
    fn stand(&mut self, standing: SnapshotImport) -> Step {
        if let Err(error) = self.check(&standing) {
            return failed(error);
        }
        if standing == SnapshotImport::None && self.is_under_way() {
            self.empty_answers += 1;
            if self.empty_answers > EMPTY_ANSWERS_MAX {
                return failed(ImportError::Discarded);
            }
            return self.retry("the canister says that nothing was begun".to_owned());
        }
        self.empty_answers = 0;
        let before = self.standing.replace(standing.clone());
        let is_farther = before.as_ref().is_none_or(|it| rank(it) < rank(&standing));
        let is_new_stage = before
            .as_ref()
            .is_none_or(|it| rank(it).0 != rank(&standing).0);
        if is_farther {
            self.stalls = 0;
            self.backoff.succeed();
        } else if self.is_pushing {
            return self.stalled("it took nothing of what was pushed".to_owned());
        }
        let command = match standing.clone() {
            SnapshotImport::None if !self.is_checked => Command::Check,
            SnapshotImport::None => Command::Begin(self.begin()),
            SnapshotImport::Headers { next_height, .. } => Command::ReadHeaders {
                first: Height::new(next_height),
            },
            SnapshotImport::Coins { next_offset, .. } => match &self.piece {
                Some(piece) if piece.offset == next_offset => Command::PushCoins(piece.clone()),
                _ => Command::ReadCoins {
                    offset: next_offset,
                },
            },
            SnapshotImport::Merging { .. } => Command::Wait(MERGING_PAUSE),
            SnapshotImport::Complete { base } => Command::Finish(Ok(BlockRef {
                hash: self.plan.metadata.base,
                height: Height::new(base.height),
            })),
            SnapshotImport::Refused { reason } => {
                Command::Finish(Err(ImportError::Refused { reason }))
            }
        };
        Step {
            notice: is_new_stage.then_some(Notice::Stage(standing)),
            command,
        }
    }

    /// Finds out whether this is the import of this file.
    fn check(&self, standing: &SnapshotImport) -> Result<(), ImportError> {
        let Metadata { base, coins, .. } = self.plan.metadata;
        let found = match standing {
            SnapshotImport::None | SnapshotImport::Refused { .. } => return Ok(()),
            SnapshotImport::Headers { base, .. } => base,
            SnapshotImport::Coins { base, .. }
            | SnapshotImport::Merging { base, .. }
            | SnapshotImport::Complete { base } => &base.hash,
        };
        let is_ours = found.as_slice() == base.as_byte_array();
        if let (SnapshotImport::Complete { base }, false) = (standing, is_ours) {
            return Err(ImportError::NotEmpty {
                height: base.height,
            });
        }
        if !is_ours {
            return Err(ImportError::OtherBase {
                found: printed(found),
                expected: base,
            });
        }
        match standing {
            SnapshotImport::Coins { of, .. } if *of != coins => Err(ImportError::OtherCount {
                found: *of,
                expected: coins,
            }),
            _ => Ok(()),
        }
    }

    /// Compares the file's hash with what is known of it, and asks whether the canister still is empty.
    fn checked(&mut self, found: SerializedDigest) -> Step {
        let Metadata { network, base, .. } = self.plan.metadata;
        let name = base.to_string();
        let known = assumed(network).iter().find(|set| set.block == name);
        let expected = match (self.plan.hash_serialized, known) {
            (Some(hash), _) => Some(SerializedDigest(hash).to_string()),
            (None, Some(set)) => Some(set.hash_serialized.to_owned()),
            // The canister may know more.
            (None, None) => None,
        };
        let found = found.to_string();
        match expected {
            Some(expected) if expected != found => {
                failed(ImportError::OtherHash { found, expected })
            }
            _ => {
                self.is_checked = true;
                silent(Command::Ask)
            }
        }
    }

    const fn is_under_way(&self) -> bool {
        !matches!(self.standing, None | Some(SnapshotImport::None))
    }

    fn begin(&self) -> BeginSnapshotImportArgs {
        let metadata: [u8; METADATA_BYTES] = self.plan.metadata.encode();
        BeginSnapshotImportArgs {
            metadata: ByteBuf::from(metadata),
            hash_serialized: self.plan.hash_serialized.map(ByteBuf::from),
        }
    }

    fn push_headers(&self, headers: Vec<u8>) -> Step {
        let Some(SnapshotImport::Headers { next_height, .. }) = self.standing else {
            return silent(Command::Ask);
        };
        silent(Command::PushHeaders(PushSnapshotHeadersArgs {
            first_height: next_height,
            headers: ByteBuf::from(headers),
        }))
    }

    fn push_coins(&mut self, bytes: Vec<u8>) -> Step {
        let Some(SnapshotImport::Coins { next_offset, .. }) = self.standing else {
            return silent(Command::Ask);
        };
        if bytes.is_empty() {
            return failed(ImportError::FileEnded {
                offset: next_offset,
            });
        }
        let piece = PushSnapshotCoinsArgs {
            offset: next_offset,
            bytes: ByteBuf::from(bytes),
        };
        self.piece = Some(piece.clone());
        silent(Command::PushCoins(piece))
    }

    /// Takes in that the canister refused a call.
    fn refused(&mut self, error: SnapshotError) -> Step {
        match error {
            SnapshotError::Busy { reason } => self.retry(format!("the canister is busy: {reason}")),
            SnapshotError::Internal(reason) => {
                self.stalled(format!("the canister failed: {reason}"))
            }
            SnapshotError::UnexpectedHeight { expected, given } => {
                let mut standing = self.standing.clone();
                if let Some(SnapshotImport::Headers { next_height, .. }) = &mut standing {
                    *next_height = expected;
                }
                let reason = format!("the canister wants height {expected}, not {given}");
                self.corrected(reason, standing)
            }
            SnapshotError::UnexpectedOffset { expected, given } => {
                let mut standing = self.standing.clone();
                if let Some(SnapshotImport::Coins { next_offset, .. }) = &mut standing {
                    *next_offset = expected;
                }
                let reason = format!("the canister wants byte {expected}, not {given}");
                self.corrected(reason, standing)
            }
            SnapshotError::NotWanted { standing } => {
                let reason = "the canister wants something else by now".to_owned();
                self.corrected(reason, Some(standing))
            }
            SnapshotError::UnderWay { base }
                if base.as_slice() == self.plan.metadata.base.as_byte_array() =>
            {
                self.stalled("the import is under way".to_owned())
            }
            other => failed(ImportError::of(other, &self.plan)),
        }
    }

    /// Goes on where a refusal says. That is newer than what a question brings, which a replica that lags
    /// behind may answer.
    fn corrected(&mut self, reason: String, standing: Option<SnapshotImport>) -> Step {
        match standing {
            Some(standing) if self.standing.as_ref().map(rank) < Some(rank(&standing)) => {
                self.stand(standing)
            }
            _ => self.stalled(reason),
        }
    }

    /// Counts an answer that does not fit what was said before, and asks anew.
    fn stalled(&mut self, reason: String) -> Step {
        self.stalls += 1;
        match self.stalls {
            // A lost reply, most likely.
            0 | 1 => silent(Command::Ask),
            2..=STALLS_MAX => self.retry(reason),
            _ => failed(ImportError::NoProgress {
                reason,
                answers: STALLS_MAX,
            }),
        }
    }

    fn retry(&mut self, reason: String) -> Step {
        let pause = self.backoff.fail();
        Step {
            notice: Some(Notice::Retry { reason, pause }),
            command: Command::Wait(pause),
        }
    }
}

/// What is farther has more.
fn rank(standing: &SnapshotImport) -> (u8, u64) {
    match standing {
        SnapshotImport::None => (0, 0),
        SnapshotImport::Headers { next_height, .. } => (1, u64::from(*next_height)),
        SnapshotImport::Coins { next_offset, .. } => (2, *next_offset),
        SnapshotImport::Merging { runs, .. } => (3, u64::from(u32::MAX - runs)),
        SnapshotImport::Complete { .. } => (4, 0),
        SnapshotImport::Refused { .. } => (5, 0),
    }
}

const fn silent(command: Command) -> Step {
    Step {
        notice: None,
        command,
    }
}

const fn failed(error: ImportError) -> Step {
    silent(Command::Finish(Err(error)))
}

/// Returns a hash of the contract as it is printed.
fn printed(bytes: &[u8]) -> String {
    BlockHash::from_slice(bytes).map_or_else(|_| format!("{bytes:02x?}"), |hash| hash.to_string())
}
