//! What to ask a pull source (`bitcoin_get_successors`) next, and what its replies mean.
//!
//! One call is in flight at a time. A block too large for one reply comes as a partial reply and
//! follow-up pages; its bytes are staged by the caller, this machine only counts them. Nothing a
//! source does can wedge it: every malformed, refused or lost reply is an error that leads back to
//! asking, after a back-off that doubles up to a limit.
//!
//! ```text
//!            Tick               Complete
//! waiting ---------> asking ----------------> waiting
//!    ^                 | Partial, FollowUp       |
//!    |  refused, lost, v                         |
//!    +--- malformed -- waiting, block staged <---+ Tick asks for the next page
//! ```

mod copies;
mod record;
mod reply;

#[cfg(test)]
mod tests;

use bitcoin::block::Header;

use crate::units::UnixSeconds;

pub use copies::{
    BadCopies, FIRST_HOLD_SECONDS, LONGEST_HOLD_SECONDS, MAX_BAD_COPIES, MAX_SUSPECTS,
};
pub use record::SYNC_RECORD_BYTES;
pub use reply::{MAX_REPLY_BYTES, Reply};

/// Times one page is asked for before the whole block is asked for again.
pub const MAX_PAGE_ATTEMPTS: u8 = 3;

/// Times that govern asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncPolicy {
    /// How long a call may take before it counts as lost, in seconds.
    pub call_timeout_seconds: u64,
    /// Pause after a reply without news, in seconds.
    pub idle_seconds: u64,
    /// Pause after the first failure, in seconds; doubles with each further one.
    pub backoff_seconds: u64,
    /// Longest pause after failures, in seconds.
    pub backoff_max_seconds: u64,
}

impl Default for SyncPolicy {
    fn default() -> Self {
        Self {
            call_timeout_seconds: 300,
            // A source that paces itself by calls expects one each heartbeat.
            idle_seconds: 0,
            backoff_seconds: 1,
            backoff_max_seconds: 60,
        }
    }
}

/// Names a call, so that a reply that comes after its time-out is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

impl CallId {
    /// Returns the number, unique over the life of the stored state.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What to ask the source for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Successors of the blocks held; the caller fills in anchor and processed hashes.
    Initial,
    /// A further page of the staged block; the first one is 0.
    FollowUp {
        /// The page.
        page: u8,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time passed.
    Tick {
        /// Whether a reply of [`MAX_REPLY_BYTES`] could be taken now. No call starts without.
        has_room: bool,
    },
    /// A call was answered.
    Replied {
        /// The call.
        id: CallId,
        /// Its answer.
        reply: Reply,
    },
    /// A call was refused, by the source or by the system.
    Refused {
        /// The call.
        id: CallId,
        /// Reject code and text, for the error.
        reason: String,
    },
    /// The program was replaced: the answer to a call in flight can no longer arrive.
    Upgraded,
}

/// What the caller must do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Call the source and report back with [`Event::Replied`] or [`Event::Refused`].
    Ask {
        /// Names the call.
        id: CallId,
        /// What to ask for.
        request: Request,
    },
    /// Take in headers of blocks that the source will send later.
    TakeHeaders(Vec<Header>),
    /// Put whole serialised blocks into the queue, in this order. They are not decoded yet.
    TakeBlocks(Vec<Vec<u8>>),
    /// Write bytes of the staged block at `offset`; offset 0 starts a new one.
    Stage {
        /// Where the bytes belong.
        offset: u32,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Put the staged block of `length` bytes into the queue.
    TakeStaged {
        /// Its length in bytes.
        length: u32,
    },
    /// Forget the staged bytes.
    DropStaged,
}

/// Why a call brought nothing. All are transient: the machine asks again by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SyncError {
    /// No answer came in time.
    #[error("call {id} got no answer for {seconds} s", id = id.0)]
    TimedOut {
        /// The call.
        id: CallId,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The call was refused.
    #[error("call {id} was refused: {reason}", id = id.0)]
    Refused {
        /// The call.
        id: CallId,
        /// Reject code and text.
        reason: String,
    },
    /// The answer belongs to a call that was given up.
    #[error("answer to call {id} came after it was given up", id = id.0)]
    Stale {
        /// The call.
        id: CallId,
    },
    /// The answer has another kind than the question.
    #[error("source answered {got} to {asked}")]
    WrongKind {
        /// What was asked.
        asked: &'static str,
        /// What was answered.
        got: &'static str,
    },
    /// The answer is larger than any message.
    #[error("reply has {length} bytes, at most {MAX_REPLY_BYTES} are allowed")]
    ReplyTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// A header of the answer has the wrong length.
    #[error("header {index} of the reply has {length} bytes, not 80")]
    HeaderLength {
        /// Which header, from 0.
        index: usize,
        /// Its length in bytes.
        length: usize,
    },
    /// A page holds nothing.
    #[error("page of a block is empty after {received} bytes")]
    EmptyPage {
        /// Bytes of the block so far.
        received: u32,
    },
}

/// What an event led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncStep {
    /// What to do, in order.
    pub commands: Vec<Command>,
    /// What went wrong, for counters and logs.
    pub error: Option<SyncError>,
}

