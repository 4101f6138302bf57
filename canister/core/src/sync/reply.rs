//! Judges replies of the source.

use bitcoin::block::Header;

use super::{Call, Command, Request, Staged, Sync, SyncError, SyncPolicy, SyncStep};
use crate::block::{HEADER_BYTES, MAX_BLOCK_BYTES, decode_header};
use crate::units::UnixSeconds;

/// Largest reply looked at, in bytes of blocks and headers: the largest message that a canister
/// of the same subnet can send. Sources on the Internet Computer stay below 2,000,000.
pub const MAX_REPLY_BYTES: usize = 10 * 1024 * 1024;

/// An answer of `bitcoin_get_successors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Whole blocks.
    Complete {
        /// Serialised blocks, parents first.
        blocks: Vec<Vec<u8>>,
        /// Serialised headers of blocks to come.
        next: Vec<Vec<u8>>,
    },
    /// The beginning of a large block.
    Partial {
        /// Its first bytes.
        partial_block: Vec<u8>,
        /// Serialised headers of blocks to come.
        next: Vec<Vec<u8>>,
        /// Pages that follow.
        remaining_follow_ups: u8,
    },
    /// A further page of a large block.
    FollowUp(Vec<u8>),
}

impl Reply {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Complete { .. } => "complete",
            Self::Partial { .. } => "partial",
            Self::FollowUp(_) => "follow-up",
        }
    }

    /// Returns the bytes of all blocks and headers.
    fn length(&self) -> usize {
        let total = |parts: &[Vec<u8>]| parts.iter().map(Vec::len).fold(0, usize::saturating_add);
        match self {
            Self::Complete { blocks, next } => total(blocks).saturating_add(total(next)),
            Self::Partial {
                partial_block,
                next,
                ..
            } => partial_block.len().saturating_add(total(next)),
            Self::FollowUp(bytes) => bytes.len(),
        }
    }
}

impl Sync {
    pub(super) fn replied(
        &mut self,
        now: UnixSeconds,
        call: Call,
        reply: Reply,
        policy: &SyncPolicy,
    ) -> SyncStep {
        match self.judge(call.request, reply) {
            Ok(commands) => {
                self.failures = 0;
                // Headers alone are no news: the source lists them again until it has the blocks.
                let has_news = commands
                    .iter()
                    .any(|command| !matches!(command, Command::TakeHeaders(_)));
                let pause = if has_news { 0 } else { policy.idle_seconds };
                self.not_before = now.saturating_add(UnixSeconds::new(pause));
                SyncStep::done(commands)
            }
            Err(error) => self.fail(now, error, policy),
        }
    }

    /// Turns a good reply into commands; a bad one changes nothing.
    fn judge(&mut self, request: Request, reply: Reply) -> Result<Vec<Command>, SyncError> {
        let length = reply.length();
        if length > MAX_REPLY_BYTES {
            return Err(SyncError::ReplyTooLong { length });
        }
        match (request, reply) {
            (Request::Initial, Reply::Complete { blocks, next }) => {
                let mut commands = take_headers(&next)?;
                if !blocks.is_empty() {
                    commands.push(Command::TakeBlocks(blocks));
                }
                Ok(commands)
            }
            (
                Request::Initial,
                Reply::Partial {
                    partial_block,
                    next,
                    remaining_follow_ups,
                },
            ) => {
                let mut commands = take_headers(&next)?;
                let start = Staged {
                    received: 0,
                    next_page: 0,
                    pages_left: remaining_follow_ups,
                    attempts: 0,
                };
                commands.extend(self.stage(start, partial_block)?);
                Ok(commands)
            }
            (Request::FollowUp { page }, Reply::FollowUp(bytes)) => {
                let Some(staged) = self.staged else {
                    // Only a damaged record leads here; asking afresh repairs it.
                    return Err(SyncError::WrongKind {
                        asked: "for a page of no staged block",
                        got: "follow-up",
                    });
                };
                let next = Staged {
                    next_page: page.saturating_add(1),
                    pages_left: staged.pages_left.saturating_sub(1),
                    attempts: 0,
                    ..staged
                };
                self.stage(next, bytes)
            }
            (request, reply) => Err(SyncError::WrongKind {
                asked: match request {
                    Request::Initial => "an initial request",
                    Request::FollowUp { .. } => "a follow-up request",
                },
                got: reply.kind(),
            }),
        }
    }

    /// Adds a page to the staged block described by `staged`. Sources may send bytes after a block;
    /// what is beyond the longest block there can be is passed over.
    fn stage(&mut self, staged: Staged, mut bytes: Vec<u8>) -> Result<Vec<Command>, SyncError> {
        let offset = staged.received;
        if bytes.is_empty() {
            return Err(SyncError::EmptyPage { received: offset });
        }
        bytes.truncate(MAX_BLOCK_BYTES.saturating_sub(offset as usize));
        // At most `MAX_BLOCK_BYTES`, as is the sum.
        let received = offset.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        let mut commands = if bytes.is_empty() {
            Vec::new()
        } else {
            vec![Command::Stage { offset, bytes }]
        };
        if staged.pages_left == 0 {
            self.staged = None;
            commands.push(Command::TakeStaged { length: received });
        } else {
            self.staged = Some(Staged { received, ..staged });
        }
        Ok(commands)
    }
}

/// Decodes the headers of a reply; none make no command.
fn take_headers(next: &[Vec<u8>]) -> Result<Vec<Command>, SyncError> {
    let headers = next
        .iter()
        .enumerate()
        .map(|(index, bytes)| {
            let length = bytes.len();
            let error = SyncError::HeaderLength { index, length };
            if length == HEADER_BYTES {
                decode_header(bytes).ok_or(error)
            } else {
                Err(error)
            }
        })
        .collect::<Result<Vec<Header>, SyncError>>()?;
    Ok(if headers.is_empty() {
        Vec::new()
    } else {
        vec![Command::TakeHeaders(headers)]
    })
}