/// The pull state machine; see the module's documentation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    call: Option<Call>,
    /// No call starts before this time.
    not_before: UnixSeconds,
    staged: Option<Staged>,
    /// Failures since the last good reply.
    failures: u32,
    next_id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Call {
    id: CallId,
    request: Request,
    since: UnixSeconds,
}

/// A block of which some pages came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Staged {
    received: u32,
    next_page: u8,
    pages_left: u8,
    /// Failed attempts at the next page.
    attempts: u8,
}

impl Default for Sync {
    fn default() -> Self {
        Self::new()
    }
}

impl Sync {
    /// Starts with nothing in flight; the first tick asks.
    pub const fn new() -> Self {
        Self {
            call: None,
            not_before: UnixSeconds::ZERO,
            staged: None,
            failures: 0,
            next_id: 1,
        }
    }

    /// Returns whether a call is in flight.
    pub const fn is_asking(&self) -> bool {
        self.call.is_some()
    }

    /// Returns failures since the last good reply.
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// Returns how many bytes are staged, if a block is.
    #[cfg(test)]
    pub(crate) fn staged_bytes(&self) -> Option<u32> {
        self.staged.map(|staged| staged.received)
    }

    /// Takes in an event. Costs O(bytes of the reply).
    pub fn on(&mut self, now: UnixSeconds, event: Event, policy: &SyncPolicy) -> SyncStep {
        match event {
            Event::Tick { has_room } => self.tick(now, has_room, policy),
            Event::Replied { id, reply } => match self.end_call(id) {
                Ok(call) => self.replied(now, call, reply, policy),
                Err(error) => SyncStep::failed(error),
            },
            Event::Refused { id, reason } => match self.end_call(id) {
                Ok(_) => self.fail(now, SyncError::Refused { id, reason }, policy),
                Err(error) => SyncStep::failed(error),
            },
            Event::Upgraded => {
                self.call = None;
                SyncStep::default()
            }
        }
    }

    fn tick(&mut self, now: UnixSeconds, has_room: bool, policy: &SyncPolicy) -> SyncStep {
        if let Some(call) = self.call {
            let seconds = now.saturating_sub(call.since).get();
            if seconds < policy.call_timeout_seconds {
                return SyncStep::default();
            }
            self.call = None;
            let error = SyncError::TimedOut {
                id: call.id,
                seconds,
            };
            return self.fail(now, error, policy);
        }
        if !has_room || now < self.not_before {
            return SyncStep::default();
        }
        let request = self
            .staged
            .map_or(Request::Initial, |staged| Request::FollowUp {
                page: staged.next_page,
            });
        let id = CallId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        self.call = Some(Call {
            id,
            request,
            since: now,
        });
        SyncStep::done(vec![Command::Ask { id, request }])
    }

    /// Ends the call `id`, unless another or none is in flight.
    fn end_call(&mut self, id: CallId) -> Result<Call, SyncError> {
        match self.call.take_if(|call| call.id == id) {
            Some(call) => Ok(call),
            None => Err(SyncError::Stale { id }),
        }
    }

    /// Schedules the next attempt. A page that keeps failing takes its block down with it.
    fn fail(&mut self, now: UnixSeconds, error: SyncError, policy: &SyncPolicy) -> SyncStep {
        let doublings = self.failures.min(u64::BITS - 1);
        let pause = policy
            .backoff_seconds
            .saturating_mul(1 << doublings)
            .min(policy.backoff_max_seconds);
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.saturating_add(UnixSeconds::new(pause));
        let mut commands = Vec::new();
        if let Some(staged) = &mut self.staged {
            staged.attempts = staged.attempts.saturating_add(1);
            if staged.attempts >= MAX_PAGE_ATTEMPTS {
                self.staged = None;
                commands.push(Command::DropStaged);
            }
        }
        SyncStep {
            commands,
            error: Some(error),
        }
    }
}

impl SyncStep {
    fn done(commands: Vec<Command>) -> Self {
        Self {
            commands,
            error: None,
        }
    }

    fn failed(error: SyncError) -> Self {
        Self {
            commands: Vec::new(),
            error: Some(error),
        }
    }
}
